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
mod orders;
mod servers;

use super::{Asked, Reply, Rooms};

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
        ["clusters" | "nodes", ..] => clusters::answer(rooms, asked, &parts),
        _ => not_found(),
    }
}

fn not_found() -> Reply {
    Reply::json(404, br#"{"detail":"Not Found"}"#.to_vec())
}
