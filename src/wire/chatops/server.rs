//! What a hub tells an agent, in the form it speaks.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::picloud::string;
use super::read::{Fault, head};
use super::write::Object;
use super::{INVALID_MESSAGE, NoAuth, limit};
use crate::types::fleet::{ContainerAction, Issuer, Order, Protocol};

impl NoAuth {
    /// The reason for the Close frame (code 1008), in the words of ChatOps' code.
    pub(super) fn reason(&self, required: &str) -> String {
        match self {
            NoAuth::Required => required.to_owned(),
            NoAuth::Failed(what) => format!("Authentication failed: {what}"),
        }
    }
}

/// Appends the proof that the hub knows the key an agent named.
pub fn proof(out: &mut Vec<u8>, proof: &[u8]) {
    Object::typed(out, "proof").text("proof", &URL_SAFE_NO_PAD.encode(proof)).close();
}

/// Appends the answer to a good key. `streams`: how far those of the agent's streams are kept that the hub knows; for
/// agents that named any.
pub fn auth_success(out: &mut Vec<u8>, server_id: &str, streams: Option<&[(Arc<str>, u64)]>) {
    let object = Object::typed(out, "auth_success").text("server_id", server_id);
    let object = object.text("message", "Connected successfully");
    let Some(streams) = streams else { return object.close() };
    object.with("streams", |out| positions(out, streams)).close();
}

fn positions(out: &mut Vec<u8>, streams: &[(Arc<str>, u64)]) {
    out.push(b'{');
    for (number, (stream, seq)) in streams.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        string(out, stream);
        out.push(b':');
        out.extend(seq.to_string().as_bytes());
    }
    out.push(b'}');
}

/// Appends the acknowledgement every metrics message gets, in both forms: ChatOps' agent waits for it, others may
/// ignore it. `seq`: the sample's number, if it had one.
pub fn metrics_received(out: &mut Vec<u8>, seq: Option<u64>) {
    Object::typed(out, "metrics_received").text("status", "ok").shown_if("seq", seq).close();
}

/// Appends the news that everything of a stream up to this number outlives the hub.
pub fn stored(out: &mut Vec<u8>, stream: &str, seq: u64) {
    Object::typed(out, "stored").text("stream", stream).shown("seq", seq).close();
}

/// Appends the answer to `ping`.
pub fn pong(out: &mut Vec<u8>) {
    Object::typed(out, "pong").close();
}

/// Appends an error frame.
pub fn error(out: &mut Vec<u8>, message: &str) {
    Object::typed(out, "error").text("message", message).close();
}

/// Appends the error frame for a message that was not understood.
pub fn invalid(out: &mut Vec<u8>, fault: &Fault) {
    Object::typed(out, "error").text("message", INVALID_MESSAGE).text("detail", &fault.to_string()).close();
}

/// What an agent of this program is told beside an order: who gives it, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub issuer: &'a Issuer,
    pub timeout: Duration,
}

/// Appends an order, in one form only: in both, an agent that knows both would run it twice. The id stands under
/// the names of both forms.
pub fn order(out: &mut Vec<u8>, protocol: Protocol, id: &str, order: &Order, terms: Option<Terms<'_>>) {
    let object = match protocol {
        Protocol::Documented => documented(out, id, order),
        Protocol::Code => code(out, id, order),
    };
    // The `timeout` of a container's stop is how long the container has.
    let is_command = matches!(order, Order::Command { .. });
    let object = object.shown_if("timeout", terms.filter(|_| is_command).map(|terms| seconds(terms.timeout)));
    issued_by(object, terms.map(|terms| terms.issuer)).close();
}

/// Appends a request in Endrpi's form to the agent's device.
pub fn action(out: &mut Vec<u8>, id: &str, request: &str, terms: Terms<'_>) {
    let object = Object::typed(out, "action").text("command_id", id).raw("request", request);
    issued_by(object.shown("timeout", seconds(terms.timeout)), Some(terms.issuer)).close();
}

fn issued_by<'o>(object: Object<'o>, issuer: Option<&Issuer>) -> Object<'o> {
    let Some(Issuer { who, id, from }) = issuer else { return object };
    let who = head(who, limit::NAME_BYTES);
    object.object("issued_by", |object| object.text("who", who).text_if("id", id.as_deref()).text("from", from))
}

/// Whole seconds, at least one.
fn seconds(timeout: Duration) -> u64 {
    timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0)).max(1)
}

fn documented<'o>(out: &'o mut Vec<u8>, id: &str, order: &Order) -> Object<'o> {
    fn open<'o>(out: &'o mut Vec<u8>, kind: &str, id: &str) -> Object<'o> {
        Object::typed(out, kind).text("command_id", id)
    }
    let object = match order {
        Order::Command { command } => open(out, "command", id).text("command", command),
        Order::Container { action, container_id, timeout } => open(out, "docker_command", id)
            .text("action", action.as_str())
            .text("container_id", container_id)
            .shown_if("timeout", *timeout),
        // The documentation has no such action; an agent that does not know it says so.
        Order::ContainerLogs { container_id, tail } => open(out, "docker_command", id)
            .text("action", super::LOGS_ACTION)
            .text("container_id", container_id)
            .shown("tail", tail),
    };
    object.text("request_id", id)
}

fn code<'o>(out: &'o mut Vec<u8>, id: &str, order: &Order) -> Object<'o> {
    let object = match order {
        Order::Command { command } => Object::typed(out, "execute_command").text("command", command),
        Order::Container { action, container_id, timeout } => {
            let kind = match action {
                ContainerAction::Start => "start_container",
                ContainerAction::Stop => "stop_container",
                ContainerAction::Restart => "restart_container",
            };
            Object::typed(out, kind).text("container_id", container_id).shown_if("timeout", *timeout)
        }
        Order::ContainerLogs { container_id, tail } => {
            Object::typed(out, "get_container_logs").text("container_id", container_id).shown("tail", tail)
        }
    };
    object.text("request_id", id).text("command_id", id)
}

#[cfg(test)]
mod tests {
    use super::super::write::written;
    use super::*;

    const ID: &str = "5f1d1e3c-0000-4000-8000-000000000001";

    #[test]
    fn frames_are_those_of_the_documentation() {
        assert_eq!(
            written(|out| auth_success(out, "uuid", None)),
            r#"{"type":"auth_success","server_id":"uuid","message":"Connected successfully"}"#
        );
        assert_eq!(written(|out| metrics_received(out, None)), r#"{"type":"metrics_received","status":"ok"}"#);
        assert_eq!(written(pong), r#"{"type":"pong"}"#);
        assert_eq!(
            written(|out| error(out, super::super::INVALID_KEY)),
            r#"{"type":"error","message":"Invalid or inactive API key"}"#
        );
        let fault = Fault::new("cpu_percent", "must be a number");
        assert_eq!(
            written(|out| invalid(out, &fault)),
            r#"{"type":"error","message":"Invalid message format","detail":"'cpu_percent' must be a number"}"#
        );
    }

    #[test]
    fn an_order_is_written_in_one_form_with_its_id_under_both_names() {
        let command = Order::Command { command: "ls -la \"x\"".into() };
        let container = |action, timeout| Order::Container { action, container_id: "web".into(), timeout };
        let logs = Order::ContainerLogs { container_id: "web".into(), tail: 500 };
        let ids = format!(r#""request_id":"{ID}","command_id":"{ID}"}}"#);
        let table = [
            (
                Protocol::Documented,
                command.clone(),
                format!(r#"{{"type":"command","command_id":"{ID}","command":"ls -la \"x\"","request_id":"{ID}"}}"#),
            ),
            (
                Protocol::Documented,
                container(ContainerAction::Start, None),
                format!(
                    r#"{{"type":"docker_command","command_id":"{ID}","action":"start","container_id":"web","request_id":"{ID}"}}"#
                ),
            ),
            (
                Protocol::Documented,
                logs.clone(),
                format!(
                    r#"{{"type":"docker_command","command_id":"{ID}","action":"logs","container_id":"web","tail":500,"request_id":"{ID}"}}"#
                ),
            ),
            (Protocol::Code, command, format!(r#"{{"type":"execute_command","command":"ls -la \"x\"",{ids}"#)),
            (
                Protocol::Code,
                container(ContainerAction::Stop, Some(3)),
                format!(r#"{{"type":"stop_container","container_id":"web","timeout":3,{ids}"#),
            ),
            (
                Protocol::Code,
                container(ContainerAction::Restart, None),
                format!(r#"{{"type":"restart_container","container_id":"web",{ids}"#),
            ),
            (Protocol::Code, logs, format!(r#"{{"type":"get_container_logs","container_id":"web","tail":500,{ids}"#)),
        ];
        for (protocol, asked, expected) in table {
            assert_eq!(written(|out| order(out, protocol, ID, &asked, None)), expected);
            // The other end reads it back.
            let heard = super::super::client::parse(expected.as_bytes());
            let told = super::super::client::Told::Order { id: ID.into(), protocol, order: asked };
            assert_eq!(heard, Ok(told), "{expected}");
        }
    }
}
