//! Orders to agents: commands, containers, and requests to a server's device.
//!
//! Each is written to the audit before it goes out and once more when it has ended; one that cannot be written is not
//! given. What the agent's own rules forbid is a 403 with `"denied": true`; what went wrong is a 500 with the agent's
//! words, as ChatOps has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::Method;

use super::super::later::Answerer;
use super::super::{Asked, Reply, Rooms};
use super::desk::Desk;
use super::{detail, invalid, not_found, not_stored, only, told};
use crate::fleet::{Errand, Fleet, OrderEnd};
use crate::rt::clock;
use crate::store::Store;
use crate::types::fleet::{
    AuditEntry, AuditPhase, ContainerAction, LogLevel, LogLine, LogSource, Order, Outcome, Server,
};
use crate::wire::chatops::rest::{self, CommandReply, Query};

/// How much longer than an order its visitor waits: the fleet ends it, and not the front door.
const MARGIN: Duration = Duration::from_secs(15);

const NOT_CONNECTED: &str = "Agent not connected. Please ensure the agent is running and connected.";
const UNEXPECTED: &str = "Unexpected response from agent";
const GONE: &str = "The agent's connection ended before it answered; whether the order was carried out is not known.";
const UNSUPPORTED: &str = "The agent is of another program and knows no requests to its device.";

/// `parts` begins with `commands` or `docker`.
pub fn answer(rooms: &Rooms, asked: &Asked, parts: &[&str]) -> Reply {
    let done = Desk::new(rooms, asked).and_then(|desk| match (parts, &asked.method) {
        (["commands", id], Method::Post) => command(&desk, id),
        (["commands", _], _) => Err(only("POST")),
        (["docker", id, "containers"], Method::Get) => containers(&desk, id),
        (["docker", _, "containers"], _) => Err(only("GET")),
        (["docker", id, "containers", container, "logs"], Method::Get) => container_logs(&desk, id, container),
        (["docker", _, "containers", _, "logs"], _) => Err(only("GET")),
        (["docker", id, "containers", container, action], method) => match ContainerAction::from_word(action) {
            None => Err(not_found()),
            Some(action) if *method == Method::Post => act(&desk, id, container, action),
            Some(_) => Err(only("POST")),
        },
        _ => Err(not_found()),
    });
    done.unwrap_or_else(|reply| reply)
}

fn command(desk: &Desk, id: &str) -> Result<Reply, Reply> {
    let server = desk.server(id)?;
    let limits = desk.rooms.fleet.limits();
    let wish = rest::command(&desk.asked.body, limits.order_timeout_max).map_err(invalid)?;
    desk.may_order()?;
    let command: Arc<str> = wish.command.as_str().into();
    let what = format!("command on '{}': {command}", server.name);
    let order = Order::Command { command: wish.command };
    let timeout = wish.timeout.unwrap_or(limits.order_timeout);
    let begun = clock::now();
    Ok(order_of(desk, &server, what, order, timeout, move |id, outcome| ran(id, &command, begun, outcome)))
}

fn containers(desk: &Desk, id: &str) -> Result<Reply, Reply> {
    let server = desk.server(id)?;
    let sample = desk.rooms.fleet.latest(&server.id);
    let containers = sample.as_ref().and_then(|sample| sample.containers.as_deref());
    Ok(told(200, |out| rest::containers(out, containers)))
}

fn act(desk: &Desk, id: &str, container: &str, action: ContainerAction) -> Result<Reply, Reply> {
    let server = desk.server(id)?;
    let container_id = container_name(container)?;
    let grace = Query(&desk.asked.query).timeout().map_err(invalid)?;
    desk.may_order()?;
    let limits = desk.rooms.fleet.limits();
    // The container's own time comes on top.
    let timeout = limits.order_timeout + Duration::from_secs(grace.unwrap_or_default().into());
    let timeout = timeout.min(limits.order_timeout_max);
    let what = format!("{} container {container_id} on '{}'", action.as_str(), server.name);
    let order = Order::Container { action, container_id: container_id.clone(), timeout: grace };
    let (fleet, server_id) = (Arc::clone(&desk.rooms.fleet), server.id.clone());
    Ok(order_of(desk, &server, what, order, timeout, move |_, outcome| {
        fleet.note(&server_id, acted(action, &container_id, outcome));
        match outcome {
            Outcome::Container { .. } => {
                let done = format!("Container {} successfully", done(action));
                told(200, |out| rest::status(out, "success", &done))
            }
            other => failed(other),
        }
    }))
}

fn done(action: ContainerAction) -> &'static str {
    match action {
        ContainerAction::Start => "started",
        ContainerAction::Stop => "stopped",
        ContainerAction::Restart => "restarted",
    }
}

/// What was done to a container, for its server's log, as in ChatOps.
fn acted(action: ContainerAction, container: &str, outcome: &Outcome) -> LogLine {
    let failed = |level, why: &str| (level, format!("Failed to {} container {container}: {why}", action.as_str()));
    let (level, message) = match outcome {
        Outcome::Container { .. } => (LogLevel::Info, format!("Container {container} {}", done(action))),
        Outcome::Denied { message } => failed(LogLevel::Warning, &format!("denied: {message}")),
        Outcome::Failed { message } => failed(LogLevel::Error, message),
        _ => failed(LogLevel::Error, UNEXPECTED),
    };
    LogLine { level, message, at: None, source: Some(LogSource::System), component: Some("docker".to_owned()) }
}

fn container_logs(desk: &Desk, id: &str, container: &str) -> Result<Reply, Reply> {
    let server = desk.server(id)?;
    let container_id = container_name(container)?;
    let tail = Query(&desk.asked.query).tail().map_err(invalid)?;
    desk.may_order()?;
    let timeout = desk.rooms.fleet.limits().order_timeout;
    let what = format!("logs of container {container_id} on '{}'", server.name);
    let order = Order::ContainerLogs { container_id, tail };
    Ok(order_of(desk, &server, what, order, timeout, |_, outcome| match outcome {
        Outcome::ContainerLogs { lines, .. } => told(200, |out| rest::container_logs(out, lines)),
        other => failed(other),
    }))
}

/// `POST /servers/{id}/actions`: the body is a message in Endrpi's form, and so is the answer.
pub fn action(desk: &Desk, id: &str) -> Result<Reply, Reply> {
    let server = desk.server(id)?;
    let limits = desk.rooms.fleet.limits();
    let timeout = Query(&desk.asked.query).wait(limits.order_timeout_max).map_err(invalid)?;
    let timeout = timeout.unwrap_or(limits.order_timeout);
    let request = rest::action(&desk.asked.body).map_err(invalid)?;
    desk.may_change()?;
    may_act(desk, &request)?;
    let what = format!("action on '{}': {request}", server.name);
    let start = move |fleet: &Fleet, errand: &Errand, done| fleet.action(&server.id, errand, &request, done);
    Ok(order(desk, what, timeout, start, |_, end| match end {
        OrderEnd::Response(json) => Reply::json(200, json.as_bytes().to_vec()),
        OrderEnd::Outcome(outcome) => failed(outcome),
        _ => unanswered("Failed to execute action", end),
    }))
}

/// A key's scopes bind it here as everywhere else. Which pins a request means, its device says: it takes all of them, but
/// for readings that touch none.
///
/// # Errors
/// The 403, which names the scope that is missing.
fn may_act(desk: &Desk, request: &str) -> Result<(), Reply> {
    let Some(rights) = desk.who.rights() else { return Ok(()) };
    let reading = desk.rooms.desk.read(request.as_bytes()).is_ok_and(|request| request.call.is_telemetry());
    if reading { Ok(()) } else { rights.all_pins().map_err(|lacks| detail(403, &lacks.to_string())) }
}

/// An id or a name, as Docker writes them: it becomes a part of a path at the agent.
fn container_name(text: &str) -> Result<String, Reply> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_name =
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() <= 256 && text.chars().all(allowed);
    if is_name { Ok(text.to_owned()) } else { Err(detail(404, "Container not found")) }
}

fn order_of(
    desk: &Desk,
    server: &Server,
    what: String,
    wanted: Order,
    timeout: Duration,
    reply: impl Fn(&str, &Outcome) -> Reply + Send + 'static,
) -> Reply {
    let server_id = server.id.clone();
    let failure = match wanted {
        Order::Command { .. } => "Failed to execute command",
        Order::Container { .. } => "Failed to control container",
        Order::ContainerLogs { .. } => "Failed to get container logs",
    };
    let start = move |fleet: &Fleet, errand: &Errand, done| fleet.order(&server_id, errand, &wanted, done);
    order(desk, what, timeout, start, move |id, end| match end {
        OrderEnd::Outcome(outcome) => reply(id, outcome),
        _ => unanswered(failure, end),
    })
}

/// Audits an order, gives it, and has its end audited and told.
fn order(
    desk: &Desk,
    what: String,
    timeout: Duration,
    start: impl FnOnce(&Fleet, &Errand, crate::fleet::Done) + Send + 'static,
    reply: impl Fn(&str, &OrderEnd) -> Reply + Send + 'static,
) -> Reply {
    let (fleet, store) = (Arc::clone(&desk.rooms.fleet), Arc::clone(&desk.rooms.store));
    let id = match crate::rt::random::uuid() {
        Ok(id) => id,
        Err(error) => return detail(500, &format!("no random numbers: {error}")),
    };
    let issuer = desk.who.issuer(desk.asked.peer.ip());
    let record = AuditEntry {
        at: clock::wall(),
        phase: AuditPhase::Before,
        order_id: id.clone(),
        issuer: issuer.clone(),
        what,
        result: None,
    };
    if let Err(error) = store.audit(record.clone()) {
        return not_stored(&error);
    }
    let errand = Errand { id, issuer, timeout };
    Reply::later(move |answerer: Answerer| {
        answerer.wait_until(clock::now() + timeout + MARGIN);
        let id = errand.id.clone();
        let done = move |end: OrderEnd| {
            answerer.give(move || {
                note(
                    &store,
                    AuditEntry { at: clock::wall(), phase: AuditPhase::After, result: Some(result(&end)), ..record },
                );
                reply(&id, &end)
            });
        };
        start(&fleet, &errand, Box::new(done));
    })
}

fn note(store: &Store, entry: AuditEntry) {
    let id = entry.order_id.clone();
    if let Err(error) = store.audit(entry) {
        log::error!("the end of order {id} is not in the audit: {error}");
    }
}

/// An order's end, for the audit.
fn result(end: &OrderEnd) -> String {
    match end {
        OrderEnd::Outcome(Outcome::Command { exit_code, .. }) => format!("exit code {exit_code}"),
        OrderEnd::Outcome(Outcome::Container { .. } | Outcome::ContainerLogs { .. }) => "done".to_owned(),
        OrderEnd::Outcome(Outcome::Failed { message }) => format!("failed: {message}"),
        OrderEnd::Outcome(Outcome::Denied { message }) => format!("denied: {message}"),
        OrderEnd::Outcome(Outcome::Unexpected) => "an unexpected answer".to_owned(),
        OrderEnd::Response(_) => "answered".to_owned(),
        OrderEnd::NotConnected => "the agent is not connected".to_owned(),
        OrderEnd::Gone => "the agent's connection ended".to_owned(),
        OrderEnd::TimedOut => "no answer in time".to_owned(),
        OrderEnd::Full(limit) => (*limit).to_owned(),
        OrderEnd::Unsupported => "not supported by the agent".to_owned(),
    }
}

fn ran(id: &str, command: &str, begun: Instant, outcome: &Outcome) -> Reply {
    let Outcome::Command { output, truncated, exit_code, duration_ms } = outcome else {
        return failed(outcome);
    };
    let reply = CommandReply {
        command_id: id,
        command,
        output,
        exit_code: *exit_code,
        // ChatOps' agents do not say how long it took; as seen from here it did not take longer than this.
        duration_ms: duration_ms.unwrap_or_else(|| clock::now().duration_since(begun).as_millis() as u64),
        truncated: *truncated,
    };
    told(200, |out| rest::command_reply(out, &reply))
}

/// What the agent could not do, or may not.
fn failed(outcome: &Outcome) -> Reply {
    match outcome {
        Outcome::Denied { message } => told(403, |out| rest::denied(out, message)),
        Outcome::Failed { message } => detail(500, message),
        _ => detail(500, UNEXPECTED),
    }
}

/// There is no answer of the agent's.
fn unanswered(what: &str, end: &OrderEnd) -> Reply {
    match end {
        OrderEnd::TimedOut => detail(500, &format!("{what}: Timeout waiting for agent response")),
        OrderEnd::Gone => detail(503, GONE),
        OrderEnd::Full(limit) => detail(503, limit).with("Retry-After", "1"),
        OrderEnd::Unsupported => detail(501, UNSUPPORTED),
        OrderEnd::NotConnected => detail(503, NOT_CONNECTED),
        OrderEnd::Outcome(_) | OrderEnd::Response(_) => detail(500, UNEXPECTED),
    }
}
