//! What came of an order, in either form.

use super::super::limit;
use super::super::read::{Field, Read, fields, head, text};
use crate::types::fleet::{ContainerAction, Outcome, Protocol};

/// The outcome in a message of this kind. `None`: no such kind.
pub(super) fn outcome(kind: &str, text: &str, data: Field) -> Read<Option<(Option<Protocol>, Outcome)>> {
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
