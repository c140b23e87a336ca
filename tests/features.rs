//! What a smaller program says: `--version` names what is built in, and what was left out is refused by its name. These
//! hold for every choice of features.

mod common;

use common::{TempDir, pinwire, run};

/// A feature, whether it is here, and a line of a file that needs it, with the key to be blamed.
const NEEDED: [(&str, bool, &str, &str); 7] = [
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

#[test]
fn what_was_left_out_is_refused_by_its_name() {
    let dir = TempDir::new();
    let key = dir.file("k", "pw_0.0").display().to_string();
    for (feature, built_in, line, blamed) in NEEDED {
        let text = line.replace("\"k\"", &format!("{key:?}"));
        let file = dir.file("pinwire.toml", &text).display().to_string();
        let output = run(pinwire().args(["check-config", "--gpio", "sim", "--config", &file]));
        let said = String::from_utf8_lossy(&output.stderr);
        let refused = format!(
            "pinwire: {file}:1: {blamed}: needs the feature {feature:?}, which this pinwire was built without\n"
        );
        assert_eq!(said.ends_with(&refused), !built_in, "{line}: {said}");
        assert!(built_in || output.status.code() == Some(2), "{line}: {said}");
    }
}
