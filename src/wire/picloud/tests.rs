//! PiCloud's messages, as its clients send and read them.

use super::*;
use crate::types::line::{Level, Pin};
use crate::types::position::Epoch;

fn plain(event: &str) -> Ask<'_> {
    Ask::Subscribe { event: event.into(), pattern: false, wants: Wants::default(), ack: false }
}

fn asked(text: &str) -> Ask<'_> {
    parse_ask(text.as_bytes()).expect(text)
}

#[test]
fn asks_are_read_as_picloud_reads_them() {
    assert_eq!(asked(r#"{"action":"subscribe","event":"door"}"#), plain("door"));
    assert_eq!(asked(r#"{"Action":"subscribe","EVENT":"d\u00e9"}"#), plain("dé"));
    let ask = Ask::Unsubscribe { event: "".into(), pattern: false };
    assert_eq!(asked(r#"{"action":"unsubscribe","event":""}"#), ask);
    assert_eq!(asked(r#"{"action":"unsubscribe:all"}"#), Ask::UnsubscribeAll);
    assert_eq!(asked(r#"{"action":"publish","event":"x","data":"y"}"#), Ask::Ignored);
    assert_eq!(asked("{}"), Ask::Ignored);
    assert_eq!(asked("null"), Ask::Ignored);
    assert_eq!(asked(r#"{"action":"subscribe","event":"a","more":[1,{"x":2}]}"#), plain("a"));
}

#[test]
fn what_picloud_does_not_have_is_asked_for_in_the_same_message() {
    let text =
        r#"{"action":"subscribe","event":"door.*","pattern":true,"last":true,"since":"00c0ffee00c0ffee:7","ack":true}"#;
    let since = Some(Position { epoch: Epoch(0x00c0_ffee_00c0_ffee), offset: 7 });
    let wants = Wants { since, last: true, position: false };
    assert_eq!(asked(text), Ask::Subscribe { event: "door.*".into(), pattern: true, wants, ack: true });
    let ask = Ask::Unsubscribe { event: "door.*".into(), pattern: true };
    assert_eq!(asked(r#"{"action":"unsubscribe","event":"door.*","pattern":true}"#), ask);
    for (member, part) in [
        (r#""pattern":"yes""#, "'pattern' must be true or false"),
        (r#""since":17"#, "'since' must be a position"),
        (r#""last":1"#, "'last' must be true or false"),
        (r#""ack":[]"#, "'ack' must be true or false"),
    ] {
        let text = format!(r#"{{"action":"subscribe","event":"door",{member}}}"#);
        let Ask::Wrong { event, why } = asked(&text) else { panic!("{text} was taken") };
        assert!(event == "door" && why.contains(part), "{why}");
        let publish = format!(r#"{{"event":"door",{member}}}"#);
        let publish = parse_publish(publish.as_bytes()).expect("what a publisher adds is ignored");
        assert_eq!(publish.wants_ack().is_err(), part.contains("'ack'"));
    }
}

#[test]
fn answers_name_the_event_and_the_position() {
    let position = Position { epoch: Epoch(1), offset: 7 };
    let mut out = Vec::new();
    subscribed(&mut out, "door", &Resumed { position, recovered: Some(false), missed: 0 });
    let expected =
        r#"{"action":"subscribed","event":"door","epoch":"0000000000000001","offset":7,"recovered":false,"missed":0}"#;
    assert_eq!(String::from_utf8_lossy(&out), expected);
    out.clear();
    let publish = parse_publish(br#"{"event":"door","ack":true,"id":{"n":1}}"#).expect("valid");
    assert_eq!(publish.wants_ack(), Ok(true));
    ack(&mut out, &publish.event, "durable", position, publish.id.map(|id| id.get()));
    let expected =
        r#"{"action":"ack","event":"door","status":"durable","epoch":"0000000000000001","offset":7,"id":{"n":1}}"#;
    assert_eq!(String::from_utf8_lossy(&out), expected);
}

#[test]
fn what_is_wrong_is_said() {
    for (text, part) in [
        ("", "EOF"),
        ("[]", "expected a JSON object"),
        ("17", "expected a JSON object"),
        (r#"{"action":1}"#, "'action' must be a string"),
        (r#"{"event":{}}"#, "'event' must be a string"),
        (r#"{"event":"x","data":1}"#, "'data' must be a string"),
        (r#"{"event":"x","created_at":"now"}"#, "'created_at' must be an RFC 3339 timestamp"),
    ] {
        let error = parse_publish(text.as_bytes()).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_publish_keeps_what_the_client_wrote() {
    let publish = parse_publish(
        br#"{"event":"door","data":"open","action":"ring","created_at":"2026-03-02T08:15:30+01:00"} tail"#,
    );
    let publish = publish.expect("valid");
    assert_eq!((&*publish.event, &*publish.data), ("door", "open"));
    assert_eq!(publish.action.as_deref(), Some("ring"));
    assert_eq!(publish.created_at.as_deref(), Some("2026-03-02T08:15:30+01:00"));
    assert_eq!(parse_publish(br#"{"event":"door"}"#).expect("valid").data, "");
}

#[test]
fn messages_have_picloud_s_members_in_order() {
    let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1);
    let published = |action: Option<&str>, created_at: Option<&str>| {
        let body = Body::Published {
            event: "do\"or".into(),
            data: "é".into(),
            action: action.map(Into::into),
            created_at: created_at.map(Into::into),
        };
        let mut out = Vec::new();
        event(&mut out, &Event { at, body });
        String::from_utf8(out).expect("UTF-8")
    };
    assert_eq!(
        published(None, None),
        r#"{"action":"publish","event":"do\"or","data":"é","created_at":"1970-01-01T00:00:00.000000001Z"}"#
    );
    assert_eq!(
        published(Some("ring"), Some("2026-03-02T08:15:30Z")),
        r#"{"action":"ring","event":"do\"or","data":"é","created_at":"2026-03-02T08:15:30Z"}"#
    );
    let pin = Pin::new(17).expect("a pin");
    let body = Body::GpioState { resource: "led".into(), pin, level: Level::High, pwm_duty: None, edges: None };
    let mut out = Vec::new();
    event(&mut out, &Event { at, body });
    assert_eq!(
        String::from_utf8(out).expect("UTF-8"),
        r#"{"action":"publish","event":"gpio.state.changed","data":"{\"resource\":\"led\",\"pin\":17,\"state\":\"high\"}","created_at":"1970-01-01T00:00:00.000000001Z"}"#
    );
}

#[test]
fn info_lists_events_with_their_clients() {
    let events = ["door".to_owned(), "alarm".to_owned()];
    let at = SystemTime::UNIX_EPOCH;
    let client = |name, address: &str, subscriptions| {
        let address = address.parse().expect("an address");
        Present { name, address, since: at, dialect: Dialect::Picloud, subscriptions, backlog: 0, lagged: 0 }
    };
    let mut clients =
        [client("panel", "10.0.0.7:5132", &events[..]), client("idle", "10.0.0.8:1", &[]), client("", "[::1]:2", &[])];
    clients[2].dialect = Dialect::Endrpi;
    let mut out = Vec::new();
    info(&mut out, &clients, at);
    let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(value["subscriptions"][0]["name"], "alarm");
    assert_eq!(value["subscriptions"][1]["connections"][0]["client_name"], "panel");
    assert_eq!(value["all_connections"][1]["ip_address"], "10.0.0.8:1");
    assert_eq!(value["all_connections"].as_array().map(Vec::len), Some(2), "PiCloud's own only");
    assert_eq!(value["clients"][2]["dialect"], "endrpi");
    assert_eq!(value["clients"][0]["subscriptions"][0], "door");
    out.clear();
    info(&mut out, &[], at);
    assert!(out.starts_with(br#"{"subscriptions":[],"all_connections":[],"created_at":"#));
}
