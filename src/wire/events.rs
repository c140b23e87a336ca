//! Pi-Controller's `/ws`: the documented events, and the frames its code speaks on the same socket.
//!
//! Documented: `{"type","timestamp","data"}` plus the resource's or node's id at the top level, as in the
//! document's examples; the same id stands in `data` too, as in its table. Code: `{"type","payload",
//! "timestamp","request_id"?}`, both ways. Timestamps are UTC.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::chatops::write::list;
use super::picloud::string;
use super::wants::Asked;
use super::{time, wants};
use crate::types::event::{Body, Edges, Event, LineChange, NodeStatus};
use crate::types::line::{Level, Pin};
use crate::types::position::Lagged;
use crate::types::wants::{Resumed, Wants};

/// Ids in the code dialect are numbers. This device is node 1 of its own table of nodes.
const NODE_NUMBER: u32 = 1;

/// Appends an event in the documented envelope.
pub fn event(out: &mut Vec<u8>, event: &Event) {
    out.extend_from_slice(b"{\"type\":");
    string(out, event.topic());
    out.extend_from_slice(b",\"timestamp\":\"");
    time::write_millis(out, event.at);
    out.push(b'"');
    match &event.body {
        Body::GpioState { resource, .. } | Body::GpioLine { resource, .. } => {
            out.extend_from_slice(b",\"resource\":");
            string(out, resource);
        }
        Body::GpioLease { lines, .. } => {
            out.extend_from_slice(b",\"resource\":");
            string(out, first_resource(lines));
        }
        Body::NodeStatus { node_id, .. } | Body::FleetNode { node_id, .. } | Body::NodeDiscovered { node_id, .. } => {
            out.extend_from_slice(b",\"node_id\":");
            string(out, node_id);
        }
        Body::ClusterNode { cluster_id, .. } => {
            out.extend_from_slice(b",\"cluster_id\":");
            string(out, cluster_id);
        }
        Body::Cluster(state) => {
            out.extend_from_slice(b",\"cluster_id\":");
            string(out, &state.name);
        }
        Body::Alert { alert, .. } => {
            out.extend_from_slice(b",\"server_id\":");
            string(out, &alert.server_id);
        }
        Body::Device { server_id, .. } => {
            out.extend_from_slice(b",\"server_id\":");
            string(out, server_id);
        }
        Body::Log { .. } | Body::Published { .. } | Body::Page { .. } | Body::Presence { .. } => {}
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
        Body::GpioState { resource, pin, level, pwm_duty, edges } => {
            out.extend_from_slice(b"{\"resource\":");
            string(out, resource);
            let _ = write!(out, ",\"pin\":{},\"state\":\"{}\"", pin.number(), level.as_str());
            if let Some(percent) = pwm_duty {
                let _ = write!(out, ",\"pwm_duty\":{percent}");
            }
            if let Some(edges) = edges {
                write_edges(out, *level, edges);
            }
            out.push(b'}');
        }
        Body::GpioLine { resource, pin, change } => write_change(out, resource, *pin, change, string),
        Body::GpioLease { lease, holder, lines, reason } => {
            out.extend_from_slice(b"{\"lease\":");
            string(out, lease);
            out.extend_from_slice(b",\"holder\":");
            string(out, holder);
            out.extend_from_slice(b",\"resource\":");
            string(out, first_resource(lines));
            out.extend_from_slice(b",\"pins\":");
            list(out, lines, |out, (_, pin)| drop(write!(out, "{}", pin.number())));
            out.extend_from_slice(b",\"resources\":");
            list(out, lines, |out, (resource, _)| string(out, resource));
            out.extend_from_slice(b",\"reason\":");
            string(out, reason);
            out.push(b'}');
        }
        Body::NodeStatus { node_id, status } | Body::FleetNode { node_id, status, .. } => {
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
        Body::NodeDiscovered { node_id, ip_address } => {
            out.extend_from_slice(b"{\"node_id\":");
            string(out, node_id);
            let _ = write!(out, ",\"ip_address\":\"{ip_address}\"}}");
        }
        Body::ClusterNode { added, cluster_id, node_id, ip_address, status } => {
            out.extend_from_slice(b"{\"cluster_id\":");
            string(out, cluster_id);
            out.extend_from_slice(b",\"node_id\":");
            string(out, node_id);
            // What the document prints of either.
            if *added {
                out.extend_from_slice(b",\"ip_address\":");
                string(out, ip_address);
                let _ = write!(out, ",\"status\":\"{}\"", status.as_str());
            }
            out.push(b'}');
        }
        Body::Cluster(state) => {
            out.extend_from_slice(b"{\"cluster_id\":");
            string(out, &state.name);
            let (status, ready, total) = (state.status.as_str(), state.nodes_ready, state.nodes_total);
            let _ = write!(out, ",\"status\":\"{status}\",\"nodes_ready\":{ready},\"nodes_total\":{total}}}");
        }
        Body::Alert { server_name, alert, .. } => super::chatops::alert_event(out, server_name, alert),
        Body::Device { event, .. } => out.extend_from_slice(event.data.as_bytes()),
        Body::Page { .. } => out.extend_from_slice(b"{}"),
        Body::Published { data, .. } => string(out, data),
        Body::Presence { name, address, dialect, since, .. } => {
            super::presence::who(out, name, *address, *dialect, *since, string);
            out.push(b'}');
        }
    }
}

/// What the kernel said of the edges behind a change. In a summary `edge` is the last one's.
fn write_edges(out: &mut Vec<u8>, level: Level, edges: &Edges) {
    if edges.count > 0 {
        let edge = if level == Level::High { "rising" } else { "falling" };
        let _ = write!(out, ",\"edge\":\"{edge}\"");
    }
    let _ = write!(out, ",\"monotonic_ns\":{}", edges.monotonic_ns);
    if let Some((seqno, line_seqno)) = edges.seqno {
        let _ = write!(out, ",\"seqno\":{seqno},\"line_seqno\":{line_seqno}");
    }
    if edges.lost > 0 {
        let _ = write!(out, ",\"lost\":{}", edges.lost);
    }
    if let Some(period) = edges.period {
        let _ = write!(out, ",\"edges\":{},\"period_ms\":{}", edges.count, period.as_millis());
    }
}

fn write_change(out: &mut Vec<u8>, resource: &str, pin: Pin, change: &LineChange, string: fn(&mut Vec<u8>, &str)) {
    out.extend_from_slice(b"{\"resource\":");
    string(out, resource);
    let _ = write!(out, ",\"pin\":{},\"change\":\"{}\",\"consumer\":", pin.number(), change.kind.as_str());
    match &change.consumer {
        Some(consumer) => string(out, consumer),
        None => out.extend_from_slice(b"null"),
    }
    let (io, pull) = (super::io(change.direction), super::pull(change.bias));
    let _ = write!(out, ",\"io\":{io},\"pull\":{pull},\"active_low\":{}}}", change.active_low);
}

/// A lease has at least one line.
fn first_resource(lines: &[(Arc<str>, Pin)]) -> &str {
    lines.first().map_or("", |(resource, _)| resource)
}

/// Appends the push of Pi-Controller's code for an event: `gpio_reading`, `node_status` or `cluster_status`.
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
        Body::NodeStatus { node_id, status } => node_push(out, NODE_NUMBER, node_id, "", *status, &stamp),
        Body::FleetNode { number, node_id, ip_address, status } => {
            node_push(out, *number, node_id, ip_address, *status, &stamp);
        }
        Body::Cluster(state) => {
            let _ = write!(out, "{{\"type\":\"cluster_status\",\"payload\":{{\"cluster_id\":{},\"name\":", state.id);
            string(out, &state.name);
            let (status, ready, total) = (state.status.as_str(), state.nodes_ready, state.nodes_total);
            let _ = write!(
                out,
                ",\"status\":\"{status}\",\"nodes_ready\":{ready},\"nodes_total\":{total},\
                 \"timestamp\":\"{stamp}\"}},\"timestamp\":\"{stamp}\"}}"
            );
        }
        // No topic of the code dialect selects these.
        _ => {
            let _ = write!(out, "{{\"type\":\"\",\"timestamp\":\"{stamp}\"}}");
        }
    }
}

fn node_push(out: &mut Vec<u8>, number: u32, name: &str, ip_address: &str, status: NodeStatus, stamp: &str) {
    let _ = write!(out, "{{\"type\":\"node_status\",\"payload\":{{\"node_id\":{number},\"name\":");
    string(out, name);
    let _ = write!(out, ",\"status\":\"{}\",\"ip_address\":", status.as_str());
    string(out, ip_address);
    let _ = write!(out, ",\"timestamp\":\"{stamp}\"}},\"timestamp\":\"{stamp}\"}}");
}

/// Appends the welcome, or the answer to `ping`.
pub fn pong(out: &mut Vec<u8>, request_id: Option<&str>, now: SystemTime) {
    out.extend_from_slice(b"{\"type\":\"pong\",\"timestamp\":\"");
    end(out, request_id, now);
}

/// Appends the timestamp's value and what follows it in the code dialect's answers. The empty `data` makes them fit the
/// documented envelope too.
fn end(out: &mut Vec<u8>, request_id: Option<&str>, now: SystemTime) {
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
    end(out, None, now);
}

/// Appends what a subscription is answered that asks for more than its topic.
pub fn subscribed(out: &mut Vec<u8>, topic: &str, resumed: &Resumed, request_id: Option<&str>, now: SystemTime) {
    out.extend_from_slice(b"{\"type\":\"subscribed\",\"payload\":{\"topic\":");
    string(out, topic);
    out.push(b',');
    wants::resumed(out, resumed);
    out.extend_from_slice(b"},\"timestamp\":\"");
    end(out, request_id, now);
}

/// Appends which events were dropped for a client, in the documented envelope.
pub fn lagged(out: &mut Vec<u8>, lagged: &Lagged, now: SystemTime) {
    out.extend_from_slice(b"{\"type\":\"lagged\",\"timestamp\":\"");
    time::write_millis(out, now);
    out.extend_from_slice(b"\",\"data\":{");
    wants::lagged(out, lagged);
    out.extend_from_slice(b"}}");
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
    Subscribe { topic: String, wants: Wants, request_id: Option<Cow<'a, str>> },
    Unsubscribe { topic: String },
    Auth { key: String },
}

/// Reads a frame.
///
/// # Errors
/// The message of the error frame: in the words of Pi-Controller's code, except for what it does not have.
pub fn parse(text: &[u8]) -> Result<Ask<'_>, Cow<'static, str>> {
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
    struct Topic<'a> {
        #[serde(default)]
        topic: String,
        #[serde(borrow, default)]
        since: Option<&'a RawValue>,
        #[serde(borrow, default)]
        last: Option<&'a RawValue>,
        #[serde(borrow, default)]
        position: Option<&'a RawValue>,
    }
    let message: Envelope = serde_json::from_slice(text).map_err(|_| "Invalid message format")?;
    // A derived struct also reads arrays; the protocol knows objects only.
    let object = |text: &[u8]| text.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
    if !object(text) || message.timestamp.is_some_and(|stamp| !time::is_rfc3339(&stamp)) {
        return Err("Invalid message format".into());
    }
    let topic = |wrong: &'static str| {
        let payload = message.payload.map(|raw| raw.get()).filter(|raw| object(raw.as_bytes())).ok_or(wrong)?;
        serde_json::from_str::<Topic>(payload).map_err(|_| wrong)
    };
    match &*message.kind {
        "ping" => Ok(Ask::Ping { request_id: message.request_id }),
        "subscribe" => {
            let Topic { topic, since, last, position } = topic("Invalid subscribe message")?;
            let wants = Asked { since, last, position }.read();
            let wants = wants.map_err(|error| format!("Invalid subscribe message: {error}"))?;
            Ok(Ask::Subscribe { topic, wants, request_id: message.request_id })
        }
        "unsubscribe" => Ok(Ask::Unsubscribe { topic: topic("Invalid unsubscribe message")?.topic }),
        "auth" => match message.api_key.or(message.token) {
            Some(key) => Ok(Ask::Auth { key: key.into_owned() }),
            None => Err("Invalid auth message: give 'api_key' or 'token'".into()),
        },
        _ => Err("Unknown message type".into()),
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
mod tests;
