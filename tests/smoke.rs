//! The first thing a newcomer does.

mod common;

use common::{Daemon, run};

#[test]
fn a_daemon_starts_answers_and_stops() {
    let daemon = Daemon::start(&[]);
    let answer = daemon.ws("/").ask(r#"{"action":"READ_MEMORY"}"#);
    assert_eq!(answer["success"], true, "{answer}");
    assert!(answer["data"]["total"]["quantity"].as_f64().is_some_and(|kib| kib > 1024.0), "{answer}");
    assert_eq!(daemon.get("/health").json()["status"], "healthy");
    let output = run(daemon.client("call").arg("READ_MEMORY"));
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains(r#""action":"READ_MEMORY""#));
}
