//! The agent's end of the socket, for the agent of this program: what it says, in either form, and what it is told.

use super::read::{Fault, Field, Read, fields, utf8};
use super::write::Object;
use super::{LOGS_ACTION, limit, metrics};
use crate::types::fleet::{ContainerAction, LogLine, Order, Outcome, Protocol, Sample};
use crate::wire::endrpi::json;

mod own;

pub use own::{
    Packed, Signature, Terms, action_result, auth_with, command_output, hello, numbered, pack, positions, terms,
};

/// Appends the first message. `protocol` asks a hub of this program for one form; ChatOps does not look at it.
pub fn auth(out: &mut Vec<u8>, api_key: &str, protocol: Option<Protocol>) {
    let object = Object::typed(out, "auth").text("api_key", api_key);
    object.text_if("protocol", protocol.map(Protocol::as_str)).close();
}

/// Appends a sample.
pub fn metrics(out: &mut Vec<u8>, protocol: Protocol, server_id: &str, sample: &Sample) {
    let object = Object::typed(out, "metrics");
    let absent = metrics::Absent::Null;
    match protocol {
        Protocol::Documented => metrics::flat_members(object, Some(server_id), sample, absent).close(),
        Protocol::Code => {
            object.with("data", |out| metrics::nested(out, Some(server_id), sample, absent)).close();
        }
    }
}

/// Appends a log line, the same in both forms.
pub fn log(out: &mut Vec<u8>, line: &LogLine) {
    let object = Object::typed(out, "log");
    object.with("data", |out| log_data(out, line)).close();
}

fn log_data(out: &mut Vec<u8>, line: &LogLine) {
    Object::open(out)
        .text("level", line.level.as_str())
        .text("message", &line.message)
        .time_if("timestamp", line.at)
        .text_if("source", line.source.map(|source| source.as_str()))
        .text_if("component", line.component.as_deref())
        .close();
}

/// Of what answers a handshake without being a hub, so many characters are enough.
const SAID_CHARS: usize = 200;

/// What was answered instead of a WebSocket, in one line: what a hub of this program calls `detail`, else all of it, if it
/// is short.
pub fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let detail = json::pick(&text, ["detail"]).and_then(|[detail]| json::string(detail?));
    let line = detail.as_deref().unwrap_or(&text).trim().replace(['\r', '\n'], " ");
    match line.char_indices().nth(SAID_CHARS) {
        // Whole words.
        Some((end, _)) => format!("{} …", line[..end].rsplit_once(' ').map_or(&line[..end], |(whole, _)| whole)),
        None => line,
    }
}

/// Appends the heartbeat.
pub fn ping(out: &mut Vec<u8>) {
    Object::typed(out, "ping").close();
}

/// Appends what came of an order, in the form in which it came.
pub fn outcome(out: &mut Vec<u8>, protocol: Protocol, id: &str, order: &Order, outcome: &Outcome) {
    match protocol {
        Protocol::Documented => documented(out, id, order, outcome),
        Protocol::Code => code(out, id, order, outcome),
    }
}

/// What a shell says of a command it cannot run; the documented form has no other place for a refusal.
const CANNOT_RUN: i32 = 126;
/// A command that could not be started, as ChatOps' agent says.
const NOT_STARTED: i32 = 1;

fn documented(out: &mut Vec<u8>, id: &str, order: &Order, outcome: &Outcome) {
    let is_command = matches!(order, Order::Command { .. });
    let kind = if is_command { "command_response" } else { "docker_response" };
    let object = Object::typed(out, kind).text("command_id", id);
    let refused = |object: Object<'_>, message: &str, exit_code: i32, denied: bool| {
        let object = match is_command {
            true => object.text("output", message).shown("exit_code", exit_code).shown("duration_ms", 0),
            false => object.bool("success", false).text("message", message),
        };
        if denied { object.bool("denied", true).close() } else { object.close() }
    };
    match outcome {
        Outcome::Command { output, truncated, exit_code, duration_ms } => {
            let object = object.text("output", output).shown("exit_code", exit_code);
            marked(object.shown_if("duration_ms", *duration_ms), *truncated).close();
        }
        Outcome::Container { action, message, .. } => {
            let done = match action.or(asked_action(order)) {
                Some(ContainerAction::Start) => "Container started",
                Some(ContainerAction::Stop) => "Container stopped",
                Some(ContainerAction::Restart) => "Container restarted",
                None => "Done",
            };
            object.bool("success", true).text("message", message.as_deref().unwrap_or(done)).close();
        }
        Outcome::ContainerLogs { container_id, lines, truncated } => {
            let object = object.bool("success", true).text("message", "Container logs");
            let object = object.text_if("container_id", container_id.as_deref());
            marked(object.list("logs", lines, |out, line| string(out, line)), *truncated).close();
        }
        Outcome::Failed { message } => refused(object, message, NOT_STARTED, false),
        Outcome::Denied { message } => refused(object, message, CANNOT_RUN, true),
        Outcome::Unexpected => refused(object, UNEXPECTED, NOT_STARTED, false),
    }
}

fn code(out: &mut Vec<u8>, id: &str, order: &Order, outcome: &Outcome) {
    let asked = match order {
        Order::Container { container_id, .. } | Order::ContainerLogs { container_id, .. } => container_id,
        Order::Command { .. } => "",
    };
    let object = match outcome {
        Outcome::Command { output, truncated, exit_code, duration_ms } => {
            Object::typed(out, "command_result").object("data", |object| {
                let object = object.text("output", output).shown("exit_code", exit_code);
                marked(object.shown_if("duration_ms", *duration_ms), *truncated)
            })
        }
        Outcome::Container { action, container_id, .. } => {
            let (kind, status) = match action.or(asked_action(order)) {
                Some(ContainerAction::Stop) => ("container_stopped", "stopped"),
                Some(ContainerAction::Restart) => ("container_restarted", "restarted"),
                Some(ContainerAction::Start) | None => ("container_started", "started"),
            };
            let container_id = container_id.as_deref().unwrap_or(asked);
            Object::typed(out, kind)
                .object("data", |object| object.text("container_id", container_id).text("status", status))
        }
        Outcome::ContainerLogs { container_id, lines, truncated } => {
            Object::typed(out, "container_logs").object("data", |object| {
                let object = object.text("container_id", container_id.as_deref().unwrap_or(asked));
                marked(object.list("logs", lines, |out, line| string(out, line)), *truncated)
            })
        }
        Outcome::Failed { message } => Object::typed(out, "error").text("message", message),
        Outcome::Denied { message } => Object::typed(out, "error").text("message", message).bool("denied", true),
        Outcome::Unexpected => Object::typed(out, "error").text("message", UNEXPECTED),
    };
    object.text("request_id", id).close();
}

fn asked_action(order: &Order) -> Option<ContainerAction> {
    match order {
        Order::Container { action, .. } => Some(*action),
        Order::Command { .. } | Order::ContainerLogs { .. } => None,
    }
}

const UNEXPECTED: &str = "Unexpected response from agent";

fn string(out: &mut Vec<u8>, text: &str) {
    super::super::picloud::string(out, text);
}

fn marked(object: Object<'_>, truncated: bool) -> Object<'_> {
    if truncated { object.bool("truncated", true) } else { object }
}

/// What a hub told the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Welcome {
        server_id: String,
    },
    /// A sample has arrived.
    Received,
    /// A hub of this program shows that it knows the agent's key.
    Proof {
        proof: Vec<u8>,
    },
    /// Everything of this stream up to this number is kept for good.
    Stored {
        stream: String,
        seq: u64,
    },
    /// A request for the device's own dispatcher.
    Action {
        id: String,
        /// JSON, as written.
        request: Box<str>,
    },
    Order {
        id: String,
        /// The form of the answer.
        protocol: Protocol,
        order: Order,
    },
    Error {
        message: String,
        detail: Option<String>,
    },
    Pong,
    /// A type this agent does not know.
    Ignored,
}

/// The number of log lines where the hub names none.
const DEFAULT_TAIL: u32 = 500;

/// Reads a message from the hub.
///
/// # Errors
/// What is wrong with it. An order with a fault that has an id should be answered with [`Outcome::Failed`]:
/// [`order_id`] finds it.
pub fn parse(message: &[u8]) -> Read<Told> {
    let text = utf8(message)?;
    let [kind, server_id, error, detail] = fields(text, ["type", "server_id", "message", "detail"])?;
    let order = |protocol, read: &dyn Fn(&str) -> Read<Order>| {
        let [request_id, command_id] = fields(text, ["request_id", "command_id"])?;
        Ok(Told::Order { id: one_id(request_id, command_id)?, protocol, order: read(text)? })
    };
    let act = |action| move |text: &str| container(text, action);
    match &*kind.required(kind.any_text()?)? {
        "auth_success" => Ok(Told::Welcome { server_id: server_id.required(server_id.text(limit::NAME_BYTES)?)? }),
        "metrics_received" => Ok(Told::Received),
        "pong" => Ok(Told::Pong),
        "proof" => own::proof(text),
        "stored" => own::stored(text),
        "action" => own::action(text),
        "error" => Ok(Told::Error {
            message: error.cut(limit::LOG_BYTES)?.unwrap_or_default().0,
            detail: detail.cut(limit::LOG_BYTES)?.map(|(detail, _)| detail),
        }),
        "command" => order(Protocol::Documented, &command),
        "execute_command" => order(Protocol::Code, &command),
        "docker_command" => order(Protocol::Documented, &docker),
        "start_container" => order(Protocol::Code, &act(ContainerAction::Start)),
        "stop_container" => order(Protocol::Code, &act(ContainerAction::Stop)),
        "restart_container" => order(Protocol::Code, &act(ContainerAction::Restart)),
        "get_container_logs" => order(Protocol::Code, &container_logs),
        _ => Ok(Told::Ignored),
    }
}

/// The id of an order that [`parse`] refused.
pub fn order_id(message: &[u8]) -> Option<String> {
    let [request_id, command_id] = fields(utf8(message).ok()?, ["request_id", "command_id"]).ok()?;
    one_id(request_id, command_id).ok()
}

/// The id, which may stand under either name or, the same, under both.
fn one_id(request_id: Field, command_id: Field) -> Read<String> {
    let ids = (request_id.text(limit::NAME_BYTES)?, command_id.text(limit::NAME_BYTES)?);
    match ids {
        (Some(request), Some(command)) if request != command => Err(command_id.fault("differs from 'request_id'")),
        (Some(id), _) | (None, Some(id)) if !id.is_empty() => Ok(id),
        _ => Err(command_id.fault("is missing")),
    }
}

fn command(text: &str) -> Read<Order> {
    let [command] = fields(text, ["command"])?;
    Ok(Order::Command { command: command.required(command.text(limit::COMMAND_BYTES)?)? })
}

fn docker(text: &str) -> Read<Order> {
    let [action] = fields(text, ["action"])?;
    let word = action.required(action.text(limit::NAME_BYTES)?)?;
    match ContainerAction::from_word(&word) {
        Some(action) => container(text, action),
        None if word == LOGS_ACTION => container_logs(text),
        None => Err(action.fault("must be one of start, stop, restart, logs")),
    }
}

fn container(text: &str, action: ContainerAction) -> Read<Order> {
    let [timeout] = fields(text, ["timeout"])?;
    let timeout = timeout.whole(0, 86_400)?.map(|seconds| seconds as u32);
    Ok(Order::Container { action, container_id: container_id(text)?, timeout })
}

fn container_logs(text: &str) -> Read<Order> {
    let [tail] = fields(text, ["tail"])?;
    let tail = tail.whole(0, limit::LOG_LINES as i64)?.map_or(DEFAULT_TAIL, |lines| lines as u32);
    Ok(Order::ContainerLogs { container_id: container_id(text)?, tail })
}

/// A container's id or name. It becomes part of a path below, so only Docker's own letters are let through.
fn container_id(text: &str) -> Read<String> {
    let [field] = fields(text, ["container_id"])?;
    let id = field.required(field.text(limit::NAME_BYTES)?)?;
    let is_name = id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if is_name { Ok(id) } else { Err(Fault::new("container_id", "must be a container's id or name")) }
}

#[cfg(test)]
mod tests;
