//! Log entries of a server.

use tiny_http::Method;

use super::super::{Asked, Reply, Rooms};
use super::desk::Desk;
use super::{invalid, not_found, not_stored, only, told};
use crate::store::LogFilter;
use crate::wire::chatops::rest::{self, LogQuery, Query};

/// `rest` is the path behind `logs`.
pub fn answer(rooms: &Rooms, asked: &Asked, rest: &[&str]) -> Reply {
    let done = match (rest, &asked.method) {
        ([id], Method::Get) => Desk::new(rooms, asked).and_then(|desk| list(&desk, id)),
        ([_], _) => Err(only("GET")),
        _ => Err(not_found()),
    };
    done.unwrap_or_else(|reply| reply)
}

fn list(desk: &Desk, id: &str) -> Result<Reply, Reply> {
    let server = desk.server(id)?;
    let LogQuery { limit, level, source, component } = Query(&desk.asked.query).logs().map_err(invalid)?;
    let entries = desk.rooms.store.logs(&server.id, &LogFilter { limit, level, source, component });
    entries.map(|entries| told(200, |out| rest::log_entries(out, &entries))).map_err(|error| not_stored(&error))
}
