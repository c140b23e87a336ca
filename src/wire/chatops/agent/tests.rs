//! What agents say: the documentation's examples, those of ChatOps' code, and nonsense.

use std::time::Duration;

use super::super::NoAuth;
use super::super::server::{self, Terms};
use super::super::write::written;
use super::*;
use crate::types::fleet::{AgentInfo, ContainerAction, Issuer, NodeFacts, Order, Secret};
use crate::wire::chatops::Fault;

fn said(text: &str) -> Message {
    parse(text.as_bytes()).expect(text)
}

fn wrong(text: &str) -> String {
    parse(text.as_bytes()).expect_err(text).to_string()
}

fn outcome_of(text: &str) -> (Option<Protocol>, Option<String>, Outcome) {
    match said(text) {
        Message { shows, stamp: None, said: Said::Outcome { id, outcome } } => (shows, id, outcome),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_first_message_authenticates_or_says_why_not() {
    let auth = |text: &str| match first(text.as_bytes()) {
        Ok(Opening::Auth(auth)) => *auth,
        other => panic!("{text}: {other:?}"),
    };
    let plain = Auth { api_key: Secret("your-api-key-here".into()), protocol: None, info: AgentInfo::default() };
    assert_eq!(auth(r#"{ "type": "auth", "api_key": "your-api-key-here" }"#), plain);
    assert_eq!(auth(r#"{"type":"auth","api_key":"k","protocol":"code"}"#).protocol, Some(Protocol::Code));
    let told = auth(
        r#"{"type":"auth","api_key":"k","agent":{"name":"pi1","version":"0.1.0","cluster":"lab","streams":["s"],"node":{"ip_address":"10.0.0.7","cpu_cores":4,"memory":1024},"new":1}}"#,
    );
    let node = NodeFacts {
        ip_address: Some("10.0.0.7".into()),
        cpu_cores: Some(4),
        memory: Some(1024),
        ..NodeFacts::default()
    };
    let info = AgentInfo {
        name: Some("pi1".into()),
        version: Some("0.1.0".into()),
        boot_id: None,
        monotonic_ns: None,
        cluster: Some("lab".into()),
        streams: vec!["s".into()],
        node: Some(node),
    };
    assert_eq!(told.info, info);
    let nonce = "A".repeat(43);
    let hello = first(format!(r#"{{"type":"hello","key_id":"0123456789","nonce":"{nonce}"}}"#).as_bytes());
    assert_eq!(hello, Ok(Opening::Hello(Hello { key_id: "0123456789".into(), nonce: [0; NONCE_BYTES] })));
    let required = "Authentication required: send {'type': 'auth', 'api_key': '...'} as first message";
    for (text, reason) in [
        ("{}", required),
        (r#"{"type":"auth"}"#, required),
        (r#"{"type":"auth","api_key":""}"#, required),
        (r#"{"type":"metrics","api_key":"k"}"#, required),
        ("", "Authentication failed: the message must be a JSON object"),
        (r#"["auth"]"#, "Authentication failed: the message must be a JSON object"),
        (r#"{"type":"auth","api_key":7}"#, "Authentication failed: 'api_key' must be a string"),
        (
            r#"{"type":"auth","api_key":"k","protocol":"x"}"#,
            "Authentication failed: 'protocol' must be one of documented, code",
        ),
        (
            r#"{"type":"hello","key_id":"a","nonce":"AA"}"#,
            "Authentication failed: 'nonce' must be 32 bytes in base64url",
        ),
        (
            r#"{"type":"auth","api_key":"k","agent":{"streams":[1]}}"#,
            "Authentication failed: 'agent.streams[0]' must be a string",
        ),
        (
            r#"{"type":"auth","api_key":"k","agent":{"name":"a\nb"}}"#,
            "Authentication failed: 'agent.name' has control characters in it",
        ),
    ] {
        assert_eq!(auth_reason(&first(text.as_bytes()).expect_err(text)), reason, "{text}");
    }
    assert_eq!(first(b"\xff"), Err(NoAuth::Failed("the message is not UTF-8".into())));
}

#[test]
fn metrics_show_which_form_an_agent_speaks() {
    let flat = said(
        r#"{"type":"metrics","server_id":"uuid","cpu_percent":45.2,"memory_percent":62.5,"disk_usage":[],"network":[],"timestamp":"2024-01-01T00:00:00Z"}"#,
    );
    assert_eq!(flat.shows, Some(Protocol::Documented));
    let Said::Metrics(sample) = flat.said else { panic!("no metrics") };
    assert_eq!((sample.cpu.percent, sample.memory.percent), (Some(45.2), Some(62.5)));
    let nested = said(r#"{"type":"metrics","data":{"cpu":{"usage_percent":12.5,"cores":4}}}"#);
    assert_eq!(nested.shows, Some(Protocol::Code));
    let Said::Metrics(sample) = nested.said else { panic!("no metrics") };
    assert_eq!((sample.cpu.percent, sample.cpu.cores), (Some(12.5), Some(4)));
}

#[test]
fn results_of_both_forms_say_the_same() {
    let command = |output: &str, exit_code, duration_ms| Outcome::Command {
        output: output.into(),
        truncated: false,
        exit_code,
        duration_ms,
    };
    let container = |action, id: Option<&str>, message: Option<&str>| Outcome::Container {
        action,
        container_id: id.map(Into::into),
        message: message.map(Into::into),
    };
    let failed = |message: &str| Outcome::Failed { message: message.into() };
    let (documented, code) = (Some(Protocol::Documented), Some(Protocol::Code));
    let table = [
        (
            r#"{"type":"command_response","command_id":"uuid","output":"total 100\n...","exit_code":0,"duration_ms":150}"#,
            documented,
            command("total 100\n...", 0, Some(150)),
        ),
        (
            r#"{"type":"docker_response","command_id":"uuid","success":true,"message":"Container started"}"#,
            documented,
            container(None, None, Some("Container started")),
        ),
        (
            r#"{"type":"docker_response","command_id":"uuid","success":false,"message":"No such container"}"#,
            documented,
            failed("No such container"),
        ),
        (
            r#"{"type":"command_result","data":{"output":"x","exit_code":-1},"request_id":"uuid"}"#,
            code,
            command("x", -1, None),
        ),
        (
            r#"{"type":"container_stopped","data":{"container_id":"web","status":"stopped"},"request_id":"uuid"}"#,
            code,
            container(Some(ContainerAction::Stop), Some("web"), None),
        ),
        (
            r#"{"type":"container_logs","data":{"container_id":"web","logs":["a","b"]},"request_id":"uuid"}"#,
            code,
            Outcome::ContainerLogs {
                container_id: Some("web".into()),
                lines: vec!["a".into(), "b".into()],
                truncated: false,
            },
        ),
        (
            r#"{"type":"error","message":"Docker not available","request_id":"uuid"}"#,
            None,
            failed("Docker not available"),
        ),
        (
            r#"{"type":"error","message":"No","denied":true,"request_id":"uuid"}"#,
            None,
            Outcome::Denied { message: "No".into() },
        ),
        (r#"{"type":"whatever","request_id":"uuid"}"#, None, Outcome::Unexpected),
    ];
    for (text, shows, outcome) in table {
        assert_eq!(outcome_of(text), (shows, Some("uuid".into()), outcome), "{text}");
    }
    assert_eq!(outcome_of(r#"{"type":"error","message":"m"}"#).1, None);
}

#[test]
fn log_lines_are_taken_in_any_case_and_the_rest_is_ignored() {
    let log =
        said(r#"{"type":"log","data":{"level":"INFO","message":"Log message","timestamp":"2024-01-01T00:00:00Z"}}"#);
    let Said::Log(line) = log.said else { panic!("no log") };
    assert_eq!((line.level, &*line.message, line.source), (LogLevel::Info, "Log message", None));
    assert!(line.at.is_some());
    assert_eq!(said(r#"{"type":"ping"}"#).said, Said::Ping);
    for text in [r#"{"type":"auth","api_key":"k"}"#, r#"{"type":"new"}"#, r#"{"type":"new","request_id":""}"#] {
        assert_eq!(said(text), Message { shows: None, stamp: None, said: Said::Ignored }, "{text}");
    }
}

#[test]
fn agents_of_this_program_number_their_records_and_hand_over_what_happens_on_their_device() {
    let numbers = r#""stream":"s","seq":18,"boot_id":"b","monotonic_ns":123,"clock":"corrected""#;
    let stamp = Stamp {
        stream: "s".into(),
        seq: 18,
        boot_id: Some("b".into()),
        monotonic_ns: Some(123),
        clock: Some(ClockState::Corrected),
    };
    let sample = said(&format!(r#"{{"type":"metrics","data":{{"cpu":{{"usage_percent":1}}}},{numbers}}}"#));
    assert_eq!((sample.stamp.as_ref(), sample.shows), (Some(&stamp), Some(Protocol::Code)));
    let happened = r#"{"type":"gpio.state.changed","timestamp":"2024-01-01T00:00:00Z","data":{"pin":17}}"#;
    let event = said(&format!(r#"{{"type":"event","event":{happened},{numbers}}}"#));
    let at = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200));
    let topic = "gpio.state.changed".into();
    assert_eq!(
        event,
        Message { shows: None, stamp: Some(stamp), said: Said::Event { topic, at, data: r#"{"pin":17}"#.into() } }
    );
    let output = said(r#"{"type":"command_output","command_id":"u","offset":5,"chunk":"x"}"#).said;
    assert_eq!(output, Said::Output { id: "u".into(), offset: 5, chunk: "x".into() });
    let response = said(r#"{"type":"action_result","command_id":"u","response":{"success":true}}"#).said;
    assert_eq!(response, Said::Response { id: "u".into(), json: r#"{"success":true}"#.into() });
    for (text, expected) in [
        (r#"{"type":"metrics","cpu_percent":1,"seq":1}"#, "'stream' is missing"),
        (r#"{"type":"metrics","cpu_percent":1,"stream":"s"}"#, "'seq' is missing"),
        (
            r#"{"type":"metrics","cpu_percent":1,"stream":"s","seq":0}"#,
            "'seq' must be a whole number from 1 to 9223372036854775807",
        ),
        (r#"{"type":"event"}"#, "'event' is missing"),
        (r#"{"type":"event","event":{"type":"a.*"}}"#, "'event.type' must be a topic such as gpio.state.changed"),
        (r#"{"type":"action_result","response":{}}"#, "'command_id' is missing"),
        (r#"{"type":"command_output","command_id":"u"}"#, "'chunk' is missing"),
    ] {
        assert_eq!(wrong(text), expected, "{text}");
    }
}

#[test]
fn agents_of_this_program_are_told_more() {
    let streams: [(std::sync::Arc<str>, u64); 2] = [("a".into(), 17), ("b\"".into(), 0)];
    assert_eq!(
        written(|out| server::auth_success(out, "uuid", Some(&streams))),
        r#"{"type":"auth_success","server_id":"uuid","message":"Connected successfully","streams":{"a":17,"b\"":0}}"#
    );
    assert_eq!(
        written(|out| server::metrics_received(out, Some(18))),
        r#"{"type":"metrics_received","status":"ok","seq":18}"#
    );
    assert_eq!(written(|out| server::stored(out, "s", 18)), r#"{"type":"stored","stream":"s","seq":18}"#);
    assert_eq!(written(|out| server::proof(out, &[255; 3])), r#"{"type":"proof","proof":"____"}"#);
    let issuer = Issuer { who: "ann".into(), id: Some("7".into()), from: "10.0.0.1".into() };
    let terms = Terms { issuer: &issuer, timeout: Duration::from_millis(1500) };
    let by = r#""issued_by":{"who":"ann","id":"7","from":"10.0.0.1"}"#;
    let command = Order::Command { command: "ls".into() };
    assert_eq!(
        written(|out| server::order(out, Protocol::Documented, "u", &command, Some(terms))),
        format!(r#"{{"type":"command","command_id":"u","command":"ls","request_id":"u","timeout":2,{by}}}"#)
    );
    let stop = Order::Container { action: ContainerAction::Stop, container_id: "web".into(), timeout: None };
    assert_eq!(
        written(|out| server::order(out, Protocol::Code, "u", &stop, Some(terms))),
        format!(r#"{{"type":"stop_container","container_id":"web","request_id":"u","command_id":"u",{by}}}"#)
    );
    assert_eq!(
        written(|out| server::action(out, "u", r#"{"action":"READ_MEMORY"}"#, terms)),
        format!(r#"{{"type":"action","command_id":"u","request":{{"action":"READ_MEMORY"}},"timeout":2,{by}}}"#)
    );
}

#[test]
fn nonsense_is_named_and_huge_output_is_cut() {
    for (text, expected) in [
        ("", "the message must be a JSON object"),
        ("17", "the message must be a JSON object"),
        ("{}", "'type' is missing"),
        (r#"{"type":1}"#, "'type' must be a string"),
        (r#"{"type":"metrics"}"#, "the message has neither 'data' nor 'cpu_percent' or any other metric"),
        (r#"{"type":"metrics","data":[]}"#, "'data' must be an object"),
        (
            r#"{"type":"metrics","data":{"cpu":{"cores":"4"}}}"#,
            "'data.cpu.cores' must be a whole number from 0 to 1024",
        ),
        (r#"{"type":"command_result","request_id":"x"}"#, "'data' is missing"),
        (r#"{"type":"command_response","command_id":"x","output":"y"}"#, "'exit_code' is missing"),
        (r#"{"type":"docker_response","command_id":"x"}"#, "'success' is missing"),
        (
            r#"{"type":"log","data":{"level":"loud","message":"x"}}"#,
            "'data.level' must be one of debug, info, warning, error, critical",
        ),
        (r#"{"type":"log","data":{"level":"info"}}"#, "'data.message' is missing"),
        (r#"{"type":"command_result","data":{"exit_code":0},"request_id":{}}"#, "'request_id' must be a string"),
    ] {
        assert_eq!(wrong(text), expected, "{text}");
    }
    assert_eq!(parse(b"\x80"), Err(Fault::new("", "is not UTF-8")));
    // Two bytes each: the cut must not go through one.
    let output = format!("x{}", "é".repeat(limit::OUTPUT_BYTES));
    let text = format!(r#"{{"type":"command_response","command_id":"a","output":"{output}","exit_code":0}}"#);
    let (_, _, Outcome::Command { output, truncated, .. }) = outcome_of(&text) else { panic!("no command") };
    assert!(truncated && output.len() == limit::OUTPUT_BYTES - 1, "{}", output.len());
    let lines = vec!["\"l\""; limit::LOG_LINES].join(",");
    let text = format!(r#"{{"type":"container_logs","data":{{"logs":["first",{lines}]}},"request_id":"a"}}"#);
    let (_, _, Outcome::ContainerLogs { lines, truncated, .. }) = outcome_of(&text) else { panic!("no logs") };
    assert!(truncated && lines.len() == limit::LOG_LINES && lines[0] == "l");
}
