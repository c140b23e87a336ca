//! Pi-Controller's `/ws`: the documented events, and the frames its code speaks on the same socket.
//!
//! Documented: `{"type","timestamp","data"}` plus the resource's or node's id at the top level, as in the
//! document's examples; the same id stands in `data` too, as in its table. Code: `{"type","payload",
//! "timestamp","request_id"?}`, both ways. Timestamps are UTC.

use std::borrow::Cow;
use std::io::Write;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::picloud::string;
use super::time;
use crate::types::event::{Body, Event};
use crate::types::line::Level;

/// Ids in the code dialect are numbers. A daemon by itself is node 1 of its own.
const NODE_NUMBER: u32 = 1;

/// Appends an event in the documented envelope.
pub fn event(out: &mut Vec<u8>, event: &Event) {
    out.extend_from_slice(b"{\"type\":");
    string(out, event.topic());
    out.extend_from_slice(b",\"timestamp\":\"");
    time::write_millis(out, event.at);
    out.push(b'"');
    match &event.body {
        Body::GpioState { resource, .. } => {
            out.extend_from_slice(b",\"resource\":");
            string(out, resource);
        }
        Body::NodeStatus { node_id, .. } => {
            out.extend_from_slice(b",\"node_id\":");
            string(out, node_id);
        }
        Body::GpioLine { resource, .. } => {
            out.extend_from_slice(b",\"resource\":");
            string(out, resource);
        }
        Body::GpioLease { .. } | Body::Log { .. } | Body::Published { .. } => {}
    }
    out.extend_from_slice(b",\"data\":");
    data(out, event);
    out.push(b'}');
}

/// Appends an event's `data` member alone: an object for the daemon's own events, a string for clients'.
pub fn data(out: &mut Vec<u8>, event: &Event) {
    data_with(out, event, string);
}

/// The same for a dialect that writes its strings in its own way.
pub fn data_with(out: &mut Vec<u8>, event: &Event, string: fn(&mut Vec<u8>, &str)) {
    match &event.body {
        Body::GpioState { resource, pin, level, pwm_duty, .. } => {
            out.extend_from_slice(b"{\"resource\":");
            string(out, resource);
            let _ = write!(out, ",\"pin\":{},\"state\":\"{}\"", pin.number(), level.as_str());
            if let Some(percent) = pwm_duty {
                let _ = write!(out, ",\"pwm_duty\":{percent}");
            }
            out.push(b'}');
        }
        Body::GpioLine { .. } | Body::GpioLease { .. } => out.extend_from_slice(b"{}"),
        Body::NodeStatus { node_id, status } => {
            out.extend_from_slice(b"{\"node_id\":");
            string(out, node_id);
            let _ = write!(out, ",\"status\":\"{}\"}}", status.as_str());
        }
        Body::Log { level, target, message } => {
            out.extend_from_slice(b"{\"level\":");
            string(out, level_name(*level));
            out.extend_from_slice(b",\"message\":");
            string(out, message);
            out.extend_from_slice(b",\"target\":");
            string(out, target);
            out.push(b'}');
        }
        Body::Published { data, .. } => string(out, data),
    }
}

/// Appends the push of Pi-Controller's code for an event: `gpio_reading` or `node_status`.
pub fn push(out: &mut Vec<u8>, event: &Event) {
    let mut stamp = Vec::new();
    time::write_nanos(&mut stamp, event.at);
    let stamp = String::from_utf8(stamp).unwrap_or_default();
    match &event.body {
        Body::GpioState { pin, level, .. } => {
            let value = if *level == Level::High { "1.0" } else { "0.0" };
            let number = pin.number();
            let _ = write!(
                out,
                "{{\"type\":\"gpio_reading\",\"payload\":{{\"device_id\":{number},\"node_id\":{NODE_NUMBER},\
                 \"pin\":{number},\"value\":{value},\"timestamp\":\"{stamp}\"}},\"timestamp\":\"{stamp}\"}}"
            );
        }
        Body::NodeStatus { node_id, status } => {
            let _ = write!(out, "{{\"type\":\"node_status\",\"payload\":{{\"node_id\":{NODE_NUMBER},\"name\":");
            string(out, node_id);
            let _ = write!(
                out,
                ",\"status\":\"{}\",\"ip_address\":\"\",\"timestamp\":\"{stamp}\"}},\"timestamp\":\"{stamp}\"}}",
                status.as_str()
            );
        }
        // No topic of the code dialect selects these.
        Body::GpioLine { .. } | Body::GpioLease { .. } | Body::Log { .. } | Body::Published { .. } => {
            out.extend_from_slice(b"{}");
        }
    }
}

/// Appends the welcome, or the answer to `ping`. The empty `data` makes it fit the documented envelope too.
pub fn pong(out: &mut Vec<u8>, request_id: Option<&str>, now: SystemTime) {
    out.extend_from_slice(b"{\"type\":\"pong\",\"timestamp\":\"");
    time::write_nanos(out, now);
    out.extend_from_slice(b"\",\"data\":{}");
    if let Some(id) = request_id {
        out.extend_from_slice(b",\"request_id\":");
        string(out, id);
    }
    out.push(b'}');
}

/// Appends an error frame of the code dialect.
pub fn error(out: &mut Vec<u8>, message: &str, now: SystemTime) {
    out.extend_from_slice(b"{\"type\":\"error\",\"payload\":{\"code\":400,\"message\":");
    string(out, message);
    out.extend_from_slice(b"},\"timestamp\":\"");
    time::write_nanos(out, now);
    out.extend_from_slice(b"\",\"data\":{}}");
}

/// Appends a `system_metrics` push: percentages, and the number of threads where Go would count goroutines.
pub fn system_metrics(out: &mut Vec<u8>, cpu_percent: f64, memory_percent: f64, threads: u32, now: SystemTime) {
    let mut stamp = Vec::new();
    time::write_nanos(&mut stamp, now);
    let stamp = String::from_utf8(stamp).unwrap_or_default();
    let _ = write!(
        out,
        "{{\"type\":\"system_metrics\",\"payload\":{{\"cpu_usage\":{cpu_percent:.1},\"memory_usage\":{memory_percent:.1},\
         \"goroutines\":{threads},\"timestamp\":\"{stamp}\"}},\"timestamp\":\"{stamp}\"}}"
    );
}

/// What a client says on `/ws`.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    Ping { request_id: Option<Cow<'a, str>> },
    Subscribe { topic: String },
    Unsubscribe { topic: String },
    Auth { key: String },
}

/// Reads a frame.
///
/// # Errors
/// The message of the error frame, in the words of Pi-Controller's code.
pub fn parse(text: &[u8]) -> Result<Ask<'_>, &'static str> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(rename = "type", borrow, default)]
        kind: Cow<'a, str>,
        #[serde(borrow, default)]
        payload: Option<&'a RawValue>,
        #[serde(borrow, default)]
        timestamp: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        request_id: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        token: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        api_key: Option<Cow<'a, str>>,
    }
    #[derive(Deserialize)]
    struct Topic {
        #[serde(default)]
        topic: String,
    }
    let message: Envelope = serde_json::from_slice(text).map_err(|_| "Invalid message format")?;
    // A derived struct also reads arrays; the protocol knows objects only.
    let object = |text: &[u8]| text.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
    if !object(text) || message.timestamp.is_some_and(|stamp| !time::is_rfc3339(&stamp)) {
        return Err("Invalid message format");
    }
    let topic = |wrong: &'static str| {
        let payload = message.payload.map(|raw| raw.get()).filter(|raw| object(raw.as_bytes())).ok_or(wrong)?;
        serde_json::from_str::<Topic>(payload).map(|payload| payload.topic).map_err(|_| wrong)
    };
    match &*message.kind {
        "ping" => Ok(Ask::Ping { request_id: message.request_id }),
        "subscribe" => Ok(Ask::Subscribe { topic: topic("Invalid subscribe message")? }),
        "unsubscribe" => Ok(Ask::Unsubscribe { topic: topic("Invalid unsubscribe message")? }),
        "auth" => match message.api_key.or(message.token) {
            Some(key) => Ok(Ask::Auth { key: key.into_owned() }),
            None => Err("Invalid auth message: give 'api_key' or 'token'"),
        },
        _ => Err("Unknown message type"),
    }
}

/// The documented example writes levels in lower case.
fn level_name(level: log::Level) -> &'static str {
    match level {
        log::Level::Error => "error",
        log::Level::Warn => "warn",
        log::Level::Info => "info",
        log::Level::Debug => "debug",
        log::Level::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::event::NodeStatus;
    use crate::types::line::Pin;

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
        Event {
            at: AT,
            body: Body::GpioState { resource: "led-1".into(), pin, level: Level::High, pwm_duty, edges: None },
        }
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
        assert_eq!(ok(r#"{"type":"subscribe","payload":{"topic":"gpio"}}"#), Ask::Subscribe { topic: "gpio".into() });
        assert_eq!(ok(r#"{"type":"subscribe","payload":{}}"#), Ask::Subscribe { topic: String::new() });
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
            (r#"{"type":"unsubscribe","payload":null}"#, "Invalid unsubscribe message"),
            (r#"{"type":"pong"}"#, "Unknown message type"),
            ("{}", "Unknown message type"),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(error), "{text}");
        }
    }
}
