//! PiCloud over HTTP: `POST /publish`, and what plain requests to its socket routes are told.

use tiny_http::Method;

use super::{Asked, Reply, Rooms, ack};
use crate::actions::topics::{self, Refused};
use crate::auth;
use crate::types::rights::Rights;
use crate::wire::picloud::parse_publish;
use crate::wire::wants;

pub fn answer(rooms: &Rooms, asked: &Asked) -> Reply {
    // PiCloud's order: method, key, name, and only then the request itself.
    let allowed = if asked.path == "/publish" { "GET, POST" } else { "GET" };
    match asked.method {
        Method::Options => return Reply::text(200, "").with("Allow", allowed),
        Method::Get => {}
        Method::Post if asked.path == "/publish" => {}
        _ => return Reply::text(405, "Method not allowed\n").with("Allow", allowed),
    }
    let (gate, peer) = (&rooms.gate, asked.peer.ip());
    let admitted = match asked.path.as_str() {
        "/info" => auth::picloud_visitor(gate, peer, &asked.shown),
        _ => auth::picloud_client(gate, peer, &asked.shown, asked.client_name.as_deref()).map(|(badge, _)| badge),
    };
    let badge = match admitted {
        Ok(badge) => badge,
        Err(refusal) => {
            let reply = Reply::text(refusal.status, &refusal.body);
            return refusal.retry_after.into_iter().fold(reply, |reply, s| reply.with("Retry-After", s.to_string()));
        }
    };
    if asked.method == Method::Get {
        return Reply::text(400, "Bad Request\n"); // a socket route without an upgrade
    }
    publish(rooms, asked, gate.rights(badge).as_deref())
}

fn publish(rooms: &Rooms, asked: &Asked, rights: Option<&Rights>) -> Reply {
    let bad = |reason: &str| Reply::text(400, &format!("Bad request: {reason}\n"));
    let message = match parse_publish(&asked.body) {
        Ok(message) => message,
        Err(reason) => return bad(&reason),
    };
    if message.event.is_empty() {
        return bad("'event' is missing or empty");
    }
    let wanted = match (message.wants_ack(), asks_for_ack(&asked.query)) {
        (Ok(in_body), Ok(in_query)) => in_body || in_query,
        (Err(reason), _) | (_, Err(reason)) => return bad(&reason),
    };
    let published = match wanted {
        true => ack::publish(rooms, rights, message.into_body(), asked.may_wait),
        false => topics::publish(&rooms.hub, rights, message.into_body())
            .map(|()| Reply::new(201, "text/plain; charset=utf-8", Vec::new())),
    };
    match published {
        Ok(reply) => reply,
        Err(Refused::Lacks(lacks)) => Reply::text(403, &format!("Forbidden: {lacks}\n")),
        Err(refused) => bad(&refused.to_string()),
    }
}

/// `?ack=1`, or `true`.
fn asks_for_ack(query: &str) -> Result<bool, String> {
    let value = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "ack").map(|(_, value)| value);
    wants::query_flag("ack", value.as_deref())
}
