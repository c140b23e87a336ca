//! What an agent and a hub of this program say to each other beyond ChatOps. Others ignore these messages and members.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::read::{Field, Read, fields, utf8};
use super::super::write::Object;
use super::super::{limit, metrics};
use super::{Told, log_data, one_id};
use crate::types::fleet::{AgentInfo, ClockState, Issuer, NodeFacts, Protocol, Record};
use crate::wire::time;

/// The most bytes of a proof; HMAC-SHA256 has 32.
const PROOF_BYTES: usize = 64;

/// Appends the question whether the hub knows this key, before the key is shown.
pub fn hello(out: &mut Vec<u8>, key_id: &str, nonce: &[u8]) {
    Object::typed(out, "hello").text("key_id", key_id).text("nonce", &URL_SAFE_NO_PAD.encode(nonce)).close();
}

/// Appends the first message with what a hub of this program wants to know of the device.
pub fn auth_with(out: &mut Vec<u8>, api_key: &str, protocol: Protocol, agent: &AgentInfo) {
    let object = Object::typed(out, "auth").text("api_key", api_key).text("protocol", protocol.as_str());
    object.object("agent", |object| info(object, agent)).close();
}

fn info<'o>(object: Object<'o>, agent: &AgentInfo) -> Object<'o> {
    let object = object.text_if("name", agent.name.as_deref()).text_if("version", agent.version.as_deref());
    let object = object.text_if("boot_id", agent.boot_id.as_deref()).shown_if("monotonic_ns", agent.monotonic_ns);
    let object = object.text_if("cluster", agent.cluster.as_deref());
    let object = object.list("streams", &agent.streams, |out, stream| super::string(out, stream));
    match &agent.node {
        Some(node) => object.object("node", |object| facts(object, node)),
        None => object,
    }
}

fn facts<'o>(object: Object<'o>, node: &NodeFacts) -> Object<'o> {
    object
        .text_if("ip_address", node.ip_address.as_deref())
        .text_if("mac_address", node.mac_address.as_deref())
        .text_if("model", node.model.as_deref())
        .text_if("architecture", node.architecture.as_deref())
        .text_if("serial_number", node.serial_number.as_deref())
        .shown_if("cpu_cores", node.cpu_cores)
        .shown_if("memory", node.memory)
        .text_if("os_version", node.os_version.as_deref())
        .text_if("kernel_version", node.kernel_version.as_deref())
}

/// A record as it is kept until it is sent: a message that lacks its end, and may yet get another time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    pub text: Vec<u8>,
    /// Where its timestamp's text begins in `text`; it ends at the next quote.
    pub stamp_at: usize,
}

/// Writes a record that happened at `at`.
pub fn pack(record: &Record, at: SystemTime) -> Packed {
    let mut text = Vec::new();
    let out = &mut text;
    match record {
        Record::Sample(sample) => {
            let sample = crate::types::fleet::Sample { at: Some(at), ..(**sample).clone() };
            let data = |out: &mut Vec<u8>| metrics::nested(out, None, &sample, metrics::Absent::Null);
            Object::typed(out, "metrics").with("data", data).close();
        }
        Record::Log(line) => {
            let line = crate::types::fleet::LogLine { at: Some(at), ..line.clone() };
            Object::typed(out, "log").with("data", |out| log_data(out, &line)).close();
        }
        Record::Event(event) => {
            let inner = |out: &mut Vec<u8>| {
                let object = Object::open(out).text("type", &event.topic).time("timestamp", at);
                object.raw("data", &event.data).close();
            };
            Object::typed(out, "event").with("event", inner).close();
        }
    }
    // The closing brace goes behind the numbers.
    text.pop();
    // Nothing before the record's own timestamp has such a member, and within texts quotes are escaped.
    const MEMBER: &[u8] = b"\"timestamp\":\"";
    let found = text.windows(MEMBER.len()).position(|window| window == MEMBER);
    let stamp_at = found.map_or(text.len(), |at| at + MEMBER.len());
    Packed { text, stamp_at }
}

/// The numbers beside a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    pub stream: &'a str,
    pub seq: u64,
    pub boot_id: Option<&'a str>,
    pub monotonic_ns: u64,
    pub clock: ClockState,
}

/// Appends a record with its numbers, and with another time where its own has turned out to be wrong.
pub fn numbered(out: &mut Vec<u8>, packed: &Packed, corrected: Option<SystemTime>, signature: &Signature<'_>) {
    let (head, rest) = packed.text.split_at(packed.stamp_at.min(packed.text.len()));
    out.extend_from_slice(head);
    match (corrected, rest.iter().position(|byte| *byte == b'"')) {
        (Some(at), Some(end)) => {
            time::write_micros(out, at);
            out.extend_from_slice(&rest[end..]);
        }
        _ => out.extend_from_slice(rest),
    }
    let object = Object::more(out).text("stream", signature.stream).shown("seq", signature.seq);
    let object = object.text_if("boot_id", signature.boot_id).shown("monotonic_ns", signature.monotonic_ns);
    object.text("clock", signature.clock.as_str()).close();
}

/// Appends a piece of a running command's output.
pub fn command_output(out: &mut Vec<u8>, id: &str, offset: u64, chunk: &str) {
    Object::typed(out, "command_output").text("command_id", id).shown("offset", offset).text("chunk", chunk).close();
}

/// Appends what the device's dispatcher answered; `response` is JSON.
pub fn action_result(out: &mut Vec<u8>, id: &str, response: &str) {
    Object::typed(out, "action_result").text("command_id", id).raw("response", response).close();
}

pub(super) fn proof(text: &str) -> Read<Told> {
    let [proof] = fields(text, ["proof"])?;
    let text = proof.required(proof.text(PROOF_BYTES * 2)?)?;
    match URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')) {
        Ok(bytes) => Ok(Told::Proof { proof: bytes }),
        Err(_) => Err(proof.fault("must be Base64 (RFC 4648 §5)")),
    }
}

pub(super) fn stored(text: &str) -> Read<Told> {
    let [stream, seq] = fields(text, ["stream", "seq"])?;
    let stream = stream.required(stream.text(limit::NAME_BYTES)?)?;
    Ok(Told::Stored { stream, seq: seq.required(seq.count()?)? })
}

pub(super) fn action(text: &str) -> Read<Told> {
    let [request_id, command_id, request] = fields(text, ["request_id", "command_id", "request"])?;
    let request = request.required(request.object(|text| Ok(Box::from(text)))?)?;
    Ok(Told::Action { id: one_id(request_id, command_id)?, request })
}

/// What a hub's welcome says of the streams it knows: the last number it has for good.
pub fn positions(message: &[u8]) -> Vec<(String, u64)> {
    let read = || {
        let [streams] = fields(utf8(message).ok()?, ["streams"]).ok()?;
        let all =
            streams.object(|text| Ok(serde_json::from_str::<BTreeMap<Cow<'_, str>, u64>>(text).ok())).ok()???;
        Some(all.into_iter().map(|(stream, seq)| (stream.into_owned(), seq)).collect())
    };
    read().unwrap_or_default()
}

/// What comes with an order of a hub of this program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub issuer: Option<Issuer>,
    /// How long whoever asked waits for the outcome.
    pub timeout: Option<Duration>,
}

/// The longest timeout of an order: seconds.
const LONGEST_TIMEOUT: i64 = 86_400;

/// Reads who gives an order, and how long it may take; what is not said or makes no sense is missing.
pub fn terms(message: &[u8]) -> Terms {
    let read = || {
        let text = utf8(message).ok()?;
        let [issued_by, timeout, kind] = fields(text, ["issued_by", "timeout", "type"]).ok()?;
        // The `timeout` of a container's stop is how long the container has.
        let is_stop = kind.any_text().ok().flatten().is_some_and(|kind| kind != "command" && kind != "execute_command");
        let seconds = if is_stop { None } else { timeout.whole(1, LONGEST_TIMEOUT).ok().flatten() };
        let issuer = issued_by.object(issuer).ok().flatten();
        Some(Terms { issuer, timeout: seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs())) })
    };
    read().unwrap_or_default()
}

fn issuer(text: &str) -> Read<Issuer> {
    let [who, id, from] = fields(text, ["who", "id", "from"])?;
    let name = |field: Field<'_>| field.text(limit::NAME_BYTES);
    Ok(Issuer { who: who.required(name(who)?)?, id: name(id)?, from: name(from)?.unwrap_or_default() })
}

#[cfg(test)]
mod tests;
