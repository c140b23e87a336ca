//! API keys of agents: each is one server's, shown once, and opens that server's part and nothing else. Two may be good
//! at once, so that the one can replace the other without a gap.

use tiny_http::Method;

use super::super::{Asked, Reply, Rooms};
use super::{detail, invalid, not_found, not_stored, only, told, who};
use crate::auth::{KeyId, Principal, Refused, mint};
use crate::rt::clock;
use crate::store::AgentKey;
use crate::types::fleet::ApiKey;
use crate::wire::chatops::rest::{self, Query};

/// `rest` is the path behind `api-keys`.
pub fn answer(rooms: &Rooms, asked: &Asked, rest: &[&str]) -> Reply {
    if let (["me"], Method::Get, Some(key)) = (rest, &asked.method, asked.shown.header.as_deref()) {
        return own(rooms, asked, key);
    }
    let desk = match who(rooms, asked) {
        Ok(who) => Desk { rooms, asked, who },
        // An agent looks for this text.
        Err(_) if *rest == ["me"] && asked.shown.key().is_none() => return detail(401, "API key required"),
        Err(reply) => return reply,
    };
    let done = match (rest, &asked.method) {
        ([] | [""], Method::Post) => desk.add(),
        ([] | [""], Method::Get) => desk.list(),
        (["me"], Method::Get) => match &desk.who {
            Principal::Agent { key, .. } => desk.info(*key),
            _ => desk.list(),
        },
        (["server", id], Method::Get) => desk.of_server(id),
        ([id, "deactivate"], Method::Post) => desk.deactivate(id),
        ([id], Method::Delete) if *id != "me" => desk.remove(id),
        ([] | [""], _) => Err(only("GET, POST")),
        (["me"] | ["server", _], _) => Err(only("GET")),
        ([_, "deactivate"], _) => Err(only("POST")),
        ([_], _) => Err(only("DELETE")),
        _ => Err(not_found()),
    };
    done.unwrap_or_else(|reply| reply)
}

/// What an agent asks before it connects.
fn own(rooms: &Rooms, asked: &Asked, key: &str) -> Reply {
    match rooms.gate.attempt(asked.peer.ip(), rooms.gate.agent(key)) {
        Ok(badge) => {
            let who = Principal::Agent { key: badge.key, server_id: badge.server_id.as_ref().to_owned() };
            Desk { rooms, asked, who }.info(badge.key).unwrap_or_else(|reply| reply)
        }
        Err(Refused::Wrong) => detail(401, "Invalid API key"),
        Err(Refused::Slowed(wait)) => super::slowed(&format!("Invalid API key: {}", Refused::wait_text(wait)), wait),
    }
}

/// Where one request is answered.
struct Desk<'a> {
    rooms: &'a Rooms,
    asked: &'a Asked,
    who: Principal,
}

impl Desk<'_> {
    fn info(&self, id: KeyId) -> Result<Reply, Reply> {
        let key = self.rooms.store.agent_key(id).map_err(|why| not_stored(&why))?;
        let key = key.ok_or_else(|| detail(401, "Invalid API key"))?;
        Ok(told(200, |out| rest::key_info(out, &key)))
    }

    fn add(&self) -> Result<Reply, Reply> {
        let new = rest::new_key(&self.asked.body).map_err(invalid)?;
        self.server(&new.server_id)?;
        self.may_change()?;
        let now = clock::wall_millis();
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(detail(400, "expires_at lies in the past"));
        }
        let minted = mint().map_err(|why| detail(503, &format!("no random numbers to be had: {why}")))?;
        let (id, text) = (minted.id, minted.text.clone());
        let key = ApiKey {
            id: id.as_str().to_owned(),
            server_id: new.server_id,
            name: new.name,
            is_active: true,
            expires_at: new.expires_at,
            last_used: None,
            created_at: now,
        };
        match self.rooms.store.add_agent_key(minted, key.clone()).map_err(|why| not_stored(&why))? {
            AgentKey::Added => {
                log::info!("API key {id} made for server {}", key.server_id);
                Ok(told(201, |out| rest::api_key(out, &key, Some(&text))))
            }
            AgentKey::TooMany(live) => {
                let live: Vec<String> = live.iter().map(named).collect();
                let text =
                    format!("This server has two good keys, {}; deactivate one of them first", live.join(" and "));
                Err(detail(409, &text))
            }
        }
    }

    /// All keys of the servers that are there for whoever asks.
    fn list(&self) -> Result<Reply, Reply> {
        let mut keys = self.rooms.store.agent_keys(None).map_err(|why| not_stored(&why))?;
        keys.retain(|key| self.sees(&key.server_id));
        Ok(told(200, |out| rest::api_keys(out, &keys)))
    }

    fn of_server(&self, id: &str) -> Result<Reply, Reply> {
        let id = rest::path_id("server_id", id).map_err(invalid)?;
        let active_only = Query(&self.asked.query).bool("active_only").map_err(invalid)?.unwrap_or(false);
        self.server(&id)?;
        let mut keys = self.rooms.store.agent_keys(Some(&id)).map_err(|why| not_stored(&why))?;
        keys.retain(|key| key.is_active || !active_only);
        Ok(told(200, |out| rest::api_keys(out, &keys)))
    }

    fn deactivate(&self, id: &str) -> Result<Reply, Reply> {
        let (id, key) = self.key(id)?;
        self.rooms.store.deactivate_agent_key(id, clock::wall()).map_err(|why| not_stored(&why))?;
        log::info!("API key {id} deactivated");
        Ok(told(200, |out| rest::api_key(out, &ApiKey { is_active: false, ..key }, None)))
    }

    fn remove(&self, id: &str) -> Result<Reply, Reply> {
        let (id, _) = self.key(id)?;
        self.rooms.store.remove_agent_key(id).map_err(|why| not_stored(&why))?;
        log::info!("API key {id} removed");
        Ok(Reply::json(204, Vec::new()))
    }

    /// A key that is there for whoever asks, and may be changed.
    fn key(&self, id: &str) -> Result<(KeyId, ApiKey), Reply> {
        let missing = || detail(404, "API key not found");
        // Only the id, not the key itself: that does not belong in a path.
        let id = KeyId::parse(id).filter(|known| known.as_str() == id).ok_or_else(missing)?;
        let key = self.rooms.store.agent_key(id).map_err(|why| not_stored(&why))?;
        let key = key.filter(|key| self.sees(&key.server_id)).ok_or_else(missing)?;
        self.may_change()?;
        Ok((id, key))
    }

    fn server(&self, id: &str) -> Result<(), Reply> {
        if self.sees(id) { Ok(()) } else { Err(detail(404, "Server not found")) }
    }

    fn sees(&self, id: &str) -> bool {
        self.rooms.fleet.server(id).is_some_and(|server| self.who.may_see(server.owner.as_deref()))
    }

    fn may_change(&self) -> Result<(), Reply> {
        if self.who.may_change() { Ok(()) } else { Err(detail(403, "A viewer may look only; this takes an operator")) }
    }
}

fn named(key: &ApiKey) -> String {
    match &key.name {
        Some(name) if !name.is_empty() => format!("{} ('{name}')", key.id),
        _ => key.id.clone(),
    }
}
