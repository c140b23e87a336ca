//! `pinwire doctor` on machines that lack something: what it finds, and that it says what to do.

mod common;
mod findings;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::{Daemon, TempDir, pinwire, run, skipped};
use findings::{Found, look, look_with};
use serde_json::json;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A board's captured tree, to add to.
fn pi4() -> TempDir {
    let dir = TempDir::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pi4/.");
    let copied = Command::new("cp").arg("-r").arg(from).arg(dir.path()).status().expect("cp runs");
    assert!(copied.success());
    dir
}

fn look_at(root: &TempDir, args: &[&str]) -> Found {
    let root = root.path().to_str().expect("UTF-8");
    look(&[&["--root", root], args].concat())
}

/// Runs it as a user who is in no group and may do nothing; `None` where that cannot be.
fn as_nobody(args: &[&str]) -> Option<Found> {
    let program = pinwire().get_program().to_owned();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]).arg(&program);
    let reachable = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"])
        .arg(&program)
        .arg("--version")
        .output();
    if !reachable.is_ok_and(|output| output.status.success()) {
        skipped("nobody else can run the program here (it needs root, setpriv and a path that is open to all)");
        return None;
    }
    command.args(["doctor", "--gpio", "sim"]).args(args);
    Some(look_with(&mut command))
}

#[test]
fn a_healthy_board_is_told_so_and_the_object_has_its_shape() {
    let root = pi4();
    let state = root.path().join("state");
    let found = look_at(&root, &["--state-dir", state.to_str().expect("UTF-8")]);
    found.has("ok", "model", &["Raspberry Pi 4 Model B"]);
    found.has("ok", "port", &["any free port"]);
    found.has("ok", "disk", &["does not exist yet", "can be made"]);
    assert!(!state.exists(), "it changes nothing");
    let members: Vec<_> = found.json.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["findings", "gpio", "summary", "user", "version"]);
    assert_eq!(found.json["gpio"]["backend"], "sim");
    let all = found.json["findings"].as_array().expect("a list");
    for finding in all {
        let members: Vec<_> = finding.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, ["fix", "level", "part", "what"]);
        assert!(finding["fix"].is_null() || finding["fix"].is_string(), "{finding}");
    }
    let count = |level: &str| json!(all.iter().filter(|finding| finding["level"] == level).count());
    let summary = &found.json["summary"];
    assert_eq!(
        (&summary["ok"], &summary["notes"], &summary["problems"]),
        (&count("ok"), &count("note"), &count("problem"))
    );
}

#[test]
fn lines_fit_a_terminal_and_problems_come_last() {
    let root = pi4();
    root.file("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
    let output = run(pinwire().args(["doctor", "--gpio", "sim", "--listen", "127.0.0.1:0", "--root"]).arg(root.path()));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    let levels: Vec<_> = told.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let last_ok = levels.iter().rposition(|word| *word == "ok").expect("something is fine");
    let first_problem = levels.iter().position(|word| *word == "problem").expect("something is not");
    assert!(last_ok < first_problem, "{told}");
    assert!(told.contains("under-voltage now") && told.contains("\n                  fix: "), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 80 || line.contains('`')), "{told}");
    assert!(told.lines().last().is_some_and(|line| line.starts_with("2 problems, ")), "{told}");
}

#[test]
fn a_board_s_chip_supply_heat_and_groups_are_looked_at() {
    let root = pi4();
    for (file, text) in [("label", "pinctrl-bcm2711\n"), ("base", "512\n"), ("ngpio", "58\n")] {
        root.file(&format!("sys/class/gpio/gpiochip512/{file}"), text);
    }
    root.file("sys/class/gpio/export", "");
    root.file("sys/class/thermal/thermal_zone0/temp", "85123\n");
    root.file("sys/devices/platform/soc/soc:firmware/get_throttled", "80000\n");
    let found = look_at(&root, &[]);
    found.has("ok", "gpio", &["pinctrl-bcm2711", "from number 512", "old interface", "GPIO17 is 529"]);
    found.problem("power", &["85.1 °C", "heat sink"]);
    found.has("note", "power", &["since the last boot", "soft temperature limit"]);
    // The service's user is who counts, by the files' modes.
    root.file("etc/passwd", "root:x:0:0::/:/bin/sh\npinwire:x:4242:4242::/:/bin/false\n");
    root.file("etc/group", "root:x:0:\ngpio:x:4243:\npinwire:x:4242:\n");
    root.file("etc/pinwire/pinwire.toml", "");
    let unit = |more: &str| {
        root.file("usr/lib/systemd/system/pinwire.service", &format!("[Service]\nUser=pinwire\n{more}"));
    };
    unit("");
    let device = root.file("dev/gpiochip0", "");
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || std::os::unix::fs::chown(&device, Some(0), Some(4243)).is_err() {
        skipped("only root can give a device to a group");
        return;
    }
    fs::set_permissions(&device, fs::Permissions::from_mode(0o660)).expect("a mode");
    let auto = |root: &TempDir| {
        look_with(pinwire().args(["doctor", "--listen", "127.0.0.1:0", "--gpio", "auto", "--root"]).arg(root.path()))
    };
    let found = auto(&root);
    assert_eq!(found.json["user"], "pinwire");
    found.problem(
        "user",
        &["'pinwire' may not open", "gpiochip0", "-rw-rw---- root gpio", "`sudo usermod -aG gpio pinwire`"],
    );
    found.has("note", "config", &["`pinwire doctor --config ", "etc/pinwire/pinwire.toml`"]);
    unit("SupplementaryGroups=gpio\n");
    let found = auto(&root);
    found.has("ok", "user", &["'pinwire' (uid 4242), in pinwire, gpio"]);
    assert!(!found.json.to_string().contains("may not open"), "{}", found.json);
}

#[test]
fn a_port_in_use_is_told_with_whose_it_is() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let found = look(&["--listen", &address, "--listen", "192.0.2.1:9000"]);
    let own = format!("pid {}", std::process::id());
    found.problem("port", &[&address, "is in use by", &own]);
    found.problem("port", &["192.0.2.1:9000", "no interface", "`ip -brief address`"]);
    // All addresses meet that one too.
    let everywhere = format!(":{}", taken.local_addr().expect("its address").port());
    look(&["--listen", &everywhere, "--auth", "none"]).problem("port", &["is in use by", &own]);
    if let Some(found) = as_nobody(&["--listen", &address]) {
        found.problem("port", &["by a process of user 'root'", "`sudo ss -ltnp"]);
    }
}

#[test]
fn a_port_below_1024_needs_a_capability() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim().parse::<u16>().is_ok_and(|first| first <= 81) {
        skipped("any user may listen on port 81 here");
        return;
    }
    if let Some(found) = as_nobody(&["--listen", "127.0.0.1:81"]) {
        found.problem("port", &["127.0.0.1:81", "AmbientCapabilities=CAP_NET_BIND_SERVICE"]);
    }
}

#[test]
fn a_running_daemon_is_recognised_and_not_disturbed() {
    let daemon = Daemon::start(&[]);
    let pid = format!("pid {}", daemon.pid());
    let found = look(&["--listen", &daemon.addr.to_string()]);
    found.has("ok", "port", &["is served by a running pinwire", &pid]);
    let dir = TempDir::new();
    let other = dir.file("other.toml", "node_id = \"somebody-else\"\n");
    let config = ["--listen", &daemon.addr.to_string(), "--config", other.to_str().expect("UTF-8")];
    look(&config).has("note", "port", &["is served by a running pinwire", "another port"]);
    assert_eq!(daemon.get("/health").status, 200);
}

#[test]
#[cfg_attr(not(feature = "hub"), ignore = "needs the feature hub")]
fn a_missing_key_is_found_and_the_rest_is_looked_at_all_the_same() {
    let dir = TempDir::new();
    let state = dir.path().join("state");
    let state_dir = ["--state-dir", state.to_str().expect("UTF-8")];
    let stored = [&state_dir[..], &["--auth", "key"]].concat();
    look(&stored).problem("key", &["has none: the daemon does not start", "`pinwire key add --name NAME"]);
    let made = run(pinwire().args(["key", "add", "--name", "one"]).args(state_dir));
    assert!(made.status.success(), "{}", text(&made.stderr));
    look(&stored).has("ok", "key", &["good ones: 1"]);
    let id = text(&made.stdout).trim().trim_start_matches("pw_").split('.').next().expect("an id").to_owned();
    assert!(run(pinwire().args(["key", "revoke", &id]).args(state_dir)).status.success());
    look(&stored).problem("key", &["all revoked or expired", "`pinwire key add"]);

    let found = look(&["--api-key-file", "/no/such/key"]);
    found.problem("key", &["--api-key-file", "/no/such/key"]);
    found.has("ok", "port", &["any free port"]);
    look(&["--auth", "key"]).problem("key", &["--auth", "there is no key"]);
    look(&["--listen", "0.0.0.0:0"]).problem("key", &["can be reached from other machines"]);
    let open = dir.file("open.key", "a-key-that-others-can-read\n");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).expect("a mode");
    let found = look(&["--api-key-file", open.to_str().expect("UTF-8")]);
    found.has("note", "config", &["others than its owner can read", "chmod 600"]);

    // The key of a first start.
    let fresh = dir.path().join("fresh");
    let with = |file: &Path| {
        let config = format!("state_dir = {fresh:?}\n[auth]\nfirst_key_file = {file:?}\n");
        let config = dir.file("first.toml", &config);
        look(&["--config", config.to_str().expect("UTF-8")])
    };
    with(&fresh.join("admin.key")).has("ok", "key", &["the first start makes one"]);
    with(&dir.path().join("nowhere/admin.key")).problem("key", &["there is no directory", "install -d"]);
    with(&open).problem("key", &["exists, and the store has no key", "`sudo rm "]);
    let config = format!("state_dir = {fresh:?}\n[auth]\nfirst_key_file = \"{}/nowhere/k\"\n", dir.path().display());
    let config = dir.file("first.toml", &config);
    let refused = run(pinwire().args(["serve", "--gpio", "sim", "--listen", "127.0.0.1:0", "--config"]).arg(config));
    let told = text(&refused.stderr);
    assert!(told.contains("auth.first_key_file") && told.contains("nowhere' does not exist: make it"), "{told}");
}

#[test]
fn a_state_directory_that_cannot_be_used_is_told_with_the_reason() {
    let dir = TempDir::new();
    let file = dir.file("file", "");
    look(&["--state-dir", file.to_str().expect("UTF-8")]).problem("disk", &["is no directory"]);
    let state = dir.path().to_str().expect("UTF-8");
    look(&["--state-dir", state]).has("ok", "disk", &["can be written"]);
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 1, "nothing is left behind");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    if let Some(found) = as_nobody(&["--state-dir", state, "--listen", "127.0.0.1:0"]) {
        found.problem("disk", &["this user may not", "chown"]);
        let below = format!("{state}/new");
        let found = as_nobody(&["--state-dir", &below, "--listen", "127.0.0.1:0"]).expect("as before");
        found.problem("disk", &["may not make it", "install -d -o"]);
    }
}

#[test]
fn a_full_and_a_read_only_disk_are_found() {
    let mounts = ["-m", "sh", "-c", "mount -t tmpfs none /mnt"];
    if !Command::new("unshare").args(mounts).output().is_ok_and(|output| output.status.success()) {
        skipped("no file system can be mounted here (it needs root)");
        return;
    }
    let dir = TempDir::new();
    let state = dir.path().to_str().expect("UTF-8");
    let on = |before: &str| {
        let script = format!(
            "mount -t tmpfs -o size=1m none \"$2\" && {before} && exec \"$1\" doctor --gpio sim --listen 127.0.0.1:0 \
             --state-dir \"$2\" --json"
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, "sh"]).arg(pinwire().get_program()).arg(state);
        look_with(&mut command)
    };
    let full = on("{ dd if=/dev/zero of=\"$2/big\" bs=4k 2>/dev/null || true; }");
    // What to do is done where it is mounted, and said once.
    full.problem("disk", &["cannot be written: there is no room (0 MiB free, 0 %)", &format!("`sudo du -xh {state} ")]);
    let of_state = |found: &Found| found.json.to_string().matches("the state directory's file system").count();
    assert_eq!(of_state(&full), 0, "{}", full.json);
    let read_only = on("mount -o remount,ro \"$2\"");
    read_only.problem("disk", &["its file system is read-only", &format!("`sudo mount -o remount,rw {state}`")]);
    assert_eq!(of_state(&read_only), 0, "{}", read_only.json);
    let crowded = on("mount -o remount,nr_inodes=1 \"$2\"");
    crowded.problem("disk", &["no inode left", "too many files", &format!("`sudo du --inodes -x {state} ")]);
    assert!(!crowded.json.to_string().contains("no room"), "{}", crowded.json);
}

#[test]
#[cfg_attr(not(feature = "hub"), ignore = "needs the feature hub")]
fn keys_of_the_store_that_nobody_said_to_ask_for_are_seen() {
    let dir = TempDir::new();
    let state = dir.path().to_str().expect("UTF-8");
    let args = ["--state-dir", state, "--listen", "0.0.0.0:0"];
    look(&args).problem("key", &["can be reached from other machines", "pinwire key add", "--auth key"]);
    assert!(run(pinwire().args(["key", "add", "--name", "one", "--state-dir", state])).status.success());
    look(&args).problem("key", &["has somebody who could come in", "say `--auth key`"]);
    look(&[&args[..], &["--auth", "key"]].concat()).has("ok", "key", &["good ones: 1"]);
}

#[test]
fn a_state_directory_of_another_daemon_is_told_from_one_s_own() {
    let dir = TempDir::new();
    let state = dir.path().to_str().expect("UTF-8").to_owned();
    let daemon = Daemon::start(&["--state-dir", &state]);
    let pid = format!("pid {}", daemon.pid());
    let found = look(&["--state-dir", &state]);
    found.problem("disk", &["in use by another pinwire", &pid, "a directory of its own"]);
    let found = look(&["--state-dir", &state, "--listen", &daemon.addr.to_string()]);
    found.has("ok", "disk", &["in use by the running pinwire", &pid]);
}

#[test]
#[cfg_attr(not(feature = "hub"), ignore = "needs the feature hub")]
fn a_database_that_cannot_be_used_is_told_and_left_alone() {
    let dir = TempDir::new();
    let state = dir.path().to_str().expect("UTF-8");
    assert!(run(pinwire().args(["key", "add", "--name", "one", "--state-dir", state])).status.success());
    let list = || {
        let all = fs::read_dir(dir.path()).expect("the directory").map(|entry| entry.expect("an entry").file_name());
        all.collect::<std::collections::BTreeSet<_>>()
    };
    let before = list();
    look(&["--state-dir", state]).has("ok", "disk", &["can be written"]);
    assert_eq!(list(), before, "nothing is left behind");
    let garbage = dir.file("pinwire.db", &"this is no database at all. ".repeat(100));
    look(&["--state-dir", state]).problem("disk", &["pinwire.db' is damaged", "sets it aside", "a backup"]);
    look(&["--state-dir", state, "--auth", "key"]).problem("key", &["the keys cannot be known", "see `disk`"]);
    assert!(fs::read_to_string(garbage).expect("as it was").starts_with("this is no database"));
}

#[test]
fn a_key_file_that_is_closed_to_the_user_is_to_be_opened_and_not_made_again() {
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let key = dir.file("api.key", "a-key-of-somebody-else\n");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    let key = key.to_str().expect("UTF-8");
    if let Some(found) = as_nobody(&["--listen", "127.0.0.1:0", "--api-key-file", key]) {
        found.problem("key", &["Permission denied", "`sudo chown ", "chmod 600"]);
        assert!(!found.json.to_string().contains("openssl rand"), "{}", found.json);
    }
}

/// Looks with a file of this text.
fn look_by(text: &str) -> Found {
    let dir = TempDir::new();
    let file = dir.file("pinwire.toml", text);
    look(&["--config", file.to_str().expect("UTF-8")])
}

#[test]
fn commands_need_somebody_to_run_as() {
    let template = |more: &str| format!("[commands]\n{more}\n[commands.templates.up]\nargv = [\"/usr/bin/uptime\"]\n");
    look_by(&template("user = \"no-such-user\"")).problem("commands", &["no user 'no-such-user'", "commands.user"]);
    if !rustix::process::geteuid().is_root() {
        skipped("only root may not run commands as itself");
        return;
    }
    look_by(&template("")).problem("commands", &["will be refused: the daemon runs as root", "set commands.user"]);
    look_by(&template("user = \"root\"")).problem("commands", &["user 'root' is root"]);
    for fine in ["allow_root = true", "user = \"nobody\""] {
        assert!(!look_by(&template(fine)).json.to_string().contains("will be refused"), "{fine}");
    }
}

#[test]
#[cfg_attr(not(feature = "hub"), ignore = "needs the feature hub")]
fn docker_and_whom_alerts_are_told_are_looked_for() {
    let missing = look_by("[docker]\nenabled = true\nsocket = \"/no/such/docker.sock\"\n");
    missing.problem("docker", &["/no/such/docker.sock", "systemctl start docker"]);
    let here = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = here.local_addr().expect("its address");
    let hook = |url: &str| look_by(&format!("[alerts]\nwebhook = \"{url}\"\n"));
    hook(&format!("http://{address}/secret")).has("ok", "alerts", &["is reached", &address.to_string()]);
    let lost = hook("http://no-such-host.invalid/secret");
    lost.problem("alerts", &["cannot find 'no-such-host.invalid'", "getent hosts"]);
    assert!(!lost.json.to_string().contains("secret"), "{}", lost.json);
    let command = look_by("[alerts]\ncommand = [\"/no/such/program\"]\n");
    command.problem("alerts", &["cannot run /no/such/program", "chmod +x"]);
}

#[test]
fn a_file_that_cannot_be_used_is_an_object_too() {
    let dir = TempDir::new();
    let bad = dir.file("bad.toml", "nonsense = 1\n");
    let output = run(pinwire().args(["doctor", "--json", "--config"]).arg(&bad));
    assert_eq!(output.status.code(), Some(2));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("an object");
    let members: Vec<_> = found.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["findings", "gpio", "summary", "user", "version"]);
    let finding = &found["findings"][0];
    assert!(finding["what"].as_str().is_some_and(|what| what.contains("nonsense")), "{found}");
    assert_eq!((&finding["part"], &finding["level"]), (&json!("config"), &json!("problem")));
    assert_eq!((&found["gpio"]["ok"], &found["summary"]["problems"]), (&json!(false), &json!(1)));
    assert!(text(&output.stderr).contains("nonsense"));
}

#[test]
fn a_file_for_another_machine_can_be_checked() {
    let dir = TempDir::new();
    let file = dir.file("pi.toml", "[gpio]\nbackend = \"cdev\"\nchip = \"no-such-chip\"\n");
    let output = run(pinwire().args(["check-config", "--config"]).arg(&file));
    let (told, noted) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{noted}");
    assert!(told.contains("configuration is good") && told.contains("gpio cdev"), "{told}");
    assert!(noted.contains("note: not on this machine") && noted.contains("cdev"), "{noted}");
}

#[test]
#[cfg_attr(not(feature = "hub"), ignore = "needs the feature hub")]
fn commands_on_the_database_name_the_directory_that_was_mistyped() {
    let dir = TempDir::new();
    let wrong = dir.path().join("wrnog");
    for words in [&["user", "list"][..], &["key", "list"], &["audit"]] {
        let refused = run(pinwire().args(words).arg("--state-dir").arg(&wrong));
        let told = text(&refused.stderr);
        assert!(told.contains("there is no database at") && told.contains("wrnog/pinwire.db"), "{told}");
        assert!(told.contains("check the directory") && !wrong.exists(), "{told}");
    }
}
