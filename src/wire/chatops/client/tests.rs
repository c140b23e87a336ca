//! The agent's end against the hub's: what one writes the other reads.

use super::super::agent::{self, Said};
use super::super::write::written;
use super::*;
use crate::types::fleet::{Cpu, LogLevel};

#[test]
fn what_this_agent_says_is_what_the_hub_hears() {
    let said = |text: String| agent::parse(text.as_bytes()).expect("valid");
    let sample = Sample { cpu: Cpu { percent: Some(45.2), ..Cpu::default() }, ..Sample::default() };
    for protocol in [Protocol::Documented, Protocol::Code] {
        let message = said(written(|out| metrics(out, protocol, "uuid", &sample)));
        assert_eq!(message.shows, Some(protocol));
        let Said::Metrics(heard) = message.said else { panic!("no metrics") };
        assert_eq!(*heard, sample);
        let key = written(|out| auth(out, "key", Some(protocol)));
        let agent::Opening::Auth(heard) = agent::first(key.as_bytes()).expect("valid") else { panic!("no key") };
        assert_eq!(heard.protocol, Some(protocol));
    }
    let flat = written(|out| metrics(out, Protocol::Documented, "uuid", &sample));
    let expected = r#"{"type":"metrics","server_id":"uuid","cpu_percent":45.2}"#;
    assert_eq!(flat, expected);
    assert_eq!(written(|out| auth(out, "k", None)), r#"{"type":"auth","api_key":"k"}"#);
    assert_eq!(said(written(ping)).said, Said::Ping);
    let message = "a\u{1}\"b".to_owned();
    let line = LogLine { level: LogLevel::Error, message, at: None, source: None, component: Some("sshd".into()) };
    assert_eq!(said(written(|out| log(out, &line))).said, Said::Log(line));
}

#[test]
fn outcomes_are_written_as_each_form_has_them() {
    let command = Order::Command { command: "ls -la".into() };
    let stop = Order::Container { action: ContainerAction::Stop, container_id: "web".into(), timeout: None };
    let ran = Outcome::Command { output: "x".into(), truncated: false, exit_code: 0, duration_ms: Some(150) };
    let stopped = Outcome::Container { action: None, container_id: None, message: None };
    let denied = Outcome::Denied { message: "No".into() };
    let (documented, code) = (Protocol::Documented, Protocol::Code);
    let table = [
        (
            documented,
            &command,
            &ran,
            r#"{"type":"command_response","command_id":"u","output":"x","exit_code":0,"duration_ms":150}"#,
        ),
        (
            code,
            &command,
            &ran,
            r#"{"type":"command_result","data":{"output":"x","exit_code":0,"duration_ms":150},"request_id":"u"}"#,
        ),
        (
            documented,
            &stop,
            &stopped,
            r#"{"type":"docker_response","command_id":"u","success":true,"message":"Container stopped"}"#,
        ),
        (
            code,
            &stop,
            &stopped,
            r#"{"type":"container_stopped","data":{"container_id":"web","status":"stopped"},"request_id":"u"}"#,
        ),
        (
            documented,
            &command,
            &denied,
            r#"{"type":"command_response","command_id":"u","output":"No","exit_code":126,"duration_ms":0,"denied":true}"#,
        ),
        (
            documented,
            &stop,
            &denied,
            r#"{"type":"docker_response","command_id":"u","success":false,"message":"No","denied":true}"#,
        ),
        (code, &stop, &denied, r#"{"type":"error","message":"No","denied":true,"request_id":"u"}"#),
    ];
    for (protocol, order, came, expected) in table {
        let text = written(|out| outcome(out, protocol, "u", order, came));
        assert_eq!(text, expected);
        let Said::Outcome { id, outcome } = agent::parse(text.as_bytes()).expect("valid").said else {
            panic!("{text}")
        };
        assert_eq!(id.as_deref(), Some("u"));
        assert_eq!(matches!(outcome, Outcome::Denied { .. }), *came == denied, "{text}");
    }
}

#[test]
fn what_the_hub_says_is_understood_in_either_form() {
    let told = |text: &str| parse(text.as_bytes()).expect(text);
    let welcome = r#"{"type":"auth_success","server_id":"uuid","message":"Connected successfully"}"#;
    assert_eq!(told(welcome), Told::Welcome { server_id: "uuid".into() });
    assert_eq!(told(r#"{"type":"metrics_received","status":"ok"}"#), Told::Received);
    let error = Told::Error { message: "Invalid message format".into(), detail: None };
    assert_eq!(told(r#"{"type":"error","message":"Invalid message format"}"#), error);
    assert_eq!(told(r#"{"type":"pong"}"#), Told::Pong);
    assert_eq!(told(r#"{"type":"news"}"#), Told::Ignored);
    let order = Order::Command { command: "ls -la".into() };
    let expected = Told::Order { id: "uuid".into(), protocol: Protocol::Documented, order };
    assert_eq!(told(r#"{"type":"command","command_id":"uuid","command":"ls -la"}"#), expected);
}

#[test]
fn an_order_with_a_fault_is_refused_and_can_be_answered() {
    for (text, expected) in [
        (r#"{"type":"command","command":"x"}"#, "'command_id' is missing"),
        (
            r#"{"type":"command","command_id":"a","request_id":"b","command":"x"}"#,
            "'command_id' differs from 'request_id'",
        ),
        (r#"{"type":"command","command_id":"a"}"#, "'command' is missing"),
        (
            r#"{"type":"docker_command","command_id":"a","action":"rm","container_id":"x"}"#,
            "'action' must be one of start, stop, restart, logs",
        ),
        (
            r#"{"type":"start_container","request_id":"a","container_id":"../x"}"#,
            "'container_id' must be a container's id or name",
        ),
        (
            r#"{"type":"stop_container","request_id":"a","container_id":"x","timeout":-1}"#,
            "'timeout' must be a whole number from 0 to 86400",
        ),
    ] {
        assert_eq!(parse(text.as_bytes()).expect_err(text).to_string(), expected, "{text}");
    }
    assert_eq!(order_id(br#"{"type":"command","command_id":"a"}"#).as_deref(), Some("a"));
    assert_eq!(order_id(b"nonsense"), None);
}
