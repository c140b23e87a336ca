//! The sockets of a web page.

use std::time::{Duration, SystemTime};

use super::super::write::written;
use super::*;
use crate::types::fleet::{AlertKind, Cpu, LogLevel, LogSource, Severity, Space};

const AT: SystemTime = SystemTime::UNIX_EPOCH;

#[test]
fn the_first_message_has_a_token() {
    assert_eq!(first(br#"{"type": "auth", "token": "jwt-access-token"}"#), Ok(Secret("jwt-access-token".into())));
    let required = "Authentication required: send {'type': 'auth', 'token': '...'} as first message";
    for (text, reason) in [
        (r#"{"type":"auth"}"#, required),
        (r#"{"type":"ping","token":"x"}"#, required),
        ("x", "Authentication failed: the message must be a JSON object"),
    ] {
        assert_eq!(auth_reason(&first(text.as_bytes()).expect_err(text)), reason);
    }
    let success = r#"{"type":"auth_success","message":"Authenticated successfully"}"#;
    assert_eq!(written(auth_success), success);
    assert_eq!(parse(br#"{"type":"ping"}"#), Ok(Said::Ping));
    assert_eq!(parse(br#"{"type":"x"}"#), Ok(Said::Ignored));
    assert!(parse(b"hello").is_err());
}

#[test]
fn pushes_have_the_documented_members() {
    let sample = Sample {
        cpu: Cpu { percent: Some(45.2), ..Cpu::default() },
        memory: Space { percent: Some(62.5), ..Space::default() },
        ..Sample::default()
    };
    let at = AT + Duration::from_micros(306_231);
    assert_eq!(
        written(|out| metrics(out, "uuid", &sample, at)),
        r#"{"type":"metrics","data":{"cpu_percent":45.2,"memory_percent":62.5,"disk_usage":[],"server_id":"uuid","cpu":{"usage_percent":45.2},"memory":{"usage_percent":62.5},"disk":{},"network":{},"interfaces":[],"containers":[],"processes":[]},"timestamp":"1970-01-01T00:00:00.306231Z"}"#
    );
    let entry = LogEntry {
        id: "i".into(),
        server_id: "s".into(),
        at: AT,
        level: LogLevel::Info,
        source: LogSource::Agent,
        component: None,
        message: "Log message".into(),
        extra: None,
    };
    assert_eq!(
        written(|out| log(out, &entry, AT)),
        r#"{"type":"log","data":{"level":"INFO","message":"Log message","timestamp":"1970-01-01T00:00:00Z","source":"agent","component":null,"extra_data":null,"id":"i","server_id":"s"},"timestamp":"1970-01-01T00:00:00Z"}"#
    );
    let high = Alert {
        cause: None,
        threshold_id: None,
        id: "a".into(),
        server_id: "s".into(),
        kind: AlertKind::Cpu,
        severity: Severity::Warning,
        message: "CPU usage is 85.0%, which exceeds threshold of > 80.0%".into(),
        threshold: Some(80.0),
        current_value: Some(85.0),
        created_at: AT,
        acknowledged_at: None,
        resolved_at: None,
    };
    assert_eq!(
        written(|out| alert(out, &high, AT)),
        r#"{"type":"alert","data":{"server_id":"s","type":"cpu","severity":"warning","message":"CPU usage is 85.0%, which exceeds threshold of > 80.0%","threshold":80.0,"current_value":85.0,"id":"a","resolved":false,"created_at":"1970-01-01T00:00:00Z","resolved_at":null},"timestamp":"1970-01-01T00:00:00Z"}"#
    );
}
