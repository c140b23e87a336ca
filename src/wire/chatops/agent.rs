//! What an agent says, in either form: how it begins in `opening`, what comes of orders in `outcome`.
//!
//! Beyond ChatOps, agents of this program number their records, hand over events of their device and answer requests in
//! Endrpi's form. Every agent may.

mod opening;
mod outcome;

use std::time::SystemTime;

use super::read::{Fault, Read, fields, utf8};
use super::write::Object;
use super::{limit, metrics};
use crate::types::fleet::{ClockState, LogLevel, LogLine, LogSource, Outcome, Protocol, Sample, Stamp};
use crate::types::topic::MAX_TOPIC_BYTES;
pub use opening::{Auth, Hello, NONCE_BYTES, Opening, auth_reason, first};
use outcome::outcome;

/// A message after the authentication.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Which form of the protocol it shows, where the forms differ.
    pub shows: Option<Protocol>,
    /// A record's number, where it has one.
    pub stamp: Option<Stamp>,
    pub said: Said,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// To be acknowledged at once: an agent that waits in vain reconnects.
    Metrics(Box<Sample>),
    Log(LogLine),
    /// Something that happened on its device.
    Event {
        topic: Box<str>,
        /// The agent's clock; what makes no sense there is missing.
        at: Option<SystemTime>,
        /// A JSON object.
        data: Box<str>,
    },
    /// The answer to an order; without an id to none in particular, which is nobody's.
    Outcome {
        id: Option<String>,
        outcome: Outcome,
    },
    /// A piece of a running command's output.
    Output {
        id: String,
        /// Bytes before it.
        offset: u64,
        chunk: String,
    },
    /// The device's answer to a request in Endrpi's form: a JSON object.
    Response {
        id: String,
        json: Box<str>,
    },
    Ping,
    /// A type nobody knows, or another authentication: ignored without an answer, as ChatOps does.
    Ignored,
}

/// Reads a message after the authentication.
///
/// # Errors
/// What is wrong with it, for [`super::server::invalid`]; the socket stays.
pub fn parse(message: &[u8]) -> Read<Message> {
    let text = utf8(message)?;
    let names = ["type", "data", "request_id", "command_id"];
    let [kind, data, request_id, command_id] = fields(text, names)?;
    let id = || -> Read<Option<String>> {
        let id = request_id.text(limit::NAME_BYTES)?.filter(|id| !id.is_empty());
        Ok(id.or(command_id.text(limit::NAME_BYTES)?.filter(|id| !id.is_empty())))
    };
    let known_id = || command_id.required(id()?);
    let (shows, said) = match &*kind.required(kind.any_text()?)? {
        "metrics" if data.is_present() => {
            (Some(Protocol::Code), Said::Metrics(Box::new(data.required(data.object(metrics::sample)?)?)))
        }
        "metrics" => (Some(Protocol::Documented), Said::Metrics(Box::new(flat(text)?))),
        "log" => (None, Said::Log(data.required(data.object(log_line)?)?)),
        "event" => (None, event(text)?),
        "command_output" => (None, output(known_id()?, text)?),
        "action_result" => (None, response(known_id()?, text)?),
        "ping" => (None, Said::Ping),
        "auth" | "hello" => (None, Said::Ignored),
        kind => match outcome(kind, text, data)? {
            Some((shows, outcome)) => (shows, Said::Outcome { id: id()?, outcome }),
            // Whatever has an id is an answer: better a wrong one than a timeout.
            None => match id()? {
                Some(id) => (None, Said::Outcome { id: Some(id), outcome: Outcome::Unexpected }),
                None => (None, Said::Ignored),
            },
        },
    };
    let stamp = match said {
        Said::Metrics(_) | Said::Log(_) | Said::Event { .. } => stamp(text)?,
        _ => None,
    };
    Ok(Message { shows, stamp, said })
}

/// Whether a message that made no sense was to be a sample.
pub fn is_metrics(message: &[u8]) -> bool {
    let kind = utf8(message).and_then(|text| fields(text, ["type"]));
    kind.and_then(|[kind]| kind.any_text()).is_ok_and(|kind| kind.as_deref() == Some("metrics"))
}

/// The number beside a record. A stream without a number, or the other way round, is a mistake.
fn stamp(text: &str) -> Read<Option<Stamp>> {
    let names = ["stream", "seq", "boot_id", "monotonic_ns", "clock"];
    let [stream, seq, boot_id, monotonic_ns, clock] = fields(text, names)?;
    let (name, number) = (stream.text(limit::NAME_BYTES)?, seq.whole(1, i64::MAX)?);
    if name.is_none() && number.is_none() {
        return Ok(None);
    }
    let name = stream.required(name.filter(|name| !name.is_empty()))?;
    Ok(Some(Stamp {
        stream: name.into(),
        seq: seq.required(number)?.unsigned_abs(),
        boot_id: boot_id.text(limit::NAME_BYTES)?.map(Into::into),
        monotonic_ns: monotonic_ns.count()?,
        clock: clock.word(ClockState::WORDS, ClockState::from_word)?,
    }))
}

fn event(text: &str) -> Read<Said> {
    let [event] = fields(text, ["event"])?;
    let read = |text| {
        let [topic, timestamp, data] = fields(text, ["type", "timestamp", "data"])?;
        let name = topic.required(topic.text(MAX_TOPIC_BYTES / 2)?.filter(|topic| !topic.is_empty()))?;
        if name.chars().any(|c| c.is_control() || c == '*') {
            return Err(topic.fault("must be a topic such as gpio.state.changed"));
        }
        // An object for a device's own events, and a string for what its clients published.
        let data = data.raw().unwrap_or("{}").to_owned();
        Ok(Said::Event { topic: name.into(), at: timestamp.time(), data: data.into() })
    };
    event.required(event.object(read)?)
}

fn output(id: String, text: &str) -> Read<Said> {
    let [offset, chunk] = fields(text, ["offset", "chunk"])?;
    let chunk = chunk.required(chunk.cut(limit::OUTPUT_BYTES)?)?.0;
    Ok(Said::Output { id, offset: offset.count()?.unwrap_or_default(), chunk })
}

fn response(id: String, text: &str) -> Read<Said> {
    let [response] = fields(text, ["response"])?;
    let json = response.required(response.object(|text| Ok(Box::from(text)))?)?;
    Ok(Said::Response { id, json })
}

/// A flat message without a single member that is known is a mistake, and would be stored as nothing.
fn flat(text: &str) -> Read<Sample> {
    let sample = metrics::sample(text)?;
    let nothing = Sample { at: sample.at, ..Sample::default() };
    if sample == nothing {
        return Err(Fault::new("", "has neither 'data' nor 'cpu_percent' or any other metric"));
    }
    Ok(sample)
}

fn log_line(text: &str) -> Read<LogLine> {
    let [level, message, timestamp, source, component] =
        fields(text, ["level", "message", "timestamp", "source", "component"])?;
    let line = message.required(message.cut(limit::LOG_BYTES)?)?;
    Ok(LogLine {
        level: level.word(LogLevel::WORDS, LogLevel::lenient)?.unwrap_or(LogLevel::Info),
        message: line.0,
        at: timestamp.time(),
        source: source.word(LogSource::WORDS, |word| LogSource::from_word(&word.to_ascii_lowercase()))?,
        component: component.text(limit::LINE_BYTES)?,
    })
}

/// The topic, on its device, of the event that tells of a piece of a running command's output.
pub const OUTPUT_TOPIC: &str = "command.output";

/// The `data` of the event that tells of a piece of a running command's output.
pub fn output_event(id: &str, offset: u64, chunk: &str) -> Box<str> {
    let mut out = Vec::new();
    Object::open(&mut out).text("command_id", id).shown("offset", offset).text("chunk", chunk).close();
    String::from_utf8(out).unwrap_or_default().into()
}

#[cfg(test)]
mod tests;
