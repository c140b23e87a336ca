//! A reload (SIGHUP): what changes live does, by its effect; what does not is named; what is wrong changes nothing; and
//! who is not concerned notices nothing.

mod common;
mod fleet;
#[path = "reload/mod.rs"]
mod reloading;
mod robust;
#[path = "config/support.rs"]
mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;

use common::{Daemon, LIMIT, TempDir, Ws, pinwire, run};
use fleet::Hub;
use pinwire::config::{Config, When};
use reloading::{reload, rewrite};
use robust::tls::{TLS12, TLS13, certificate, der, has_openssl, over};
use serde_json::{Value, json};
use support::{good, known_keys, sample};

/// Every key, lines and templates under the name NAME.
fn keys() -> Vec<(String, When)> {
    let config: Config = good(
        "[gpio.pins.NAME]\npin = 17\n[commands.templates.NAME]\nargv = [\"/bin/echo\", \"{a}\"]\n\
         params.a.kind = \"word\"\n[topics.NAME]\nkeep = 5\n",
    );
    config.settings().iter().map(|setting| (setting.key().to_owned(), setting.when())).collect()
}

#[test]
fn a_reload_knows_every_key_and_the_sample_says_which_change_live() {
    let keys = keys();
    let mut expected = BTreeSet::new();
    for top in known_keys("") {
        if top == "topics" {
            expected.extend(known_keys("topics.NAME").into_iter().map(|key| format!("topics.NAME.{key}")));
            continue;
        }
        let is_table = !known_keys_of_value(&top).is_empty();
        if !is_table {
            expected.insert(top);
            continue;
        }
        for key in known_keys(&top) {
            match (top.as_str(), key.as_str()) {
                ("gpio", "pins") | ("commands", "templates") => {
                    let table = format!("{top}.{key}.NAME");
                    expected.extend(known_keys(&table).into_iter().map(|inner| format!("{table}.{inner}")));
                }
                _ => drop(expected.insert(format!("{top}.{key}"))),
            }
        }
    }
    assert_eq!(keys.iter().map(|(key, _)| key.clone()).collect::<BTreeSet<_>>(), expected);
    let live = keys.iter().filter(|(_, when)| *when == When::Live).map(|(key, _)| key.clone());
    let live: BTreeSet<String> = live.collect();
    let (text, _) = sample();
    let (_, list) = text.split_once("changes at once:\n").expect("the sample's list");
    let (list, _) = list.split_once("# Everything else").expect("its end");
    let mut said = BTreeSet::new();
    for line in list.lines() {
        let (section, keys) = line.trim_start_matches(['#', ' ']).split_once(": ").expect("section: keys");
        let above = if section == "top" { String::new() } else { format!("{section}.") };
        said.extend(keys.split(", ").map(|key| format!("{above}{key}")));
    }
    assert_eq!(said, live, "systemd/pinwire.toml and src/config/settings/list.rs");
    let reference =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/service.md")).expect("docs/service.md");
    let (_, table) = reference.split_once("<!-- reload: live keys -->\n").expect("docs/service.md has the table");
    let mut sections = BTreeSet::new();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let mut quoted = row.split('`').skip(1).step_by(2);
        let (section, told): (_, BTreeSet<String>) = match row.starts_with("| (top) ") {
            true => (String::new(), quoted.map(str::to_owned).collect()),
            false => {
                let section = quoted.next().expect("a section").trim_matches(['[', ']']).to_owned() + ".";
                let told = quoted.map(|key| format!("{section}{key}")).collect();
                (section, told)
            }
        };
        let is_of =
            |key: &&String| key.rsplit_once('.').map_or("", |(above, _)| above) == section.trim_end_matches('.');
        let live: BTreeSet<String> = live.iter().filter(is_of).cloned().collect();
        // Of a line's keys the table says which one needs a restart.
        let but = |key: &str| keys.iter().any(|(known, when)| known == key && *when == When::Restart);
        assert!(told == live || section.contains("NAME") && told.iter().all(|key| but(key)), "docs/service.md: {row}");
        sections.insert(section.trim_end_matches('.').to_owned());
    }
    let section = |key: &String| key.rsplit_once('.').map_or(String::new(), |(above, _)| above.to_owned());
    // Of templates the row of [commands] tells.
    let mut expected: BTreeSet<String> = live.iter().map(section).collect();
    expected.remove("commands.templates.NAME");
    assert_eq!(sections, expected, "docs/service.md's sections and src/config/settings/list.rs");
}

/// The keys of a section; none where it is a key by itself.
fn known_keys_of_value(top: &str) -> Vec<String> {
    let why = support::refusal(&format!("[{top}]\nzzz = 1"));
    if why.contains("unknown key `zzz`") { known_keys(top) } else { Vec::new() }
}

#[test]
fn levels_of_the_log_change_live() {
    let daemon = Daemon::with_config("log_level = \"warn\"\nlog_events = \"error\"\n", &[]);
    let mut events = daemon.ws("/ws?types=system.log.created");
    assert_eq!(events.json()["type"], "pong");
    rewrite(&daemon, "log_level = \"info\"\nlog_events = \"info\"\n");
    let told = reload(&daemon);
    assert!(told.contains("reload done: applied log_level, log_events"), "{told}");
    events.until(|event| event["data"]["message"].as_str().is_some_and(|text| text.starts_with("reload done")));
    // Down again: how that ended is still told, and nothing after it.
    rewrite(&daemon, "log_level = \"error\"\nlog_events = \"error\"\n");
    let told = reload(&daemon);
    assert!(told.contains("reload done: applied log_level, log_events"), "{told}");
    rewrite(&daemon, "log_level = \"info\"\nlog_events = \"error\"\n");
    let told = reload(&daemon);
    assert!(told.contains("reload done: applied log_level") && !told.contains("log_events"), "{told}");
    assert_eq!(daemon.log().matches("reload done").count(), 3, "{}", daemon.log());
    assert_eq!(daemon.log().matches("SIGHUP").count(), 1, "{}", daemon.log());
}

fn with_key(daemon: &Daemon, key: &str) -> Result<Ws, tungstenite::Error> {
    daemon.try_ws("/", &[("x-api-key", key)])
}

#[test]
fn another_api_key_ends_the_sessions_of_the_one_before_and_no_others() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    let made = run(pinwire().args(["key", "add", "--name", "panel", "--state-dir"]).arg(&state));
    let stored = String::from_utf8(made.stdout).expect("text").trim().to_owned();
    let (first, second) = (dir.file("first.key", "first-secret"), dir.file("second.key", "other-secret"));
    let config = |key: &std::path::Path| format!("state_dir = {state:?}\n[auth]\napi_key_file = {key:?}\n");
    let file = dir.file("pinwire.toml", &config(&first));
    let daemon = Daemon::start_in(dir, |command| {
        command.arg("--config").arg(file);
    });
    let mut old = with_key(&daemon, "first-secret").expect("in");
    let mut old_events = daemon.try_ws("/ws", &[("x-api-key", "first-secret")]).expect("in");
    let mut kept = with_key(&daemon, &stored).expect("in");
    // The same again ends nobody.
    assert!(reload(&daemon).contains("no key that changes live was changed"));
    old.sync();
    // By its content.
    std::fs::write(&first, "third-secret").expect("written");
    let told = reload(&daemon);
    assert!(told.contains("applied auth.api_key_file") && told.contains("2 came in with the key before"), "{told}");
    assert_eq!(old.closed(), (4501, "API key revoked".to_owned()));
    assert_eq!(old_events.closed().0, 4501);
    assert!(with_key(&daemon, "first-secret").is_err());
    let mut third = with_key(&daemon, "third-secret").expect("in");
    // And by its path.
    rewrite(&daemon, &config(&second));
    reload(&daemon);
    assert_eq!(third.closed().0, 4501);
    with_key(&daemon, "other-secret").expect("in").sync();
    kept.sync();
    // Without one, the store's keys are all there is: who needs a key does not change.
    rewrite(&daemon, &format!("state_dir = {state:?}\n[auth]\nmode = \"key\"\n"));
    let told = reload(&daemon);
    assert!(told.contains("applied auth.api_key_file") && !told.contains("needs a restart"), "{told}");
    assert!(with_key(&daemon, "other-secret").is_err());
    // Nor does that nobody needs one any more.
    rewrite(&daemon, &format!("state_dir = {state:?}\n[auth]\nmode = \"none\"\n"));
    let told = reload(&daemon);
    assert!(told.contains("auth.mode has changed from \"key\" to \"none\": needs a restart"), "{told}");
    assert!(daemon.try_ws("/", &[]).is_err() || daemon.get("/pins").status == 401);
    kept.sync();
    assert!(!daemon.log().contains("-secret"), "{}", daemon.log());
}

#[test]
fn a_reload_makes_sure_of_the_keys_and_users_in_the_state_directory() {
    let hub = Hub::start("[hub]\nown_server = false\n");
    let server = hub.server("pi");
    let key = hub.agent_key(&server);
    let mut agent = hub.agent(&key);
    hub.revoke(&key);
    reload(&hub.daemon);
    // In force when the reload is done, whether or not the kernel has told of the change before.
    let again = hub.socket(&[]).ask(&json!({"type": "auth", "api_key": key}).to_string());
    assert_ne!(again["type"], "auth_success", "{again}");
    assert_eq!(agent.closed().1, "API key revoked");
}

#[test]
fn certificates_change_by_content_and_by_path_and_what_is_wrong_changes_nothing_at_all() {
    if !has_openssl() {
        return;
    }
    let dir = TempDir::new();
    let made = ["one", "two"].map(|name| certificate(&dir, name));
    let [one, two] = [der(&made[0].0), der(&made[1].0)];
    let config = |(cert, key): &(std::path::PathBuf, std::path::PathBuf), more: &str| {
        format!("{more}[tls]\ncert = {cert:?}\nkey = {key:?}\n")
    };
    let file = dir.file("pinwire.toml", &config(&made[0], ""));
    let daemon = Daemon::start_in(dir, |command| {
        command.arg("--config").arg(file);
    });
    let shows = |cert| over(common::tcp(daemon.addr), cert, &[TLS13, TLS12]).is_ok();
    let mut old = robust::tls::ws(daemon.addr, &one, "/");
    assert!(shows(&one) && !shows(&two));
    rewrite(&daemon, &config(&made[1], ""));
    let told = reload(&daemon);
    assert!(told.contains("applied tls.cert, tls.key"), "{told}");
    assert!(shows(&two) && !shows(&one));
    // A key that does not fit: not even the level of the log changes.
    rewrite(&daemon, &config(&(made[0].0.clone(), made[1].1.clone()), "log_level = \"off\"\n"));
    let told = reload(&daemon);
    assert!(told.contains("cannot be used") && told.contains("everything in use stays"), "{told}");
    assert!(shows(&two));
    // And TLS itself neither begins nor ends.
    rewrite(&daemon, "");
    let told = reload(&daemon);
    assert!(told.contains("tls.key has changed from ") && told.contains("to \"\": needs a restart"), "{told}");
    assert!(shows(&two));
    old.send(tungstenite::Message::text(r#"{"action":"READ_UPTIME"}"#)).expect("sent");
    assert!(old.read().expect("an answer").to_text().expect("text").contains("true"));
}

#[test]
fn a_file_that_is_not_good_is_told_as_check_config_does_and_changes_nothing() {
    let daemon = Daemon::with_config("[gpio.pins]\nlamp = { pin = 17, mode = \"output\" }\n", &[]);
    let mut ws = daemon.ws("/");
    for text in [
        "log_level = \"off\"\n[front]\nhead_bytes = 1\n[gpio.pins]\nlamp = { pin = 27 }\n",
        "log_level = \"off\"\n[frnt]\nhead_bytes = 1\n",
        "log_level = \"off\"\nlog_events = loud\n",
        "listen = \"0.0.0.0:1\"\n",
    ] {
        rewrite(&daemon, text);
        let file = daemon.dir.path().join("pinwire.toml");
        let checked = run(pinwire().args(["check-config", "--listen", "127.0.0.1:0", "--config"]).arg(&file));
        let told = reload(&daemon);
        let why = String::from_utf8(checked.stderr).expect("text");
        let why = why.trim().trim_start_matches("pinwire: ");
        if text.starts_with("listen") {
            // The flag counts, as at the start.
            assert!(checked.status.success() && told.contains("applied gpio.pins.lamp"), "{told}");
            continue;
        }
        assert!(why.contains("pinwire.toml:"), "{why}");
        assert!(told.contains(why) && told.contains("nothing was changed, everything in use stays"), "{why}\n{told}");
        assert_eq!(ws.ask(r#"{"action":"READ_LINES","params":{"pins":["lamp"]}}"#)["success"], true);
    }
    let file = daemon.dir.path().join("pinwire.toml");
    std::fs::remove_file(&file).expect("removed");
    let told = reload(&daemon);
    assert!(told.contains("--config: cannot read") && told.contains("everything in use stays"), "{told}");
}

#[test]
fn each_key_that_needs_a_restart_is_named_once_with_both_values_until_it_had_one() {
    let daemon = Daemon::with_config("[front]\nmax_connections = 100\n", &[]);
    let secret = "https://hooks.example/s3cret";
    rewrite(
        &daemon,
        &format!(
            "log_events = \"error\"\nnode_id = \"shed\"\n[front]\nmax_connections = 200\nidle_deadline = \"1m\"\n\
             [session]\nping_interval = \"1s\"\n[alerts]\nwebhook = \"{secret}\"\n[hub]\nservers = 5\n"
        ),
    );
    for again in [false, true] {
        let told = reload(&daemon);
        for line in [
            "front.max_connections has changed from 100 to 200: needs a restart",
            "front.idle_deadline has changed from \"30s\" to \"1m\": needs a restart",
            "session.ping_interval has changed from \"25s\" to \"1s\": needs a restart",
            "hub.servers has changed from 1000 to 5: needs a restart",
            "to \"shed\": needs a restart",
        ] {
            assert_eq!(told.matches(line).count(), 1, "{line}\n{told}");
        }
        assert_eq!(told.matches("needs a restart").count(), 5, "{told}");
        assert!(told.lines().filter(|line| line.contains("restart")).all(|line| line.contains("WARN")), "{told}");
        assert_eq!(told.contains("applied log_events, alerts.webhook"), !again, "{told}");
    }
    assert!(!daemon.log().contains("s3cret"));
    // As it was: nothing is left to say.
    rewrite(&daemon, "log_events = \"error\"\n[front]\nmax_connections = 100\n");
    assert!(!reload(&daemon).contains("needs a restart"));
}

#[test]
fn hosts_and_origins_change_live() {
    let daemon = Daemon::with_config("", &[]);
    let page = |daemon: &Daemon| daemon.http("GET", "/health", &[("Origin", "https://panel.example")], "").status;
    let named = |daemon: &Daemon| {
        let mut stream = daemon.tcp();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: pi.example\r\nConnection: close\r\n\r\n").expect("sent");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer");
        common::Answer::parse(&bytes).status
    };
    assert_eq!((page(&daemon), named(&daemon)), (403, 403));
    rewrite(&daemon, "[front]\nhosts = [\"pi.example\"]\norigins = [\"https://panel.example\"]\n");
    let told = reload(&daemon);
    assert!(told.contains("applied front.hosts, front.origins"), "{told}");
    assert_eq!((page(&daemon), named(&daemon)), (200, 200));
    rewrite(&daemon, "");
    reload(&daemon);
    assert_eq!((page(&daemon), named(&daemon)), (403, 403));
}

/// A webhook that says where it was asked.
fn webhook(told: std::sync::mpsc::Sender<&'static str>, name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
            let _ = told.send(name);
        }
    });
    url
}

#[test]
fn the_webhook_and_the_limits_of_alerts_change_live() {
    let (sender, asked) = channel();
    let (first, second) = (webhook(sender.clone(), "first"), webhook(sender, "second"));
    let config = |url: &str, warning: f64| {
        format!("[hub]\nown_server = false\n[alerts]\nwebhook = \"{url}\"\ndisk_warning = {warning}\n")
    };
    let hub = Hub::start(&config(&first, 90.0));
    let server = hub.server("pi");
    let key = hub.agent_key(&server);
    let mut agent = hub.agent(&key);
    let mut sample = |percent: f64| {
        let disk = json!({"path": "/", "total": 100, "used": percent, "free": 100.0 - percent, "percent": percent});
        agent.send(&json!({"type": "metrics", "disk_usage": [disk], "cpu_percent": 1.0}).to_string());
        agent.until(|answer| answer["type"] == "metrics_received");
    };
    let alerts = || hub.get("/alerts?status=active").as_array().map_or(0, Vec::len);
    sample(70.0);
    assert_eq!(alerts(), 0);
    rewrite(&hub.daemon, &config(&second, 60.0));
    let told = reload(&hub.daemon);
    assert!(told.contains("applied alerts.disk_warning, alerts.webhook") && !told.contains("127.0.0.1"), "{told}");
    sample(70.0);
    assert_eq!(asked.recv_timeout(LIMIT), Ok("second"));
    assert_eq!(alerts(), 1);
    rewrite(&hub.daemon, &config("http://", 60.0));
    let told = reload(&hub.daemon);
    assert!(told.contains("alerts.webhook") && told.contains("everything in use stays"), "{told}");
}

#[test]
fn commands_and_containers_are_allowed_and_forbidden_live() {
    let user = if rustix::process::geteuid().is_root() { "allow_root = true\n" } else { "" };
    let config = |more: &str| format!("[commands]\n{user}{more}");
    let hub = Hub::start(&config("templates.one = { argv = [\"/bin/echo\", \"first\"] }\n"));
    let id = hub.get("/servers")[0]["id"].as_str().expect("an id").to_owned();
    let say = |command: &str| hub.rest("POST", &format!("/commands/{id}"), &json!({"command": command}));
    assert!(say("one").body.contains("first"), "{}", say("one").body);
    rewrite(&hub.daemon, &config("templates.two = { argv = [\"/bin/echo\", \"s3cond\"] }\nmax_running = 3\n"));
    let told = reload(&hub.daemon);
    assert!(told.contains("applied commands.templates.one, commands.templates.two"), "{told}");
    assert!(told.contains("commands.max_running has changed from 2 to 3: needs a restart"), "{told}");
    assert_eq!(say("one").status, 403);
    assert!(say("two").body.contains("s3cond"));
    rewrite(&hub.daemon, "");
    reload(&hub.daemon);
    assert_eq!(say("two").status, 403);
    assert!(!hub.daemon.log().contains("s3cond"), "arguments may be secrets");

    // Where nothing was allowed at the start, nobody can be allowed to run anything.
    let hub = Hub::start("");
    rewrite(&hub.daemon, "[commands]\nshell = true\n[docker]\ncontainers = [\"web\"]\nenabled = true\n");
    let told = reload(&hub.daemon);
    for line in
        ["commands.shell has changed from false to true: needs", "docker.enabled has changed from false to true"]
    {
        assert!(told.contains(line), "{told}");
    }
    assert!(told.contains("applied docker.containers"), "{told}");
    let id = hub.get("/servers")[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(hub.rest("POST", &format!("/commands/{id}"), &json!({"command": "ls"})).status, 403);
}

#[test]
fn registration_tokens_and_what_is_kept_change_live() {
    let hub = Hub::start("[hub]\nown_server = false\n[store]\nflush_interval = \"15m\"\n");
    let json = ("Content-Type", "application/json");
    let register = |name: &str| {
        let email = format!("{name}@example.org");
        let password = "correct horse";
        let body = json!({"username": name, "email": email, "password": password, "password_confirm": password,
                          "role": "operator", "is_active": true})
        .to_string();
        hub.daemon.http("POST", "/api/v1/auth/register", &[json], &body)
    };
    assert_eq!(register("ada").status, 403);
    let server = hub.server("pi");
    let key = hub.agent_key(&server);
    let mut agent = hub.agent(&key);
    agent.send(&json!({"type": "log", "data": {"level": "info", "message": "kept"}}).to_string());
    agent.sync();
    let store = rusqlite::Connection::open(hub.database()).expect("the store");
    let logs = || store.query_row("SELECT count(*) FROM logs", [], |row| row.get::<_, i64>(0)).expect("a count");
    assert_eq!(logs(), 0, "it waits");
    let more = "[store]\nflush_interval = \"1s\"\nmax_mib = 16\n";
    rewrite(
        &hub.daemon,
        &format!("[hub]\nown_server = false\n[auth]\nopen_registration = true\naccess_token_life = \"1m\"\n{more}"),
    );
    let told = reload(&hub.daemon);
    let applied = "applied auth.open_registration, auth.access_token_life, store.flush_interval, store.max_mib";
    assert!(told.contains(applied) && !told.contains("needs a restart"), "{told}");
    robust::wait_until(LIMIT, "it is written", || logs() == 1);
    assert_eq!(register("ada").status, 201);
    let body = json!({"username": "ada", "password": "correct horse"}).to_string();
    let in_now = hub.daemon.http("POST", "/api/v1/auth/login", &[json], &body).json();
    assert_eq!(in_now["expires_in"], 60, "{in_now}");
    rewrite(&hub.daemon, &format!("[hub]\nown_server = false\n{more}"));
    reload(&hub.daemon);
    assert_eq!(register("bob").status, 403);
}

fn count(pid: u32, what: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/{what}")).expect("a process").count()
}

#[test]
fn fifty_reloads_under_load_leave_nothing_behind_and_nobody_notices() {
    let configs = [
        "[front]\norigins = [\"https://a.example\"]\n[gpio]\nedge_events = 10\n[gpio.pins]\nlamp = { pin = 17, \
         mode = \"output\", initial = \"high\" }\nfan = { pin = 18, mode = \"output\", safe = \"high\" }\n",
        "[alerts]\ndisk_warning = 50.0\n[gpio.pins]\nlamp = { pin = 17, mode = \"output\", initial = \"high\" }\n\
         fan = { pin = 18, mode = \"output\" }\nspare = { pin = 22, mode = \"input\" }\n",
    ];
    let daemon = Daemon::with_config(configs[0], &[]);
    let mut events = daemon.ws("/ws?types=gpio.**");
    events.until(|event| event["type"] == "pong");
    let mut idle = daemon.ws("/");
    // A client that is answered as ever, on a line of its own.
    let mut busy = daemon.ws("/");
    let ask = |busy: &mut Ws, n: usize| {
        let params = json!({"pins": {"GPIO5": {"io": "OUTPUT", "state": n % 2}}});
        let answer = busy.ask(&json!({"action": "UPDATE_PIN_CONFIGURATIONS", "params": params}).to_string());
        assert_eq!(answer["success"], true, "{answer}");
    };
    ask(&mut busy, 1);
    reload(&daemon);
    let before = (count(daemon.pid(), "fd"), count(daemon.pid(), "task"));
    for n in 0..50 {
        rewrite(&daemon, configs[(n + 1) % 2]);
        daemon.signal("HUP");
        (0..20).for_each(|n| ask(&mut busy, n));
    }
    rewrite(&daemon, configs[0]);
    reload(&daemon);
    robust::wait_until(LIMIT, "as before", || (count(daemon.pid(), "fd"), count(daemon.pid(), "task")) == before);
    idle.sync();
    busy.sync();
    // No line moved but the client's.
    events.0.send(tungstenite::Message::Ping("end".into())).expect("sent");
    loop {
        match events.0.read().expect("a message") {
            tungstenite::Message::Text(text) => {
                let event: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(event["resource"], "GPIO5", "{event}");
            }
            tungstenite::Message::Pong(_) => break,
            _ => {}
        }
    }
}

#[test]
fn a_shutdown_comes_after_the_reload_that_was_asked_for_before() {
    let mut daemon = Daemon::with_config("", &[]);
    rewrite(&daemon, "log_events = \"off\"\n");
    daemon.signal("HUP");
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let log = daemon.log();
    // Both may be there when the daemon looks; a reload that has begun is over first.
    if let (Some(reloading), Some(ending)) = (log.find("SIGHUP"), log.find("shutting down")) {
        let done = log.find("reload done").expect("it was finished");
        assert!(reloading > ending || done < ending, "{log}");
    }
}
