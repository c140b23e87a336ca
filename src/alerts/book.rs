//! All thresholds and unfinished alerts, in memory. No I/O: what changed is handed to the caller, and what has to be
//! written waits here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::rules;
use super::watch::{Patience, Says, Watch};
use super::watched::{About, BuiltIn, Case, Change, Desk, Moment, Watched, Words};
use crate::config;
use crate::store::KeptAlert;
use crate::types::fleet::{Alert, AlertCause, AlertChange, Health, Sample, ServerStatus, Severity, Threshold};

/// Alerts that wait to be written. While a disk is full they are all that is known of the newest; of more, the oldest
/// that are over are forgotten.
const UNWRITTEN: usize = 1000;

/// See the module's text.
pub struct Book {
    config: config::Alerts,
    servers: HashMap<Box<str>, Watched>,
    /// By id.
    unwritten: HashMap<String, KeptAlert>,
    /// Servers whose rows are to be removed.
    gone: Vec<String>,
    forgotten: u64,
}

impl Book {
    /// From what was kept. Alerts whose threshold is gone, or that are not watched for any more, are resolved.
    pub fn new(config: &config::Alerts, thresholds: Vec<Threshold>, alerts: Vec<KeptAlert>, wall: SystemTime) -> Book {
        let mut book = Book {
            config: config.clone(),
            servers: HashMap::new(),
            unwritten: HashMap::new(),
            gone: Vec::new(),
            forgotten: 0,
        };
        for threshold in thresholds {
            book.watched(&threshold.server_id.clone()).rules.push((threshold, Case::default()));
        }
        for kept in alerts {
            if let Some(mut orphan) = book.adopt(kept) {
                orphan.alert.resolved_at = orphan.alert.resolved_at.or(Some(wall));
                orphan.muted = false;
                book.write_later(vec![orphan]);
            }
        }
        book
    }

    /// Takes other limits of what is watched; what is watched stays.
    pub fn set_limits(&mut self, config: &config::Alerts) {
        let config::Alerts { offline_after, disk_warning, disk_critical, clock_after, .. } = *config;
        self.config = config::Alerts { offline_after, disk_warning, disk_critical, clock_after, ..self.config.clone() };
    }

    /// Takes a kept alert to its condition, or gives it back where there is none.
    fn adopt(&mut self, kept: KeptAlert) -> Option<KeptAlert> {
        let watch = if kept.alert.resolved_at.is_none() { Watch::open() } else { Watch::muted() };
        let watches = kept.alert.cause.is_some_and(|cause| self.watches(cause));
        let server = self.watched(&kept.alert.server_id.clone());
        let case = match (&kept.alert.threshold_id, kept.alert.cause) {
            (Some(id), _) => {
                let mut rules = server.rules.iter_mut();
                rules.find(|(rule, _)| rule.id == *id && rule.enabled).map(|(_, case)| case)
            }
            (None, Some(cause)) if watches => {
                let built_in = BuiltIn { cause, subject: kept.subject.clone(), severity: kept.alert.severity };
                Some(server.case(built_in))
            }
            _ => None,
        };
        match case {
            Some(case) if case.alert.is_none() => {
                *case = Case { watch, alert: Some(kept) };
                None
            }
            _ => Some(kept),
        }
    }

    fn watches(&self, cause: AlertCause) -> bool {
        match cause {
            AlertCause::Offline => self.config.offline,
            AlertCause::UnderVoltage => self.config.under_voltage,
            AlertCause::DiskFull => self.config.disk,
            AlertCause::Store => self.config.store,
            AlertCause::ClockNotSynchronised => self.config.clock,
        }
    }

    fn watched(&mut self, server_id: &str) -> &mut Watched {
        self.servers.entry(server_id.into()).or_default()
    }

    /// What a sample says of everything that is watched of its server.
    pub fn sample(&mut self, server_id: &str, name: &str, sample: &Sample, at: Moment) -> Vec<Change> {
        let config::Alerts { under_voltage, disk, disk_warning, disk_critical, clock, clock_after, .. } = self.config;
        self.visit(server_id, name, at, |server, desk| {
            let network = server.network(sample, at.now);
            for (rule, case) in server.rules.iter_mut().filter(|(rule, _)| rule.enabled) {
                let Some(value) = rules::value(rule.metric, sample, network) else { continue };
                let patience = Patience { hold: rule.duration, settle: Duration::ZERO };
                case.step(desk, rules::says(rule, value), patience, About::Threshold(&rule.id), || Words {
                    kind: rule.metric,
                    severity: rules::severity(rule, value),
                    message: rules::message(rule, value),
                    threshold: Some(rule.value),
                    value: Some(value),
                });
            }
            if under_voltage && let Some(throttle) = sample.throttle {
                server.under_voltage(desk, throttle.bits & 1 != 0);
            }
            if clock && let Some(synchronised) = sample.clock_synchronised {
                server.clock(desk, synchronised, clock_after);
            }
            if disk {
                server.disks(desk, sample, [disk_warning, disk_critical]);
            }
        })
    }

    pub fn status(&mut self, server_id: &str, name: &str, status: ServerStatus, at: Moment) -> Vec<Change> {
        let (watches, hold) = (self.config.offline, self.config.offline_after);
        self.visit(server_id, name, at, |server, desk| {
            if status == ServerStatus::Offline {
                // How things are while nobody tells is not known.
                server.counted = None;
                server.interrupt();
            }
            if watches && status != ServerStatus::Unknown {
                server.offline(desk, status == ServerStatus::Offline, hold);
            }
        })
    }

    pub fn store_state(&mut self, server_id: &str, name: &str, degraded: Option<&str>, at: Moment) -> Vec<Change> {
        if !self.config.store {
            return Vec::new();
        }
        self.visit(server_id, name, at, |server, desk| {
            let built_in = BuiltIn { cause: AlertCause::Store, subject: None, severity: Severity::Critical };
            let says = if degraded.is_some() { Says::Holds } else { Says::Gone };
            server.built_in(desk, built_in, says, Patience::default(), || {
                let why = degraded.unwrap_or_default();
                (format!("The hub's store works from memory: {why}"), None, None)
            });
        })
    }

    /// Raises what has become due without any news; and when to look again.
    pub fn tick(&mut self, at: Moment) -> (Vec<Change>, Option<Instant>) {
        let hold = self.config.offline_after;
        let due = |server: &Watched| server.offline_due(hold);
        let late = |server: &Watched| due(server).is_some_and(|due| due <= at.now);
        let ids: Vec<(Box<str>, Arc<str>)> = self
            .servers
            .iter()
            .filter(|(_, server)| late(server))
            .map(|(id, server)| (id.clone(), Arc::clone(&server.name)))
            .collect();
        let mut changes = Vec::new();
        for (id, name) in ids {
            changes.extend(self.visit(&id, &name, at, |server, desk| server.offline(desk, true, hold)));
        }
        (changes, self.servers.values().filter_map(due).min())
    }

    /// Does something with a server and takes down what comes of it.
    fn visit(
        &mut self,
        server_id: &str,
        name: &str,
        at: Moment,
        act: impl FnOnce(&mut Watched, &mut Desk<'_>),
    ) -> Vec<Change> {
        let server = self.watched(server_id);
        if *server.name != *name {
            server.name = name.into();
        }
        let server_name = Arc::clone(&server.name);
        let mut desk = Desk { at, server_id, server_name: &server_name, changes: Vec::new(), rows: Vec::new() };
        act(server, &mut desk);
        let Desk { changes, rows, .. } = desk;
        server.tidy();
        self.write_later(rows);
        changes
    }

    /// The case an open alert belongs to, its server and what it watches.
    fn open_case(&mut self, alert_id: &str) -> Option<(&mut Case, Arc<str>)> {
        self.servers.values_mut().find_map(|server| {
            let name = Arc::clone(&server.name);
            server.cases().find(|case| case.open().is_some_and(|alert| alert.id == alert_id)).map(|case| (case, name))
        })
    }

    /// Resolves an open alert by hand. Its condition raises no other until it has been gone once.
    pub fn resolve(&mut self, alert_id: &str, at: Moment) -> Option<Change> {
        let (case, server_name) = self.open_case(alert_id)?;
        case.watch.mute();
        let kept = case.alert.as_mut()?;
        kept.alert.resolved_at = Some(at.wall);
        kept.muted = true;
        let kept = kept.clone();
        self.write_later(vec![kept.clone()]);
        Some(Change { change: AlertChange::Resolved, server_name, alert: Arc::new(kept.alert) })
    }

    /// Notes that somebody has seen an open alert; `None` where there is none, and without a change the second time.
    pub fn acknowledge(&mut self, alert_id: &str, at: Moment) -> Option<Change> {
        let (case, server_name) = self.open_case(alert_id)?;
        let kept = case.alert.as_mut().filter(|kept| kept.alert.acknowledged_at.is_none())?;
        kept.alert.acknowledged_at = Some(at.wall);
        let kept = kept.clone();
        self.write_later(vec![kept.clone()]);
        Some(Change { change: AlertChange::Acknowledged, server_name, alert: Arc::new(kept.alert) })
    }

    /// How many thresholds a server has.
    pub fn threshold_count(&self, server_id: &str) -> usize {
        self.servers.get(server_id).map_or(0, |server| server.rules.len())
    }

    /// All thresholds, or one server's, the oldest first.
    pub fn thresholds(&self, server_id: Option<&str>) -> Vec<Threshold> {
        let wanted = self.servers.iter().filter(|(id, _)| server_id.is_none_or(|wanted| wanted == &***id));
        let mut all: Vec<_> =
            wanted.flat_map(|(_, server)| server.rules.iter().map(|(rule, _)| rule.clone())).collect();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    pub fn threshold(&self, id: &str) -> Option<Threshold> {
        let mut rules = self.servers.values().flat_map(|server| &server.rules);
        rules.find(|(rule, _)| rule.id == id).map(|(rule, _)| rule.clone())
    }

    pub fn add_threshold(&mut self, threshold: Threshold) {
        self.watched(&threshold.server_id.clone()).rules.push((threshold, Case::default()));
    }

    /// Puts a threshold in its old one's place. What was said of the old one counts no more, unless only its
    /// limit has moved: then an open alert stays open until the next sample decides.
    pub fn change_threshold(&mut self, changed: Threshold, at: Moment) -> Vec<Change> {
        let Some(server) = self.servers.get(&*changed.server_id) else { return Vec::new() };
        let name = Arc::clone(&server.name);
        self.visit(&changed.server_id.clone(), &name, at, |server, desk| {
            let Some((rule, case)) = server.rules.iter_mut().find(|(rule, _)| rule.id == changed.id) else { return };
            if !changed.enabled || rule.metric != changed.metric || case.watch.is_muted() {
                case.close(desk);
            }
            case.watch.interrupt();
            *rule = changed;
        })
    }

    /// Removes a threshold and resolves its alert.
    pub fn remove_threshold(&mut self, id: &str, at: Moment) -> Vec<Change> {
        let has = |server: &Watched| server.rules.iter().any(|(rule, _)| rule.id == id);
        let Some((server_id, server)) = self.servers.iter().find(|(_, server)| has(server)) else { return Vec::new() };
        let (server_id, name) = (server_id.clone(), Arc::clone(&server.name));
        self.visit(&server_id, &name, at, |server, desk| {
            for (_, case) in server.rules.iter_mut().filter(|(rule, _)| rule.id == id) {
                case.close(desk);
            }
            server.rules.retain(|(rule, _)| rule.id != id);
        })
    }

    /// Forgets a server, resolving what is open.
    pub fn remove_server(&mut self, server_id: &str, at: Moment) -> Vec<Change> {
        let name = self.servers.get(server_id).map(|server| Arc::clone(&server.name)).unwrap_or_default();
        let changes = self.visit(server_id, &name, at, |server, desk| {
            server.cases().for_each(|case| case.close(desk));
        });
        self.servers.remove(server_id);
        self.unwritten.retain(|_, kept| kept.alert.server_id != server_id);
        self.gone.push(server_id.to_owned());
        changes
    }

    pub fn health(&self, server_id: &str) -> Health {
        let alerts = self.servers.get(server_id).into_iter().flat_map(Watched::open_alerts);
        match alerts.map(|alert| alert.severity).max() {
            None | Some(Severity::Info) => Health::Healthy,
            Some(Severity::Warning) => Health::Warning,
            Some(Severity::Critical) => Health::Critical,
        }
    }

    /// The alerts that are not resolved, the newest first.
    pub fn open(&self) -> Vec<Alert> {
        let mut open: Vec<Alert> = self.servers.values().flat_map(Watched::open_alerts).cloned().collect();
        open.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        open
    }

    /// The alerts that are newer here than in the store, and the servers whose alerts there are none any more.
    pub fn unwritten(&self) -> (Vec<KeptAlert>, Vec<String>) {
        (self.unwritten.values().cloned().collect(), self.gone.clone())
    }

    /// One alert, where it is newer here than in the store.
    pub fn newer(&self, alert_id: &str) -> Option<Alert> {
        self.unwritten.get(alert_id).map(|kept| kept.alert.clone())
    }

    /// These have been written, as they were then.
    pub fn written(&mut self, alerts: &[KeptAlert], gone: &[String]) {
        for kept in alerts {
            if self.unwritten.get(&kept.alert.id) == Some(kept) {
                self.unwritten.remove(&kept.alert.id);
            }
        }
        self.gone.retain(|server_id| !gone.contains(server_id));
    }

    /// How many alerts were forgotten for want of room, since the last time.
    pub fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    fn write_later(&mut self, rows: Vec<KeptAlert>) {
        for kept in rows {
            self.unwritten.insert(kept.alert.id.clone(), kept);
        }
        while self.unwritten.len() > UNWRITTEN {
            // What is open is known elsewhere as well, and the last to be given up.
            let over = |kept: &&KeptAlert| (kept.alert.resolved_at.is_none(), kept.alert.created_at);
            let Some(id) = self.unwritten.values().min_by_key(over).map(|kept| kept.alert.id.clone()) else { return };
            self.unwritten.remove(&id);
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests;
