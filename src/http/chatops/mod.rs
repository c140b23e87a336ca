//! ChatOps' REST below `/api/v1`: who asks, and which file answers. Bodies and statuses are `wire::chatops::rest`'s.
//!
//! Errors are `{"detail": …}`. An answer that takes its time (an order to an agent) is given by whoever has it, never
//! by a handler that waits: there are four.

mod accounts;
mod alerts;
mod clusters;
mod keys;
mod logs;
mod metrics;
mod nodes;
mod orders;
mod servers;

use super::{Asked, Reply, Rooms};
use crate::auth::{Badge, Principal};
use crate::types::rights::Verb;
use crate::wire::chatops::rest;

const PREFIX: &str = "/api/v1/";

/// Whether a path is one of these.
pub fn serves(path: &str) -> bool {
    path.starts_with(PREFIX)
}

pub fn answer(rooms: &Rooms, asked: &Asked) -> Reply {
    let path = asked.path.strip_prefix(PREFIX).unwrap_or_default();
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
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
        // Users are made to be asked for.
        let open = gate.is_open() && !(gate.is_undecided() && accounts.guarded());
        return if open { Ok(Principal::Operator { key: None, rights: None }) } else { Err(unknown()) };
    };
    if let Some(user) = accounts.token(shown) {
        return Ok(user);
    }
    if let Some(agent) = gate.agent(shown) {
        return Ok(Principal::Agent { key: agent.key, server_id: agent.server_id.as_ref().to_owned() });
    }
    match gate.recognise(shown).ok_or_else(unknown)? {
        badge @ Badge::Stored(id) => Ok(Principal::Operator { key: Some(id), rights: gate.rights(badge) }),
        Badge::Anybody | Badge::Configured => Ok(Principal::Operator { key: None, rights: None }),
    }
}

/// Whether the key that was shown allows this.
///
/// # Errors
/// The 403, which names the scope that is missing.
fn need(who: &Principal, verb: Verb) -> Result<(), Reply> {
    who.verb(verb).map_err(|lacks| detail(403, &lacks.to_string()))
}

fn unknown() -> Reply {
    detail(401, "Could not validate credentials").with("WWW-Authenticate", "Bearer")
}

fn not_found() -> Reply {
    detail(404, "Not Found")
}

fn detail(status: u16, text: &str) -> Reply {
    let mut body = Vec::new();
    rest::detail(&mut body, text);
    Reply::json(status, body)
}
