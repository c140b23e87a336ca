//! Orders from the hub's REST to a real agent and back: denied without permission, ended in time with it, once each, and
//! in both audits.

mod common;
#[path = "fleet_docker/engine.rs"]
mod engine;
mod fleet;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Daemon, LIMIT, TempDir, pinwire, run};
use engine::Engine;
use fleet::Hub;
use serde_json::{Value, json};

/// Commands run as this user where the tests run as root: one that nothing else runs as.
const THROW_AWAY: u32 = 64_331;

fn shell(lines: &str) -> String {
    let user = if rustix::process::geteuid().is_root() { format!("user = \"{THROW_AWAY}\"\n") } else { String::new() };
    format!("[commands]\nshell = true\n{user}{lines}\n")
}

/// A hub with one server, and its agent, connected.
struct Pair {
    hub: Hub,
    agent: Daemon,
    server: String,
    state: PathBuf,
}

impl Pair {
    fn start(agent: &str) -> Pair {
        let hub = Hub::start("[hub]\nown_server = false\norder_timeout = \"15s\"\n");
        let server = hub.server("pi1");
        let dir = TempDir::new();
        let key = dir.file("key", &hub.agent_key(&server));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        let config = dir.file("agent.toml", &format!("[agent]\nmetrics_interval = \"200ms\"\n{agent}"));
        let state = dir.path().join("state");
        let mut command = pinwire();
        command.args(["agent", "--listen", "127.0.0.1:0", "--gpio", "sim", "--name", "pi1"]);
        command.args(["--hub", &format!("ws://{}", hub.daemon.addr)]).arg("--key-file").arg(key);
        command.arg("--config").arg(config).arg("--state-dir").arg(&state);
        let agent = Daemon::launch(dir, command);
        agent.wait_for_log("connected to hub");
        Pair { hub, agent, server, state }
    }

    fn command(&self, command: &str) -> (u16, Value, Duration) {
        let began = Instant::now();
        let answer = self.hub.rest("POST", &format!("/commands/{}", self.server), &json!({"command": command}));
        (answer.status, answer.json(), began.elapsed())
    }
}

/// What `pinwire audit` prints of a state directory, and whether it is content.
fn audit(state: &PathBuf, flags: &[&str]) -> (String, bool) {
    let output = run(pinwire().arg("audit").args(flags).arg("--state-dir").arg(state));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.success())
}

#[test]
fn without_permission_an_order_is_denied_and_both_ends_know_it() {
    let pair = Pair::start("");
    let (status, body, _) = pair.command("id");
    assert_eq!((status, &body["denied"]), (403, &json!(true)), "{body}");
    assert!(body.to_string().contains("not allowed on this machine"), "{body}");
    let path = format!("/docker/{}/containers/web/stop", pair.server);
    let answer = pair.hub.rest("POST", &path, &Value::Null);
    assert_eq!((answer.status, &answer.json()["denied"]), (403, &json!(true)), "{}", answer.body);
    let (text, whole) = audit(&pair.state, &[]);
    assert!(whole && text.contains("here: command id -> denied: "), "{text}");
    assert!(text.contains("here: docker stop web -> denied: ") && text.contains("operator"), "{text}");
}

#[test]
fn with_permission_what_runs_away_is_ended_and_in_the_audit() {
    let pair = Pair::start(&shell("timeout = \"1s\"\nkill_after = \"300ms\"\noutput_bytes = 4096\nmax_processes = 40"));
    let (status, body, _) = pair.command("echo hello; exit 3");
    assert_eq!((status, &body["output"], &body["exit_code"]), (200, &json!("hello\n"), &json!(3)), "{body}");
    for command in [
        "yes",
        "sleep 1000",
        "trap '' TERM; while :; do sleep 1000; done",
        "setsid sh -c 'trap \"\" TERM; exec sleep 1000' & sleep 1000",
    ] {
        let (status, body, took) = pair.command(command);
        assert_eq!((status, &body["exit_code"]), (200, &json!(-1)), "{command}: {body}");
        let output = body["output"].as_str().expect("an output");
        assert!(output.contains("[pinwire: ended, ") && output.len() < 4300, "{command}: {output}");
        assert_eq!(body["truncated"] == json!(true), command == "yes", "{command}: {body}");
        assert!(took < Duration::from_secs(8), "{command}: {took:?}");
    }
    if rustix::process::geteuid().is_root() {
        let (status, body, took) = pair.command("bomb() { bomb | bomb & }; bomb; sleep 1000");
        assert_eq!(status, 200, "{body}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        let mut ps = std::process::Command::new("ps");
        let left = run(ps.args(["-o", "pid=,stat=,args=", "-U", &THROW_AWAY.to_string()])).stdout;
        assert_eq!(String::from_utf8_lossy(&left).trim(), "", "processes are left");
    } else {
        common::skipped("the fork bomb; as nobody but root, the processes of these tests would count as its");
    }

    let (text, whole) = audit(&pair.state, &[]);
    assert!(whole, "{text}");
    for part in [
        "here: command yes",
        "here: command sleep 1000 -> exit code -1 after ",
        "bytes of output, cut [pinwire: ended, ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (verdict, whole) = audit(&pair.state, &["--verify"]);
    assert!(whole && verdict.contains("the chain is whole"), "{verdict}");

    // The agent ends, and one byte of what it wrote down is changed.
    let Pair { mut agent, state, hub, .. } = pair;
    agent.signal("TERM");
    assert!(agent.wait().success());
    let file = state.join("pinwire.db");
    let mut bytes = std::fs::read(&file).expect("the database");
    let wanted = b"here: command sleep 1000";
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).expect("a record");
    bytes[at + wanted.len() - 1] = b'9';
    std::fs::write(&file, bytes).expect("written");
    let (verdict, whole) = audit(&state, &["--verify"]);
    assert!(!whole && verdict.contains("was changed"), "{verdict}");
    drop(hub);
}

#[test]
fn a_long_command_is_seen_on_the_hub_as_it_goes() {
    let pair = Pair::start(&shell(""));
    let mut watcher = pair.hub.daemon.try_ws("/ws", &[("X-API-Key", fleet::OPERATOR)]).expect("connects");
    watcher.send(r#"{"type":"subscribe","topics":["agent.pi1.command.output"]}"#);
    watcher.sync();
    let (status, body, _) = pair.command("for i in 1 2 3 4; do echo line-$i; sleep 0.5; done");
    assert_eq!((status, &body["output"]), (200, &json!("line-1\nline-2\nline-3\nline-4\n")), "{body}");
    let news = watcher.until(|value| value.to_string().contains("line-1"));
    assert!(news.to_string().contains("agent.pi1.command.output"), "{news}");
}

#[test]
fn a_hub_that_is_its_own_first_server_takes_its_own_orders_by_the_same_rules() {
    let hub = Hub::start(&format!("node_id = \"hub1\"\n{}", shell("")));
    let servers = hub.get("/servers");
    let server = servers[0]["id"].as_str().unwrap_or_else(|| panic!("{servers}")).to_owned();
    let command = |command: &str| hub.rest("POST", &format!("/commands/{server}"), &json!({"command": command}));
    let ran = command("echo hello");
    assert_eq!((ran.status, &ran.json()["output"]), (200, &json!("hello\n")), "{}", ran.body);
    let denied = hub.rest("POST", &format!("/docker/{server}/containers/web/stop"), &Value::Null);
    assert_eq!((denied.status, &denied.json()["denied"]), (403, &json!(true)), "{}", denied.body);
    let state = hub.daemon.dir.path().join("state");
    let (text, whole) = audit(&state, &[]);
    // The hub's own records and the machine's stand in one table.
    assert!(
        whole && text.contains("command on '") && text.contains("here: command echo hello -> exit code 0"),
        "{text}"
    );
}

#[test]
fn what_runs_when_the_agent_ends_ends_with_it() {
    let pair = Pair::start(&shell("kill_after = \"300ms\""));
    let Pair { hub, mut agent, server, state } = pair;
    let asked = std::thread::spawn(move || {
        hub.rest("POST", &format!("/commands/{server}"), &json!({"command": "(setsid sleep 998 &); sleep 997"}))
    });
    let began = Instant::now();
    while !audit(&state, &[]).0.contains("here: command (setsid") {
        assert!(began.elapsed() < LIMIT, "it does not start");
    }
    agent.signal("TERM");
    assert!(agent.wait().success());
    let ps = run(std::process::Command::new("ps").args(["-eo", "args="])).stdout;
    let ps = String::from_utf8_lossy(&ps).into_owned();
    assert!(!ps.contains("sleep 998") && !ps.contains("sleep 997"), "{ps}");
    let answer = asked.join().expect("answered");
    assert!([200, 503].contains(&answer.status), "{}", answer.body);
    let (text, _) = audit(&state, &[]);
    assert!(text.contains("the daemon is stopping"), "{text}");
}

#[test]
fn a_killed_agent_leaves_nothing_running() {
    let pair = Pair::start(&shell("kill_after = \"300ms\"\ntimeout = \"1m\""));
    let Pair { hub, mut agent, server, state } = pair;
    let order = json!({"command": "trap '' TERM; (setsid sleep 996 &); sleep 995; sleep 994"});
    let asked = std::thread::spawn(move || hub.rest("POST", &format!("/commands/{server}"), &order));
    let is_running = || {
        let ps = run(std::process::Command::new("ps").args(["-eo", "args="])).stdout;
        let ps = String::from_utf8_lossy(&ps).into_owned();
        [996, 995, 994].iter().any(|seconds| ps.lines().any(|line| line == format!("sleep {seconds}")))
    };
    let until = Instant::now() + LIMIT;
    while !is_running() {
        assert!(Instant::now() < until, "it does not start");
    }
    agent.signal("KILL");
    agent.wait();
    while is_running() {
        assert!(Instant::now() < until, "something of it is left");
    }
    let answer = asked.join().expect("answered");
    assert_eq!(answer.status, 503, "{}", answer.body);
    let (text, whole) = audit(&state, &[]);
    assert!(whole && text.contains("before") && !text.contains("->"), "{text}");
}

#[test]
fn containers_are_seen_and_ordered_by_way_of_the_hub() {
    let Some(engine) = Engine::start() else { return };
    engine.create("web", "echo out; trap 'exit 0' TERM; while :; do sleep 1; done", false);
    engine.create("other", "echo secret", false);
    let pair = Pair::start(&format!(
        "[docker]\nenabled = true\nsocket = \"{}\"\ncontainers = [\"web\"]\ntimeout = \"20s\"",
        engine.socket().display()
    ));
    let docker = format!("/docker/{}/containers", pair.server);
    let post = |path: &str| pair.hub.rest("POST", &format!("{docker}/{path}"), &Value::Null);
    let started = post("web/start");
    assert_eq!((started.status, &started.json()["status"]), (200, &json!("success")), "{}", started.body);
    let began = Instant::now();
    loop {
        let listed = pair.hub.get(&docker);
        let running = listed.to_string().contains("\"running\"");
        assert!(!listed.to_string().contains("other"), "{listed}");
        if running {
            break;
        }
        assert!(began.elapsed() < LIMIT, "{listed}");
    }
    assert_eq!(post("web/restart?timeout=1").status, 200);
    assert_eq!(post("web/stop?timeout=1").status, 200);
    let logs = pair.hub.get(&format!("{docker}/web/logs?tail=10"));
    assert!(logs.to_string().contains("out"), "{logs}");
    let denied = post("other/start");
    assert_eq!((denied.status, &denied.json()["denied"]), (403, &json!(true)), "{}", denied.body);
    assert_eq!(post("missing/start").status, 500);
    let (text, whole) = audit(&pair.state, &[]);
    assert!(whole && text.contains("here: docker restart web -> done"), "{text}");
}
