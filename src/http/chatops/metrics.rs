//! Samples: by HTTP, the latest, the history.

use std::time::Duration;

use tiny_http::Method;

use super::super::{Asked, Reply, Rooms};
use super::desk::Desk;
use super::{detail, invalid, is_open, not_found, not_stored, only, told, who};
use crate::auth::Principal;
use crate::fleet::Taken;
use crate::rt::clock;
use crate::types::fleet::{Record, Sample};
use crate::wire::chatops::rest::{self, Query};

/// How far back the history goes where nobody says.
const HISTORY: Duration = Duration::from_secs(24 * 60 * 60);

/// Points where nobody says how many: a day of minutes.
const POINTS: usize = 1440;

/// `rest` is the path behind `metrics`.
pub fn answer(rooms: &Rooms, asked: &Asked, rest: &[&str]) -> Reply {
    let done = match (rest, &asked.method) {
        ([], Method::Post) => take(rooms, asked, None),
        ([], _) => Err(only("POST")),
        ([id], Method::Post) => take(rooms, asked, Some(id)),
        ([id], Method::Get) => latest(rooms, asked, id, rest::flat_metrics),
        ([_], _) => Err(only("GET, POST")),
        ([id, "latest"], Method::Get) => latest(rooms, asked, id, rest::latest),
        ([id, "history"], Method::Get) => history(rooms, asked, id),
        ([_, "latest" | "history"], _) => Err(only("GET")),
        _ => Err(not_found()),
    };
    done.unwrap_or_else(|reply| reply)
}

/// A sample by HTTP, of an agent by its key or of whoever may change the server. It says that the machine is alive, and
/// not that there is an agent to be asked for anything.
fn take(rooms: &Rooms, asked: &Asked, id: Option<&str>) -> Result<Reply, Reply> {
    if asked.shown.key().is_none() && !is_open(rooms) {
        return Err(detail(401, "Not authenticated").with("WWW-Authenticate", "Bearer"));
    }
    let who = who(rooms, asked)?;
    let (named, sample) = rest::metrics(&asked.body).map_err(invalid)?;
    let bad_id = |_| detail(400, "Invalid server_id format");
    let server_id = match (id.map(str::to_owned).or(named), &who) {
        (Some(id), _) => rest::path_id("server_id", &id).map_err(bad_id)?,
        (None, Principal::Agent { server_id, .. }) => server_id.clone(),
        (None, _) => return Err(detail(400, "Invalid server_id format")),
    };
    let denied = || detail(403, "Server not found or access denied");
    match &who {
        Principal::Agent { server_id: own, .. } if *own != server_id => {
            return Err(detail(403, "API key does not belong to this server"));
        }
        Principal::Agent { .. } => {}
        _ => {
            let server = rooms.fleet.server(&server_id).filter(|server| who.may_see(server.owner.as_deref()));
            server.filter(|_| who.may_change()).ok_or_else(denied)?;
        }
    }
    match rooms.fleet.record(&server_id, Record::Sample(Box::new(sample))) {
        Taken::NoServer => Err(denied()),
        Taken::New | Taken::Again | Taken::Replaced => Ok(told(201, |out| rest::status(out, "ok", "Metrics received"))),
    }
}

fn latest(rooms: &Rooms, asked: &Asked, id: &str, write: fn(&mut Vec<u8>, &str, &Sample)) -> Result<Reply, Reply> {
    let server = Desk::new(rooms, asked)?.server(id)?;
    match rooms.fleet.latest(&server.id) {
        Some(sample) => Ok(told(200, |out| write(out, &server.id, &sample))),
        None => Err(detail(404, "No metrics available for this server")),
    }
}

fn history(rooms: &Rooms, asked: &Asked, id: &str) -> Result<Reply, Reply> {
    let server = Desk::new(rooms, asked)?.server(id)?;
    let query = Query(&asked.query).history().map_err(invalid)?;
    let end = query.end.unwrap_or_else(clock::wall);
    let start = query.start.or_else(|| end.checked_sub(HISTORY)).unwrap_or(std::time::SystemTime::UNIX_EPOCH);
    let points = rooms.store.history(&server.id, start, end, query.limit.unwrap_or(POINTS));
    points.map(|points| told(200, |out| rest::history(out, &points))).map_err(|error| not_stored(&error))
}
