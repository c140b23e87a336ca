//! The exact text of events, and what clients of `/ws` send.

use super::*;
use crate::types::event::LineChangeKind;
use crate::types::fleet::{ClusterState, ClusterStatus};
use crate::types::position::{Epoch, Position};

const AT: SystemTime = SystemTime::UNIX_EPOCH;

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    text
}

fn gpio(pwm_duty: Option<u8>) -> Event {
    let pin = Pin::new(18).expect("a pin");
    Event { at: AT, body: Body::GpioState { resource: "led-1".into(), pin, level: Level::High, pwm_duty, edges: None } }
}

#[test]
fn documented_events_carry_their_ids_in_both_places() {
    assert_eq!(
        text(|out| event(out, &gpio(Some(75)))),
        r#"{"type":"gpio.state.changed","timestamp":"1970-01-01T00:00:00.000Z","resource":"led-1","data":{"resource":"led-1","pin":18,"state":"high","pwm_duty":75}}"#
    );
    let status = Event { at: AT, body: Body::NodeStatus { node_id: "pi".into(), status: NodeStatus::Ready } };
    assert_eq!(
        text(|out| event(out, &status)),
        r#"{"type":"node.status.changed","timestamp":"1970-01-01T00:00:00.000Z","node_id":"pi","data":{"node_id":"pi","status":"ready"}}"#
    );
    let seen = Body::NodeDiscovered { node_id: "pi-new".into(), ip_address: [192, 168, 1, 110].into() };
    assert_eq!(
        text(|out| event(out, &Event { at: AT, body: seen })),
        r#"{"type":"node.discovered","timestamp":"1970-01-01T00:00:00.000Z","node_id":"pi-new","data":{"node_id":"pi-new","ip_address":"192.168.1.110"}}"#
    );
    let member = |added| Body::ClusterNode {
        added,
        cluster_id: "cluster-1".into(),
        node_id: "pi-worker-03".into(),
        ip_address: "192.168.1.103".into(),
        status: NodeStatus::Provisioning,
    };
    assert_eq!(
        text(|out| event(out, &Event { at: AT, body: member(true) })),
        r#"{"type":"cluster.node.added","timestamp":"1970-01-01T00:00:00.000Z","cluster_id":"cluster-1","data":{"cluster_id":"cluster-1","node_id":"pi-worker-03","ip_address":"192.168.1.103","status":"provisioning"}}"#
    );
    assert_eq!(
        text(|out| event(out, &Event { at: AT, body: member(false) })),
        r#"{"type":"cluster.node.removed","timestamp":"1970-01-01T00:00:00.000Z","cluster_id":"cluster-1","data":{"cluster_id":"cluster-1","node_id":"pi-worker-03"}}"#
    );
    let resource: Arc<str> = "relay".into();
    let pin = Pin::new(17).expect("a pin");
    let change =
        LineChange { kind: LineChangeKind::Released, consumer: None, direction: None, bias: None, active_low: true };
    let body = Body::GpioLine { resource: resource.clone(), pin, change };
    assert_eq!(
        text(|out| event(out, &Event { at: AT, body })),
        r#"{"type":"gpio.line.changed","timestamp":"1970-01-01T00:00:00.000Z","resource":"relay","data":{"resource":"relay","pin":17,"change":"released","consumer":null,"io":null,"pull":null,"active_low":true}}"#
    );
    let lines = vec![(resource, pin)];
    let body = Body::GpioLease { lease: "l1".into(), holder: "panel".into(), lines, reason: "holder gone" };
    assert_eq!(
        text(|out| event(out, &Event { at: AT, body })),
        r#"{"type":"gpio.lease.expired","timestamp":"1970-01-01T00:00:00.000Z","resource":"relay","data":{"lease":"l1","holder":"panel","resource":"relay","pins":[17],"resources":["relay"],"reason":"holder gone"}}"#
    );
    let body = Body::Log { level: log::Level::Error, target: "t".into(), message: "a \"b\"".into() };
    assert_eq!(
        text(|out| event(out, &Event { at: AT, body })),
        r#"{"type":"system.log.created","timestamp":"1970-01-01T00:00:00.000Z","data":{"level":"error","message":"a \"b\"","target":"t"}}"#
    );
}

#[test]
fn pushes_of_the_code_dialect_have_its_payloads() {
    let reading: serde_json::Value = serde_json::from_str(&text(|out| push(out, &gpio(None)))).expect("JSON");
    assert_eq!(reading["type"], "gpio_reading");
    assert_eq!(reading["payload"]["pin"], 18);
    assert_eq!(reading["payload"]["value"], 1.0);
    let status = Event { at: AT, body: Body::NodeStatus { node_id: "pi".into(), status: NodeStatus::Stopping } };
    let status: serde_json::Value = serde_json::from_str(&text(|out| push(out, &status))).expect("JSON");
    assert_eq!(status["payload"]["name"], "pi");
    assert_eq!(status["payload"]["status"], "stopping");
    let body = Body::FleetNode {
        number: 7,
        node_id: "pi-2".into(),
        ip_address: "10.0.0.2".into(),
        status: NodeStatus::Offline,
    };
    assert_eq!(
        text(|out| push(out, &Event { at: AT, body })),
        r#"{"type":"node_status","payload":{"node_id":7,"name":"pi-2","status":"offline","ip_address":"10.0.0.2","timestamp":"1970-01-01T00:00:00.000000000Z"},"timestamp":"1970-01-01T00:00:00.000000000Z"}"#
    );
    let status = ClusterStatus::Degraded;
    let body = Body::Cluster(ClusterState { id: 3, name: "lab".into(), status, nodes_ready: 1, nodes_total: 2 });
    assert_eq!(
        text(|out| push(out, &Event { at: AT, body })),
        r#"{"type":"cluster_status","payload":{"cluster_id":3,"name":"lab","status":"degraded","nodes_ready":1,"nodes_total":2,"timestamp":"1970-01-01T00:00:00.000000000Z"},"timestamp":"1970-01-01T00:00:00.000000000Z"}"#
    );
    let metrics = text(|out| system_metrics(out, 12.34, 50.0, 9, AT));
    assert!(metrics.contains(r#""cpu_usage":12.3,"memory_usage":50.0,"goroutines":9"#), "{metrics}");
}

#[test]
fn frames_are_read_with_the_code_s_error_texts() {
    let ok = |text: &'static str| parse(text.as_bytes()).expect(text);
    assert_eq!(ok(r#"{"type":"ping","request_id":"r1"}"#), Ask::Ping { request_id: Some("r1".into()) });
    assert_eq!(
        ok(r#"{"type":"ping","payload":null,"timestamp":"2026-03-02T08:15:30+01:00"}"#),
        Ask::Ping { request_id: None }
    );
    let subscribe = |topic: &str| Ask::Subscribe { topic: topic.into(), wants: Wants::default(), request_id: None };
    assert_eq!(ok(r#"{"type":"subscribe","payload":{"topic":"gpio"}}"#), subscribe("gpio"));
    assert_eq!(ok(r#"{"type":"subscribe","payload":{}}"#), subscribe(""));
    let text = r#"{"type":"subscribe","request_id":"r","payload":{"topic":"gpio.**","since":"0000000000000001:2","last":true}}"#;
    let since = Some(Position { epoch: Epoch(1), offset: 2 });
    let wants = Wants { since, last: true, position: false };
    assert_eq!(ok(text), Ask::Subscribe { topic: "gpio.**".into(), wants, request_id: Some("r".into()) });
    assert_eq!(ok(r#"{"type":"unsubscribe","payload":{"topic":""}}"#), Ask::Unsubscribe { topic: String::new() });
    assert_eq!(ok(r#"{"type":"auth","token":"k"}"#), Ask::Auth { key: "k".into() });
    for (text, error) in [
        ("", "Invalid message format"),
        ("[]", "Invalid message format"),
        (r#"["ping"]"#, "Invalid message format"),
        ("null", "Invalid message format"),
        (r#"{"type":1}"#, "Invalid message format"),
        (r#"{"type":"ping","timestamp":"now"}"#, "Invalid message format"),
        (r#"{"type":"ping","timestamp":5}"#, "Invalid message format"),
        (r#"{"type":"subscribe"}"#, "Invalid subscribe message"),
        (r#"{"type":"subscribe","payload":"gpio"}"#, "Invalid subscribe message"),
        (r#"{"type":"subscribe","payload":["gpio"]}"#, "Invalid subscribe message"),
        (
            r#"{"type":"subscribe","payload":{"topic":"gpio","last":1}}"#,
            "Invalid subscribe message: 'last' must be true or false",
        ),
        (r#"{"type":"unsubscribe","payload":null}"#, "Invalid unsubscribe message"),
        (r#"{"type":"pong"}"#, "Unknown message type"),
        ("{}", "Unknown message type"),
    ] {
        assert_eq!(parse(text.as_bytes()), Err(error.into()), "{text}");
    }
}

#[test]
fn positions_stand_behind_the_members_of_every_form() {
    use crate::types::event::Dialect;
    let position = Position { epoch: Epoch(0xc0ffee), offset: 42 };
    let pin = Pin::new(17).expect("a pin");
    let body = Body::GpioState { resource: "led".into(), pin, level: Level::High, pwm_duty: None, edges: None };
    let event = Event { at: AT, body };
    for dialect in [Dialect::Picloud, Dialect::Events, Dialect::Code, Dialect::Endrpi] {
        let written = |position| {
            let mut out = Vec::new();
            crate::wire::encode(dialect, &event, position, &mut out);
            let text = String::from_utf8_lossy(&out);
            text[text.find('{').expect("an object")..].to_owned()
        };
        let (plain, placed) = (written(None), written(Some(position)));
        let members = r#","epoch":"0000000000c0ffee","offset":42}"#;
        assert_eq!(placed, format!("{}{members}", &plain[..plain.len() - 1]), "{dialect:?}");
    }
}

#[test]
fn answers_and_losses_have_the_envelopes_of_their_side() {
    let position = Position { epoch: Epoch(0xc0ffee), offset: 42 };
    let resumed = Resumed { position, recovered: Some(true), missed: 3 };
    assert_eq!(
        text(|out| subscribed(out, "gpio.**", &resumed, Some("r"), AT)),
        r#"{"type":"subscribed","payload":{"topic":"gpio.**","epoch":"0000000000c0ffee","offset":42,"recovered":true,"missed":3},"timestamp":"1970-01-01T00:00:00.000000000Z","data":{},"request_id":"r"}"#
    );
    let lost = Lagged { epoch: Epoch(0xc0ffee), count: 2, first: 40, last: 45 };
    assert_eq!(
        text(|out| lagged(out, &lost, AT)),
        r#"{"type":"lagged","timestamp":"1970-01-01T00:00:00.000Z","data":{"count":2,"first":40,"last":45,"epoch":"0000000000c0ffee"}}"#
    );
}

#[test]
fn who_came_and_went_is_an_event_of_its_own() {
    use crate::types::event::Dialect;
    let address = "10.0.0.7:5132".parse().expect("an address");
    let body = Body::Presence { joined: true, name: "panel".into(), address, dialect: Dialect::Picloud, since: AT };
    assert_eq!(
        text(|out| super::event(out, &Event { at: AT, body })),
        r#"{"type":"presence.joined","timestamp":"1970-01-01T00:00:00.000Z","data":{"name":"panel","address":"10.0.0.7:5132","dialect":"picloud","since":"1970-01-01T00:00:00.000Z"}}"#
    );
}
