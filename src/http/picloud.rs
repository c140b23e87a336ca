//! PiCloud over HTTP: `POST /publish`, and what plain requests to its socket routes are told.

use tiny_http::Method;

use super::{Asked, Reply, Rooms};
use crate::actions::topics;
use crate::auth;
use crate::wire::picloud::parse_publish;

pub fn answer(rooms: &Rooms, asked: &Asked) -> Reply {
    // PiCloud's order: method, key, name, and only then the request itself.
    let allowed = if asked.path == "/publish" { "GET, POST" } else { "GET" };
    match asked.method {
        Method::Options => return Reply::text(200, "").with("Allow", allowed),
        Method::Get => {}
        Method::Post if asked.path == "/publish" => {}
        _ => return Reply::text(405, "Method not allowed\n").with("Allow", allowed),
    }
    if asked.path == "/info" {
        if !rooms.gate.check(&asked.shown).admitted() {
            return Reply::text(401, "Invalid API Key\n");
        }
    } else if let Err(refusal) = auth::picloud_client(&rooms.gate, &asked.shown, asked.client_name.as_deref()) {
        return Reply::text(refusal.status, refusal.body);
    }
    if asked.method == Method::Get {
        return Reply::text(400, "Bad Request\n"); // a socket route without an upgrade
    }
    publish(rooms, asked)
}

fn publish(rooms: &Rooms, asked: &Asked) -> Reply {
    let bad = |reason: &str| Reply::text(400, &format!("Bad request: {reason}\n"));
    let message = match parse_publish(&asked.body) {
        Ok(message) => message,
        Err(reason) => return bad(&reason),
    };
    if message.event.is_empty() {
        return bad("'event' is missing or empty");
    }
    match topics::publish(&rooms.hub, message.into_body()) {
        Ok(()) => Reply::new(201, "text/plain; charset=utf-8", Vec::new()),
        Err(reason) => bad(&reason),
    }
}
