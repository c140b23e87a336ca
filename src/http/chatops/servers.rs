//! Servers: what their owners say of them, how they are, what happened on them, and requests to their devices.

use tiny_http::Method;

use super::super::{Asked, Reply, Rooms};
use super::desk::{Desk, no_server, not_done};
use super::{invalid, not_found, not_stored, only, orders, told};
use crate::auth::Principal;
use crate::fleet::Profile;
use crate::types::fleet::{Health, Server, ServerStatus};
use crate::wire::chatops::rest::{self, NewServer, Query, ServerChange};

/// `rest` is the path behind `servers`.
pub fn answer(rooms: &Rooms, asked: &Asked, rest: &[&str]) -> Reply {
    let done = Desk::new(rooms, asked).and_then(|desk| match (rest, &asked.method) {
        ([], Method::Get) => list(&desk),
        ([], Method::Post) => add(&desk),
        ([], _) => Err(only("GET, POST")),
        ([id], Method::Get) => desk.server(id).map(|server| one(200, &server)),
        ([id], Method::Put) => change(&desk, id),
        ([id], Method::Delete) => remove(&desk, id),
        ([_], _) => Err(only("GET, PUT, DELETE")),
        ([id, "health"], Method::Post) => health(&desk, id),
        ([id, "actions"], Method::Post) => orders::action(&desk, id),
        ([_, "health" | "actions"], _) => Err(only("POST")),
        ([id, "events"], Method::Get) => events(&desk, id),
        ([_, "events"], _) => Err(only("GET")),
        _ => Err(not_found()),
    });
    done.unwrap_or_else(|reply| reply)
}

fn list(desk: &Desk) -> Result<Reply, Reply> {
    let page = Query(&desk.asked.query).page().map_err(invalid)?;
    let all = desk.rooms.fleet.servers().into_iter();
    let seen = all.filter(|server| desk.who.may_see(server.owner.as_deref()));
    let servers: Vec<Server> = seen.skip(page.skip).take(page.limit).collect();
    Ok(told(200, |out| rest::servers(out, &servers)))
}

fn add(desk: &Desk) -> Result<Reply, Reply> {
    let NewServer { name, host, port, metadata } = rest::new_server(&desk.asked.body).map_err(invalid)?;
    desk.may_change()?;
    let owner = match &desk.who {
        Principal::User { id, .. } => Some(id.clone()),
        _ => None,
    };
    let added = desk.rooms.fleet.add(owner, Profile { name, host, port, metadata });
    added.map(|server| one(201, &server)).map_err(|error| not_done(&error))
}

fn change(desk: &Desk, id: &str) -> Result<Reply, Reply> {
    let server = desk.server(id)?;
    let wish: ServerChange = rest::server_change(&desk.asked.body).map_err(invalid)?;
    desk.may_change()?;
    let changed = desk.rooms.fleet.change(&server.id, |profile| {
        profile.name = wish.name.unwrap_or_else(|| std::mem::take(&mut profile.name));
        profile.host = wish.host.unwrap_or_else(|| profile.host.take());
        profile.port = wish.port.unwrap_or(profile.port);
        profile.metadata = wish.metadata.unwrap_or_else(|| profile.metadata.take());
    });
    changed.map_err(|error| not_done(&error))?.map(|server| one(200, &server)).ok_or_else(no_server)
}

fn remove(desk: &Desk, id: &str) -> Result<Reply, Reply> {
    let server = desk.server(id)?;
    desk.may_change()?;
    match desk.rooms.fleet.remove(&server.id) {
        Ok(true) => Ok(Reply::json(204, Vec::new())),
        Ok(false) => Err(no_server()),
        Err(error) => Err(not_done(&error)),
    }
}

fn health(desk: &Desk, id: &str) -> Result<Reply, Reply> {
    let server = desk.server(id)?;
    let agent = match server.status {
        ServerStatus::Online => "the agent is connected",
        ServerStatus::Offline => "the agent is not connected",
        ServerStatus::Unknown => "no agent has ever connected",
    };
    let alerts = match server.health {
        Health::Healthy => "no alert is open",
        Health::Warning => "an alert is open",
        Health::Critical => "a critical alert is open",
    };
    Ok(told(200, |out| rest::health(out, &server, &format!("{agent}; {alerts}"))))
}

fn events(desk: &Desk, id: &str) -> Result<Reply, Reply> {
    let server = desk.server(id)?;
    let (since, limit) = Query(&desk.asked.query).events().map_err(invalid)?;
    let events = desk.rooms.store.events(&server.id, since, limit).map_err(|error| not_stored(&error))?;
    Ok(told(200, |out| rest::events(out, events.iter().map(|kept| (kept.number, &kept.event)))))
}

fn one(status: u16, server: &Server) -> Reply {
    told(status, |out| rest::server(out, server))
}
