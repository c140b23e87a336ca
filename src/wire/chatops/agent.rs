//! What an agent says, in either form.

use super::read::{Fault, Field, Read, fields, head, text, utf8};
use super::{NoAuth, limit, metrics};
use crate::types::fleet::{ContainerAction, LogLevel, LogLine, LogSource, Outcome, Protocol, Sample, Secret};

/// What an agent authenticates itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub api_key: Secret,
    /// Which form of the protocol it wants to be spoken to.
    pub protocol: Option<Protocol>,
}

/// A message after the authentication.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Which form of the protocol it shows, where the forms differ.
    pub shows: Option<Protocol>,
    pub said: Said,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// To be acknowledged at once: an agent that waits in vain reconnects.
    Metrics(Box<Sample>),
    Log(LogLine),
    /// The answer to an order; without an id to none in particular, which is nobody's.
    Outcome {
        id: Option<String>,
        outcome: Outcome,
    },
    Ping,
    /// A type nobody knows, or another authentication: ignored without an answer, as ChatOps does.
    Ignored,
}

/// Texts of the Close frame (code 1008) of a socket that does not begin with an authentication.
const AUTH_REQUIRED: &str = "Authentication required: send {'type': 'auth', 'api_key': '...'} as first message";

/// The reason for the Close frame; the error frame before it says the same.
pub fn auth_reason(refusal: &NoAuth) -> String {
    refusal.reason(AUTH_REQUIRED)
}

/// Reads the first message.
///
/// # Errors
/// Why it is no authentication; [`auth_reason`] has the words.
pub fn first(message: &[u8]) -> Result<Auth, NoAuth> {
    let failed = |fault: Fault| NoAuth::Failed(fault.to_string());
    let text = utf8(message).map_err(failed)?;
    let [kind, api_key, protocol] = fields(text, ["type", "api_key", "protocol"]).map_err(failed)?;
    let kind = kind.any_text().map_err(failed)?;
    let api_key = api_key.text(limit::NAME_BYTES).map_err(failed)?.filter(|key| !key.is_empty());
    match (kind.as_deref(), api_key) {
        (Some("auth"), Some(api_key)) => {
            let protocol = protocol.word(Protocol::WORDS, Protocol::from_word).map_err(failed)?;
            Ok(Auth { api_key: Secret(api_key), protocol })
        }
        _ => Err(NoAuth::Required),
    }
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
    let (shows, said) = match &*kind.required(kind.any_text()?)? {
        "metrics" if data.is_present() => {
            (Some(Protocol::Code), Said::Metrics(Box::new(data.required(data.object(metrics::sample)?)?)))
        }
        "metrics" => (Some(Protocol::Documented), Said::Metrics(Box::new(flat(text)?))),
        "log" => (None, Said::Log(data.required(data.object(log_line)?)?)),
        "ping" => (None, Said::Ping),
        "auth" => (None, Said::Ignored),
        kind => match outcome(kind, text, data)? {
            Some((shows, outcome)) => (shows, Said::Outcome { id: id()?, outcome }),
            // Whatever has an id is an answer: better a wrong one than a timeout.
            None => match id()? {
                Some(id) => (None, Said::Outcome { id: Some(id), outcome: Outcome::Unexpected }),
                None => (None, Said::Ignored),
            },
        },
    };
    Ok(Message { shows, said })
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

/// The outcome in a message of this kind. `None`: no such kind.
fn outcome(kind: &str, text: &str, data: Field) -> Read<Option<(Option<Protocol>, Outcome)>> {
    let (protocol, outcome) = match kind {
        "command_response" => (Protocol::Documented, command(text)?),
        "docker_response" => (Protocol::Documented, docker(text)?),
        "command_result" => (Protocol::Code, data.required(data.object(command)?)?),
        "container_started" => (Protocol::Code, container(ContainerAction::Start, data)?),
        "container_stopped" => (Protocol::Code, container(ContainerAction::Stop, data)?),
        "container_restarted" => (Protocol::Code, container(ContainerAction::Restart, data)?),
        "container_logs" => (Protocol::Code, data.required(data.object(container_logs)?)?),
        "error" => return Ok(Some((None, failure(text)?.unwrap_or(Outcome::Unexpected)))),
        _ => return Ok(None),
    };
    Ok(Some((Some(protocol), outcome)))
}

/// A command's result: the same members in both forms, below `data` or not.
fn command(text: &str) -> Read<Outcome> {
    let [output, exit_code, duration_ms, truncated, denied] =
        fields(text, ["output", "exit_code", "duration_ms", "truncated", "denied"])?;
    let (output, cut) = output.cut(limit::OUTPUT_BYTES)?.unwrap_or_default();
    if denied.bool()? == Some(true) {
        return Ok(Outcome::Denied { message: output });
    }
    let code = exit_code.required(exit_code.whole(i32::MIN.into(), i32::MAX.into())?)?;
    Ok(Outcome::Command {
        output,
        truncated: cut || truncated.bool()? == Some(true),
        exit_code: code as i32,
        duration_ms: duration_ms.count()?,
    })
}

fn docker(text: &str) -> Read<Outcome> {
    let [success, message, logs] = fields(text, ["success", "message", "logs"])?;
    if !success.required(success.bool()?)? {
        return Ok(failure(text)?.unwrap_or(Outcome::Failed { message: "The agent gave no reason".to_owned() }));
    }
    if logs.is_present() {
        return container_logs(text);
    }
    Ok(Outcome::Container { action: None, container_id: None, message: message.text(limit::LINE_BYTES)? })
}

fn container(action: ContainerAction, data: Field) -> Read<Outcome> {
    let id = data.object(|text| {
        let [id] = fields(text, ["container_id"])?;
        id.text(limit::NAME_BYTES)
    })?;
    Ok(Outcome::Container { action: Some(action), container_id: id.flatten(), message: None })
}

fn container_logs(object: &str) -> Read<Outcome> {
    let [id, logs, truncated] = fields(object, ["container_id", "logs", "truncated"])?;
    // What lies before the last lines is dropped while reading: memory is bounded, whatever is sent.
    let (mut lines, mut bytes, mut cut) = (std::collections::VecDeque::<String>::new(), 0, false);
    logs.list(usize::MAX, |line| {
        let line = text(line)?;
        let line = head(&line, limit::LOG_BYTES);
        bytes += line.len();
        lines.push_back(line.to_owned());
        while lines.len() > limit::LOG_LINES || bytes > limit::OUTPUT_BYTES {
            bytes -= lines.pop_front().map_or(0, |line| line.len());
            cut = true;
        }
        Ok(())
    })?;
    Ok(Outcome::ContainerLogs {
        container_id: id.text(limit::NAME_BYTES)?,
        lines: lines.into(),
        truncated: cut || truncated.bool()? == Some(true),
    })
}

/// What went wrong or was forbidden, in `message`.
fn failure(text: &str) -> Read<Option<Outcome>> {
    let [message, denied] = fields(text, ["message", "denied"])?;
    let message = message.cut(limit::LOG_BYTES)?.map(|(message, _)| message);
    Ok(message.map(|message| match denied.bool() {
        Ok(Some(true)) => Outcome::Denied { message },
        _ => Outcome::Failed { message },
    }))
}

#[cfg(test)]
mod tests;
