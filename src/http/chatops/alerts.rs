//! Alerts and thresholds. Whoever sees a server sees its alerts; who may change it resolves them and sets thresholds.

use tiny_http::Method;

use super::super::{Asked, Reply, Rooms};
use super::{detail, invalid, not_found, not_stored, only, told, who};
use crate::alerts::{NO_SERVER, Refused, Wanted};
use crate::auth::Principal;
use crate::types::fleet::{Alert, Threshold};
use crate::wire::chatops::rest::{self, Query};

/// `rest` is the path behind `alerts`.
pub fn answer(rooms: &Rooms, asked: &Asked, rest: &[&str]) -> Reply {
    let desk = match who(rooms, asked) {
        Ok(who) => Desk { rooms, asked, who },
        Err(reply) => return reply,
    };
    let done = match (rest, &asked.method) {
        ([], Method::Get) => desk.list(),
        (["thresholds"], Method::Get) => desk.thresholds(),
        (["thresholds"], Method::Post) => desk.add_threshold(),
        (["thresholds", id], Method::Put) => desk.change_threshold(id),
        (["thresholds", id], Method::Delete) => desk.remove_threshold(id),
        ([id], Method::Get) => desk.alert(id).map(|alert| told(200, |out| rest::alert(out, &alert))),
        ([id, "resolve"], Method::Post) => desk.end(id, Ending::Resolve),
        ([id, "acknowledge"], Method::Post) => desk.end(id, Ending::Acknowledge),
        ([] | [_], _) if *rest != ["thresholds"] => Err(only("GET")),
        (["thresholds"], _) => Err(only("GET, POST")),
        (["thresholds", _], _) => Err(only("PUT, DELETE")),
        ([_, "resolve" | "acknowledge"], _) => Err(only("POST")),
        _ => Err(not_found()),
    };
    done.unwrap_or_else(|reply| reply)
}

/// Where one request is answered.
struct Desk<'a> {
    rooms: &'a Rooms,
    asked: &'a Asked,
    who: Principal,
}

#[derive(Clone, Copy)]
enum Ending {
    Resolve,
    Acknowledge,
}

impl Desk<'_> {
    fn list(&self) -> Result<Reply, Reply> {
        let query = Query(&self.asked.query).alerts().map_err(invalid)?;
        let wanted = Wanted {
            resolved: query.resolved,
            server_id: query.server_id.as_deref(),
            skip: query.page.skip,
            limit: query.page.limit,
        };
        let alerts = self.rooms.alerts.list(&wanted, |server_id| self.sees(server_id));
        let alerts = alerts.map_err(|error| not_stored(&error))?;
        Ok(told(200, |out| rest::alerts(out, &alerts)))
    }

    fn alert(&self, id: &str) -> Result<Alert, Reply> {
        let id = rest::path_id("alert_id", id).map_err(invalid)?;
        let found = self.rooms.alerts.find(&id).map_err(|error| not_stored(&error))?;
        found.filter(|alert| self.sees(&alert.server_id)).ok_or_else(|| detail(404, "Alert not found"))
    }

    fn end(&self, id: &str, ending: Ending) -> Result<Reply, Reply> {
        let Alert { id, .. } = self.alert(id)?;
        self.may_change()?;
        let alerts = &self.rooms.alerts;
        let ended = match ending {
            Ending::Resolve => alerts.resolve(&id),
            Ending::Acknowledge => alerts.acknowledge(&id),
        };
        match ended {
            Ok(Some(alert)) => Ok(told(200, |out| rest::alert(out, &alert))),
            Ok(None) => Err(detail(404, "Alert not found")),
            Err(error) => Err(not_stored(&error)),
        }
    }

    fn thresholds(&self) -> Result<Reply, Reply> {
        let server_id = Query(&self.asked.query).id("server_id").map_err(invalid)?;
        let mut thresholds = self.rooms.alerts.thresholds(server_id.as_deref());
        thresholds.retain(|threshold| self.sees(&threshold.server_id));
        Ok(told(200, |out| rest::thresholds(out, &thresholds)))
    }

    fn add_threshold(&self) -> Result<Reply, Reply> {
        let new = rest::new_threshold(&self.asked.body).map_err(invalid)?;
        if self.rooms.fleet.server(&new.server_id).is_none() || !self.sees(&new.server_id) {
            return Err(detail(404, "Server not found"));
        }
        self.may_change()?;
        let threshold = self.rooms.alerts.add_threshold(new).map_err(refused)?;
        Ok(told(201, |out| rest::threshold(out, &threshold)))
    }

    fn change_threshold(&self, id: &str) -> Result<Reply, Reply> {
        let id = rest::path_id("threshold_id", id).map_err(invalid)?;
        let wish = rest::threshold_change(&self.asked.body).map_err(invalid)?;
        self.threshold(&id)?;
        let changed = self.rooms.alerts.change_threshold(&id, |threshold| {
            threshold.metric = wish.metric.unwrap_or(threshold.metric);
            threshold.value = wish.value.unwrap_or(threshold.value);
            threshold.comparison = wish.comparison.unwrap_or(threshold.comparison);
            threshold.enabled = wish.enabled.unwrap_or(threshold.enabled);
            threshold.duration = wish.duration.unwrap_or(threshold.duration);
            threshold.hysteresis = wish.hysteresis.unwrap_or(threshold.hysteresis);
        });
        match changed.map_err(refused)? {
            Some(threshold) => Ok(told(200, |out| rest::threshold(out, &threshold))),
            None => Err(no_threshold()),
        }
    }

    fn remove_threshold(&self, id: &str) -> Result<Reply, Reply> {
        let id = rest::path_id("threshold_id", id).map_err(invalid)?;
        self.threshold(&id)?;
        match self.rooms.alerts.remove_threshold(&id) {
            Ok(true) => Ok(Reply::json(204, Vec::new())),
            Ok(false) => Err(no_threshold()),
            Err(error) => Err(not_stored(&error)),
        }
    }

    /// A threshold that is to be changed.
    fn threshold(&self, id: &str) -> Result<Threshold, Reply> {
        let found = self.rooms.alerts.threshold(id).filter(|threshold| self.sees(&threshold.server_id));
        let found = found.ok_or_else(no_threshold)?;
        self.may_change()?;
        Ok(found)
    }

    fn sees(&self, server_id: &str) -> bool {
        match self.rooms.fleet.server(server_id) {
            Some(server) => self.who.may_see(server.owner.as_deref()),
            // The hub's own alerts, where it is no server.
            None => server_id == NO_SERVER && self.who.may_see(None),
        }
    }

    fn may_change(&self) -> Result<(), Reply> {
        if self.who.may_change() { Ok(()) } else { Err(detail(403, "Not enough permissions")) }
    }
}

fn refused(refused: Refused) -> Reply {
    match refused {
        Refused::TooMany => detail(409, &refused.to_string()),
        Refused::Store(error) => not_stored(&error),
        Refused::NoId(_) => detail(500, &refused.to_string()),
    }
}

fn no_threshold() -> Reply {
    detail(404, "Alert threshold not found")
}
