//! ChatOps' REST below `/api/v1`: who asks, and which file answers. Bodies and statuses are `wire::chatops::rest`'s.
//!
//! Errors are `{"detail": …}`. An answer that takes its time (an order to an agent) is given by whoever has it, never
//! by a handler that waits: there are four.

mod accounts;
mod alerts;
mod clusters;
mod desk;
mod keys;
mod logs;
mod metrics;
mod nodes;
mod orders;
mod servers;

use std::time::Duration;

use tiny_http::Method;

use super::{Asked, Reply, Rooms};
use crate::auth::{Badge, Principal, Refused};
use crate::store::StoreError;
use crate::types::rights::Verb;
use crate::types::token::TokenKind;
use crate::wire::chatops::rest::{self, Invalid};
use crate::wire::openapi;

const PREFIX: &str = "/api/v1/";

/// Whether a path is one of these.
pub fn serves(path: &str) -> bool {
    path.starts_with(PREFIX)
}

pub fn answer(rooms: &Rooms, asked: &Asked) -> Reply {
    let path = asked.path.trim_end_matches('/');
    // What is not described is not served.
    if !openapi::knows(path) {
        return not_found();
    }
    let parts: Vec<&str> = path.strip_prefix(PREFIX).unwrap_or_default().split('/').collect();
    match parts.as_slice() {
        ["auth", rest @ ..] => accounts::answer(rooms, asked, rest),
        ["api-keys", rest @ ..] => keys::answer(rooms, asked, rest),
        ["servers", rest @ ..] => servers::answer(rooms, asked, rest),
        ["metrics", rest @ ..] => metrics::answer(rooms, asked, rest),
        ["logs", rest @ ..] => logs::answer(rooms, asked, rest),
        ["commands" | "docker", ..] => orders::answer(rooms, asked, &parts),
        ["alerts", rest @ ..] => alerts::answer(rooms, asked, rest),
        ["clusters" | "nodes" | "system", ..] => clusters::answer(rooms, asked, &parts),
        _ => not_found(),
    }
}

/// Who asks. Where nobody has decided yet who may come in, somebody who shows nothing runs the daemon.
///
/// # Errors
/// The 401: nothing was shown, or nothing that is good. A wrong token or key is never taken for none.
fn who(rooms: &Rooms, asked: &Asked) -> Result<Principal, Reply> {
    let (gate, accounts) = (&rooms.gate, rooms.store.accounts());
    let Some(shown) = asked.shown.key() else {
        return if is_open(rooms) { Ok(Principal::Operator { key: None, rights: None }) } else { Err(unknown()) };
    };
    let peer = asked.peer.ip();
    let known = || match accounts.bearer(TokenKind::Access, shown) {
        Ok(bearer) => Some(Ok(bearer.principal())),
        // An honest client's token expires: that is no attempt at anything.
        Err(denied) if denied.is_ours() => Some(Err(unknown())),
        Err(_) => None,
    };
    let agents = || {
        let agent = gate.agent(shown)?;
        Some(Ok(Principal::Agent { key: agent.key, server_id: agent.server_id.as_ref().to_owned() }))
    };
    let others = || {
        Some(match gate.recognise(peer, shown)? {
            badge @ Badge::Stored(id) => {
                within_scope(asked, Principal::Operator { key: Some(id), rights: gate.rights(badge) })
            }
            Badge::Anybody | Badge::Configured(_) => Ok(Principal::Operator { key: None, rights: None }),
        })
    };
    match gate.attempt(peer, known().or_else(agents).or_else(others)) {
        Ok(known) => known,
        Err(Refused::Wrong) => Err(unknown()),
        Err(Refused::Slowed(wait)) => Err(slowed(&Refused::wait_text(wait), wait)),
    }
}

/// Whether anybody may come in without showing anything.
fn is_open(rooms: &Rooms) -> bool {
    // Users are made to be asked for.
    rooms.gate.is_open() && !(rooms.gate.is_undecided() && rooms.store.accounts().guarded())
}

/// The 429 of who has to wait.
fn slowed(text: &str, wait: Duration) -> Reply {
    detail(429, text).with("Retry-After", Refused::wait_seconds(wait).to_string())
}

/// Whether a key's scopes allow what is asked here: commands and containers each need their own verb, and to find the
/// server for one either will do; everything else is administration.
///
/// # Errors
/// The 403, which names the scope that is missing.
fn within_scope(asked: &Asked, who: Principal) -> Result<Principal, Reply> {
    let path = asked.path.strip_prefix(PREFIX).unwrap_or_default();
    let allowed = match path.split('/').next().unwrap_or_default() {
        "commands" => who.verb(Verb::Command),
        "docker" => who.verb(Verb::Docker),
        // What happened on it is more than where to find it.
        "servers" if asked.method == Method::Get && path.trim_end_matches('/').split('/').count() <= 2 => {
            who.verb(Verb::Command).or_else(|_| who.verb(Verb::Docker))
        }
        _ => who.verb(Verb::Admin),
    };
    allowed.map(|()| who).map_err(|lacks| detail(403, &lacks.to_string()))
}

fn unknown() -> Reply {
    detail(401, "Could not validate credentials").with("WWW-Authenticate", "Bearer")
}

fn not_found() -> Reply {
    detail(404, "Not Found")
}

/// What the store could not do.
fn not_stored(error: &StoreError) -> Reply {
    let status = match error {
        StoreError::Busy => 503,
        StoreError::Unwritable(_) => 507,
        StoreError::Conflict(_) => 409,
        StoreError::Sql(_) => 500,
    };
    detail(status, &error.to_string())
}

fn detail(status: u16, text: &str) -> Reply {
    told(status, |out| rest::detail(out, text))
}

fn told(status: u16, write: impl FnOnce(&mut Vec<u8>)) -> Reply {
    let mut body = Vec::new();
    write(&mut body);
    Reply::json(status, body)
}

fn invalid(invalid: Invalid) -> Reply {
    told(422, |out| invalid.write(out))
}

fn only(allowed: &'static str) -> Reply {
    detail(405, "Method Not Allowed").with("Allow", allowed)
}
