//! What the daemon tells a service manager: when it is ready, how it is, that it reloads, that it ends; and what its
//! children do not inherit.

mod common;
mod fleet;
mod manager;

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use common::{Daemon, LIMIT, TempDir, pinwire};
use manager::{Manager, serve};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

fn micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec * 1_000_000 + now.tv_nsec / 1000) as u64
}

fn number(message: &str, name: &str) -> u64 {
    let line = message.lines().find_map(|line| line.strip_prefix(name)).expect("a line of this name");
    line.parse().expect("a number")
}

#[test]
fn ready_is_said_when_it_listens_and_the_lines_are_taken() {
    for manager in [Manager::in_files(), Manager::new()] {
        let dir = TempDir::new();
        let config =
            dir.file("pinwire.toml", "[gpio.pins]\nlamp = { pin = 17, mode = \"output\", initial = \"high\" }\n");
        let mut command = pinwire();
        command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "sim", "--config"]).arg(config);
        let state = dir.path().join("state");
        command.arg("--state-dir").arg(&state).env("NOTIFY_SOCKET", &manager.name);
        let mut daemon = Daemon::launch(dir, command);
        if cfg!(feature = "hub") {
            let first = manager.within(LIMIT).expect("told");
            assert_eq!(first, "EXTEND_TIMEOUT_USEC=600000000\nSTATUS=opening the database");
        }
        let ready = manager.within(LIMIT).expect("told");
        let status =
            format!("listening on http://{}; GPIO backend sim, simulated; 0 WebSocket connections", daemon.addr);
        assert_eq!(ready, format!("READY=1\nSTATUS={status}"));
        let mut ws = daemon.ws("/");
        let lamp = ws.ask(r#"{"action":"READ_LINES","params":{"pins":["lamp"]}}"#);
        assert_eq!(lamp["data"]["lamp"]["state"], 1.0, "{lamp}");
        manager.until("; 1 WebSocket connection");
        drop(ws);
        manager.until("; 0 WebSocket connections");
        assert!(daemon.stop().success());
        let stopping = manager.until("STOPPING=1");
        assert_eq!(stopping, "STOPPING=1\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=10000000\nSTATUS=shutting down");
        assert_eq!(manager.within(Duration::from_millis(1)), None, "the last word");
        assert_eq!(daemon.log().matches("service manager").count(), 0, "{}", daemon.log());
    }
}

#[test]
fn a_reload_is_announced_and_its_end_is_told() {
    let manager = Manager::new();
    let daemon = serve(&manager, &[]);
    let status = manager.until("READY=1").replace("READY=1\n", "");
    let before = micros();
    daemon.signal("HUP");
    let reloading = manager.until("RELOADING=1");
    let at = number(&reloading, "MONOTONIC_USEC=");
    assert!((before..=micros()).contains(&at), "{before} {reloading}");
    assert_eq!(reloading, format!("RELOADING=1\nMONOTONIC_USEC={at}\nSTATUS=reloading"));
    let ready = manager.until("READY=1");
    assert!(ready.contains(&status), "{ready}");
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let manager = Manager::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = common::run(pinwire().args(["serve", "--listen", &address]).env("NOTIFY_SOCKET", &manager.name));
    assert_eq!(output.status.code(), Some(1));
    while let Some(message) = manager.within(Duration::from_millis(1)) {
        assert!(!message.contains("READY=1"), "{message}");
    }
}

#[test]
fn a_manager_that_is_not_there_or_has_a_strange_name_does_not_keep_it_from_serving() {
    for (name, said) in [("/nowhere/notify", "cannot be told anything"), ("vsock:2:1234", "it must begin with / or @")]
    {
        let daemon = Daemon::start_in(TempDir::new(), |command| {
            command
                .env("NOTIFY_SOCKET", name)
                .env("WATCHDOG_USEC", "soon")
                .env("LISTEN_FDS", "1")
                .env("LISTEN_PID", "1");
        });
        daemon.wait_for_log(said);
        daemon.wait_for_log("WATCHDOG_USEC=\"soon\" is no time in µs");
        assert_eq!(daemon.get("/health").status, 200);
        assert_eq!(daemon.log().matches(said).count(), 1, "{}", daemon.log());
    }
}

/// A `journalctl` that writes down what it was started with.
const JOURNALCTL: &str = "#!/bin/sh\nls -l /proc/$$/fd > \"$0.fds\"\nenv > \"$0.env\"\nexec sleep 1000\n";

#[test]
#[cfg_attr(not(all(feature = "hub", feature = "agent")), ignore = "needs the features hub, agent")]
fn an_agent_is_ready_when_its_parts_run_and_its_status_says_how_the_hub_is() {
    let manager = Manager::new();
    let hub = fleet::Hub::start("");
    let server = hub.server("pi1");
    let dir = TempDir::new();
    let key = dir.file("key", &hub.agent_key(&server));
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("a mode");
    let program = dir.file("journalctl", JOURNALCTL);
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("a mode");
    let config = dir.file("agent.toml", "[agent]\njournal = true\n");
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap_or_default());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = pinwire();
    command.args(["agent", "--gpio", "sim", "--name", "pi1", "--hub", &format!("ws://{}", hub.daemon.addr)]);
    command.arg("--key-file").arg(key).arg("--config").arg(config).arg("--state-dir").arg(dir.path().join("state"));
    command.env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", "60000000").env("PATH", path);
    let command = manager::activated(manager::copy(&listener), &command);
    let agent = Daemon::launch_with(dir, command);
    let address = hub.daemon.addr;
    let ready = manager.until("READY=1");
    assert!(ready.contains(&format!("STATUS=listening on http://{}; GPIO backend sim", agent.addr)), "{ready}");
    assert!(ready.contains(&format!("hub {address}")), "{ready}");
    let connected = format!("; connected to hub {address}");
    if !ready.contains(&connected) {
        manager.until(&connected);
    }
    drop(hub);
    manager.until(&format!("; hub {address}: "));
    // What its children have of all this: nothing.
    let written = |name: &str| std::fs::read_to_string(agent.dir.path().join(name)).unwrap_or_default();
    let environment = written("journalctl.env");
    assert!(environment.contains("PATH="), "{environment}");
    for name in ["NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_"] {
        assert!(!environment.contains(name), "{environment}");
    }
    let sockets = written("journalctl.fds");
    assert!(sockets.contains("pipe:") && !sockets.contains("socket:"), "{sockets}");
    assert!(TcpStream::connect(listener.local_addr().expect("its address")).is_ok());
}

#[test]
fn a_manager_costs_an_idle_daemon_nothing() {
    let manager = Manager::new();
    let daemon = serve(&manager, &[]);
    manager.until("READY=1");
    assert_eq!(manager.within(Duration::from_millis(1500)), None, "nothing has changed");
    let switches = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("its threads");
        let of = |path: std::path::PathBuf| {
            let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap_or("0");
            let name = status.lines().next().unwrap_or_default().to_owned();
            (name, line.trim().parse::<u64>().expect("a number"))
        };
        tasks.map(|task| of(task.expect("a thread").path())).collect::<Vec<_>>()
    };
    let before = switches();
    assert!(before.iter().any(|(name, _)| name.contains("watchdog")), "{before:?}");
    assert_eq!(manager.within(Duration::from_secs(2)), None, "nothing has changed");
    assert_eq!(switches(), before, "nobody has woken");
    assert_eq!(json!(daemon.get("/health").status), 200);
}
