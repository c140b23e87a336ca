//! What a smaller program says: `--version` names what is built in, and what was left out is refused by its name. These
//! hold for every choice of features.

mod common;

use common::{Daemon, TempDir, pinwire, run};

/// A feature, whether it is here, and a line of a file that needs it, with the key to be blamed.
const NEEDED: [(&str, bool, &str, &str); 14] = [
    ("hub", cfg!(feature = "hub"), "hub = { own_server = true }", "hub.own_server"),
    ("hub", cfg!(feature = "hub"), "auth = { open_registration = true }", "auth.open_registration"),
    ("hub", cfg!(feature = "hub"), "auth = { mode = \"key\" }", "auth.mode"),
    ("hub", cfg!(feature = "hub"), "auth = { first_key_file = \"f\" }", "auth.first_key_file"),
    ("hub", cfg!(feature = "hub"), "topics = { door = { durable = true } }", "topics.door.durable"),
    ("hub", cfg!(feature = "hub"), "alerts = { webhook = \"http://pi/\" }", "alerts.webhook"),
    ("hub", cfg!(feature = "hub"), "alerts = { command = [\"/bin/true\"] }", "alerts.command"),
    ("tls", cfg!(feature = "tls"), "tls = { cert = \"c\", key = \"k\" }", "tls.cert"),
    ("tls", cfg!(feature = "tls"), "alerts = { webhook = \"https://pi/\" }", "alerts.webhook"),
    ("mdns", cfg!(feature = "mdns"), "mdns = { announce = true }", "mdns.announce"),
    ("mdns", cfg!(feature = "mdns"), "mdns = { discover = true }", "mdns.discover"),
    ("commands", cfg!(feature = "commands"), "commands = { shell = true }", "commands.shell"),
    ("docker", cfg!(feature = "docker"), "docker = { enabled = true }", "docker.enabled"),
    ("agent", cfg!(feature = "agent"), "agent = { hub = \"ws://pi:9000\", key_file = \"k\" }", "agent.hub"),
];

#[test]
fn the_version_names_what_is_built_in() {
    let output = run(pinwire().arg("--version"));
    let said = String::from_utf8_lossy(&output.stdout);
    let features: Vec<&str> =
        said.lines().find_map(|line| line.strip_prefix("features: ")).expect(&said).split(' ').collect();
    for (feature, built_in, ..) in NEEDED {
        assert_eq!(features.contains(&feature), built_in, "{feature}: {said}");
    }
    let output = run(pinwire().arg("-V"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("pinwire {}\n", env!("CARGO_PKG_VERSION")));
}

/// What is said of a configuration, and the exit code.
fn checked(text: &str) -> (String, Option<i32>) {
    let dir = TempDir::new();
    let key = dir.file("k", "pw_0.0").display().to_string();
    let file = dir.file("pinwire.toml", &text.replace("\"k\"", &format!("{key:?}"))).display().to_string();
    let output = run(pinwire().args(["check-config", "--gpio", "sim", "--state-dir", "s", "--config", &file]));
    (String::from_utf8_lossy(&output.stderr).replace(&file, "pinwire.toml"), output.status.code())
}

#[test]
fn what_was_left_out_is_refused_by_its_name() {
    for (feature, built_in, line, blamed) in NEEDED {
        let (said, code) = checked(line);
        let last = said.lines().last().unwrap_or_default();
        let refused = last.starts_with(&format!("pinwire: pinwire.toml:1: {blamed}: "))
            && last.ends_with(&format!("needs the feature {feature:?}, which this pinwire was built without"));
        assert_eq!(refused, !built_in, "{line}: {said}");
        assert!(built_in || code == Some(2), "{line}: {said}");
    }
}

#[test]
#[cfg_attr(not(feature = "commands"), ignore = "needs the feature commands")]
fn commands_need_an_audit_or_the_word_that_there_is_none() {
    let (said, code) = checked("commands = { shell = true }");
    let refused = "pinwire: commands.without_audit: has to be true here: the audit needs the feature \"hub\", which this \
                   pinwire was built without\n";
    assert_eq!(said.ends_with(refused), !cfg!(feature = "hub"), "{said}");
    assert_eq!(code, Some(if cfg!(feature = "hub") { 0 } else { 2 }), "{said}");
    let (said, code) = checked("commands = { shell = true, without_audit = true }");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn commands_on_a_database_that_is_not_there_are_refused() {
    for words in [&["key", "add", "--name", "a"][..], &["key", "list"], &["user", "list"], &["audit"]] {
        let dir = TempDir::new();
        let output = run(pinwire().args(words).arg("--state-dir").arg(dir.path()));
        let said = String::from_utf8_lossy(&output.stderr);
        let refused =
            format!("pinwire: pinwire {} needs the feature \"hub\", which this pinwire was built without\n", words[0]);
        assert_eq!(said == refused, !cfg!(feature = "hub"), "{words:?}: {said}");
        assert!(cfg!(feature = "hub") || output.status.code() == Some(2), "{words:?}: {said}");
    }
}

/// With the configured key everything of the device is there; of the hub, nothing is.
#[test]
fn without_a_hub_the_device_serves_all_the_same() {
    const KEY: (&str, &str) = ("X-API-Key", "open-sesame-and-more");
    let hub = cfg!(feature = "hub");
    let dir = TempDir::new();
    let (key, state) = (dir.file("key", KEY.1), dir.path().join("state"));
    let daemon = Daemon::start_in(dir, |command| {
        command.arg("--api-key-file").arg(key).arg("--state-dir").arg(&state);
    });
    let asked = |method, path| daemon.http(method, path, &[KEY], "").status;
    assert_eq!((daemon.get("/pins").status, asked("GET", "/pins")), (401, 200));
    let there = |path| asked("GET", path) == 200;
    assert_eq!((there("/api/v1/servers"), there("/api/v1/nodes"), there("/api/v1/clusters")), (hub, hub, hub));
    assert_eq!((there("/"), there("/public/fleet.js"), there("/docs")), (true, true, true));
    let script = daemon.get("/public/fleet.js").body;
    assert_eq!((script.contains("function watchFleet()"), script.contains("api/v1")), (true, hub), "{script}");
    let described = daemon.get("/openapi.json").json();
    assert_eq!(
        (described["paths"]["/api/v1/servers"].is_object(), described["paths"]["/pins"].is_object()),
        (hub, true)
    );
    let store = &daemon.get("/health").json()["store"];
    assert_eq!(store["state"], if hub { "ok" } else { "none" }, "{store}");
    assert_eq!(store["reason"].as_str().is_some_and(|why| why.contains("the feature \"hub\"")), !hub, "{store}");
    assert_eq!(daemon.dir.path().join("state/pinwire.db").exists(), hub);
    let mut socket = daemon.try_ws("/", &[KEY]).expect("a socket");
    assert_eq!(socket.ask(r#"{"action":"READ_LINES"}"#)["success"], true);
    assert_eq!(daemon.try_ws("/api/v1/agents/ws", &[KEY]).is_ok(), hub);
}
