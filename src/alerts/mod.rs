//! Alerts: thresholds and what the daemon watches for by itself.
//!
//! `watch` makes one alert of a condition that holds, `rules` says what holds, `watched` is one server and `book` all of
//! them: all in memory and without I/O. This file gives it to others, publishes what comes of it, and has the thread that
//! writes alerts to the store and notices what is due. `courier` takes alerts to a webhook and a command.
//!
//! **One alert per condition.** Each threshold, and each built-in condition of a server (or of one of its disks), has
//! at most one open alert. It is resolved when the condition has gone. Resolved by hand while the condition holds, it is
//! not followed by another before the condition has been gone once; so also over a restart.
//!
//! **Nothing waits.** Who hands over a sample leaves what is to be written in memory. On a disk that is full the alerts
//! stay there, bounded, and are written when it can be done.

mod book;
mod courier;
mod rules;
mod watch;
mod watched;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config;
use crate::hub::Hub;
use crate::rt::worker::Worker;
use crate::rt::{clock, random};
use crate::store::{self, KeptAlert, Store, StoreError};
use crate::types::event::{Body, Event, PageNews, page_topic};
use crate::types::fleet::{Alert, Health, Sample, ServerStatus, Threshold};
use crate::wire::chatops::rest::NewThreshold;
use book::Book;
use courier::Couriers;
use watched::{Change, Moment};

/// The server of alerts about a hub that is no server of its own: nobody's, for administrators only.
pub const NO_SERVER: &str = "00000000-0000-0000-0000-000000000000";

/// Thresholds of one server.
pub const MAX_THRESHOLDS: usize = 100;

/// When a write is tried again that the store had no time for, and one that failed.
const BUSY_INTERVAL: Duration = Duration::from_secs(5);
/// See [`BUSY_INTERVAL`].
const FAILED_INTERVAL: Duration = Duration::from_secs(60);

/// How often the oldest of too many resolved alerts are removed.
const THIN_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a threshold was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("at most {MAX_THRESHOLDS} thresholds per server; remove one first")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel has no random numbers.
    #[error("no id for a threshold: {0}")]
    NoId(String),
}

/// Which alerts of a list.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub resolved: Option<bool>,
    pub server_id: Option<&'a str>,
    pub skip: usize,
    pub limit: usize,
}

/// A handle for everyone.
pub struct Alerts {
    book: Mutex<Book>,
    /// One threshold is changed at a time, in the store and then here.
    editing: Mutex<()>,
    own: Mutex<Own>,
    hub: Arc<Hub>,
    store: Arc<Store>,
    couriers: Couriers,
    /// Wakes the thread; one pending wake-up is as good as many.
    nudge: Sender<()>,
    stopping: AtomicBool,
    worker: Mutex<Option<Worker>>,
    told: OnceLock<Box<dyn Fn(&str) + Send + Sync>>,
}

/// The server that is this machine, and what is wrong with the hub's store.
struct Own {
    server_id: String,
    name: String,
    degraded: Option<String>,
}

impl Alerts {
    /// Goes on with the thresholds and alerts the store has.
    ///
    /// # Errors
    /// No thread to be had, or a webhook's URL or certificate file that cannot be used.
    pub fn start(config: &config::Alerts, hub: Arc<Hub>, store: Arc<Store>) -> Result<Arc<Alerts>, String> {
        let kept = store.thresholds().and_then(|thresholds| Ok((thresholds, store.unfinished_alerts()?)));
        let (thresholds, unfinished) = kept.unwrap_or_else(|error| {
            log::error!("alerts and thresholds of before are not known: {error}");
            Default::default()
        });
        let (nudge, nudged) = bounded(1);
        let alerts = Arc::new(Alerts {
            book: Mutex::new(Book::new(config, thresholds, unfinished, clock::wall_millis())),
            editing: Mutex::default(),
            own: Mutex::new(Own { server_id: NO_SERVER.into(), name: "hub".into(), degraded: None }),
            hub,
            store,
            couriers: Couriers::start(config)?,
            nudge,
            stopping: AtomicBool::new(false),
            worker: Mutex::default(),
            told: OnceLock::new(),
        });
        let own = Arc::clone(&alerts);
        let worker = Worker::spawn("alerts", move || own.run(&nudged)).map_err(|error| error.to_string())?;
        *alerts.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        let told = Arc::downgrade(&alerts);
        alerts.store.on_health(move |health| {
            if let Some(alerts) = told.upgrade() {
                alerts.store_state(match health {
                    store::Health::Degraded(why) => Some(why),
                    store::Health::None | store::Health::Ok => None,
                });
            }
        });
        Ok(alerts)
    }

    /// The server that is this machine: what is wrong with the hub itself is said of it.
    pub fn set_own_server(&self, server_id: &str, server_name: &str) {
        let mut own = self.own();
        if own.server_id == server_id {
            return;
        }
        self.store_is(&own, None);
        server_id.clone_into(&mut own.server_id);
        server_name.clone_into(&mut own.name);
        self.store_is(&own, own.degraded.as_deref());
    }

    /// A server's state as it is now, not one that was handed over late. Never waits.
    pub fn sample(&self, server_id: &str, server_name: &str, sample: &Sample) {
        self.note(|book| book.sample(server_id, server_name, sample, moment()));
    }

    /// A server's status has changed, or is this when the daemon starts. Never waits.
    pub fn status(&self, server_id: &str, server_name: &str, status: ServerStatus) {
        self.note(|book| book.status(server_id, server_name, status, moment()));
        // There may be a moment to wait for.
        let _ = self.nudge.try_send(());
    }

    /// How the hub's own store is: why it works from memory, or `None` when it is well.
    fn store_state(&self, degraded: Option<&str>) {
        let mut own = self.own();
        own.degraded = degraded.map(str::to_owned);
        self.store_is(&own, degraded);
    }

    /// The server is gone, and its thresholds and alerts with it. Never waits.
    pub fn removed(&self, server_id: &str) {
        self.note(|book| book.remove_server(server_id, moment()));
        let _ = self.nudge.try_send(());
    }

    /// A server's health: that of its worst open alert.
    pub fn health(&self, server_id: &str) -> Health {
        self.book().health(server_id)
    }

    /// Alerts of servers for which `visible` says yes, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub fn list(&self, wanted: &Wanted<'_>, visible: impl Fn(&str) -> bool) -> Result<Vec<Alert>, StoreError> {
        let (newer, gone) = self.book().unwritten();
        let fits = |alert: &Alert| {
            wanted.resolved.is_none_or(|resolved| resolved == alert.resolved_at.is_some())
                && wanted.server_id.is_none_or(|id| id == alert.server_id)
                && !gone.contains(&alert.server_id)
                && visible(&alert.server_id)
        };
        let newer: HashMap<String, Alert> = newer.into_iter().map(|kept| (kept.alert.id.clone(), kept.alert)).collect();
        let enough = wanted.skip.saturating_add(wanted.limit);
        let mut found: Vec<Alert> = Vec::new();
        self.store.each_alert(wanted.server_id, |KeptAlert { alert, .. }| {
            if !newer.contains_key(&alert.id) && fits(&alert) {
                found.push(alert);
            }
            found.len() < enough
        })?;
        found.extend(newer.into_values().filter(|alert| fits(alert)));
        found.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(found.into_iter().skip(wanted.skip).take(wanted.limit).collect())
    }

    /// # Errors
    /// The store's.
    pub fn find(&self, alert_id: &str) -> Result<Option<Alert>, StoreError> {
        match self.book().newer(alert_id) {
            Some(alert) => Ok(Some(alert)),
            None => Ok(self.store.alert(alert_id)?.map(|kept| kept.alert)),
        }
    }

    /// Resolves an alert by hand; one that is resolved already stays as it is.
    ///
    /// # Errors
    /// The store's.
    pub fn resolve(&self, alert_id: &str) -> Result<Option<Alert>, StoreError> {
        self.note(|book| book.resolve(alert_id, moment()).into_iter().collect());
        self.find(alert_id)
    }

    /// Notes that somebody has seen an alert; one that is resolved or was seen already stays as it is.
    ///
    /// # Errors
    /// The store's.
    pub fn acknowledge(&self, alert_id: &str) -> Result<Option<Alert>, StoreError> {
        self.note(|book| book.acknowledge(alert_id, moment()).into_iter().collect());
        self.find(alert_id)
    }

    /// All thresholds, or one server's, the oldest first.
    pub fn thresholds(&self, server_id: Option<&str>) -> Vec<Threshold> {
        self.book().thresholds(server_id)
    }

    pub fn threshold(&self, id: &str) -> Option<Threshold> {
        self.book().threshold(id)
    }

    /// # Errors
    /// See [`Refused`].
    pub fn add_threshold(&self, new: NewThreshold) -> Result<Threshold, Refused> {
        let _one = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.book().threshold_count(&new.server_id) >= MAX_THRESHOLDS {
            return Err(Refused::TooMany);
        }
        let now = clock::wall_millis();
        let threshold = Threshold {
            id: random::uuid().map_err(|error| Refused::NoId(error.to_string()))?,
            server_id: new.server_id,
            metric: new.metric,
            value: new.value,
            comparison: new.comparison,
            enabled: new.enabled,
            duration: new.duration,
            hysteresis: new.hysteresis,
            created_at: now,
            updated_at: now,
        };
        self.store.save_threshold(threshold.clone())?;
        self.book().add_threshold(threshold.clone());
        Ok(threshold)
    }

    /// Changes a threshold; `None` where there is none. Disabled, or made one on another metric, its alert is resolved.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn change_threshold(
        &self,
        id: &str,
        change: impl FnOnce(&mut Threshold),
    ) -> Result<Option<Threshold>, Refused> {
        let _one = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut threshold) = self.threshold(id) else { return Ok(None) };
        change(&mut threshold);
        threshold.updated_at = clock::wall_millis();
        self.store.save_threshold(threshold.clone())?;
        self.note(|book| book.change_threshold(threshold.clone(), moment()));
        Ok(Some(threshold))
    }

    /// Removes a threshold and resolves its alert; `false` where there is none.
    ///
    /// # Errors
    /// The store's.
    pub fn remove_threshold(&self, id: &str) -> Result<bool, StoreError> {
        let _one = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.threshold(id).is_none() {
            return Ok(false);
        }
        self.store.remove_threshold(id)?;
        self.note(|book| book.remove_threshold(id, moment()));
        Ok(true)
    }

    /// Writes what waits and ends, within `limit`.
    pub fn stop(&self, limit: Duration) {
        self.stopping.store(true, Ordering::Release);
        let _ = self.nudge.try_send(());
        self.couriers.stop(limit);
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.join(limit);
        }
    }

    fn store_is(&self, own: &Own, degraded: Option<&str>) {
        self.note(|book| book.store_state(&own.server_id, &own.name, degraded, moment()));
    }

    /// Does something with the book and publishes what comes of it, in its order.
    fn note(&self, act: impl FnOnce(&mut Book) -> Vec<Change>) {
        let mut book = self.book();
        let changes = act(&mut book);
        let any = !changes.is_empty();
        for change in changes {
            self.publish(change);
        }
        drop(book);
        if any {
            let _ = self.nudge.try_send(());
        }
    }

    /// Calls `tell` with a server's id whenever an alert of it has changed. It must not wait, nor ask this room anything.
    /// To be set once.
    pub fn on_change(&self, tell: impl Fn(&str) + Send + Sync + 'static) {
        // Set twice, the first counts.
        let _ = self.told.set(Box::new(tell));
    }

    /// Neither the hub nor a courier is waited for.
    fn publish(&self, Change { change, server_name, alert }: Change) {
        let at = clock::wall_millis();
        let server_id: Arc<str> = alert.server_id.as_str().into();
        log::info!("alert {}: {server_name}: {}", change.as_str(), alert.message);
        if let Some(tell) = self.told.get() {
            tell(&server_id);
        }
        let page = Body::Page {
            topic: page_topic::metrics(&server_id).into(),
            server_id,
            news: PageNews::Alert(Arc::clone(&alert)),
        };
        let event = Event { at, body: Body::Alert { change, server_name, alert } };
        self.couriers.take(&event);
        self.hub.post(event);
        self.hub.post(Event { at, body: page });
    }

    fn run(&self, nudged: &Receiver<()>) {
        let mut retry: Option<Instant> = None;
        let mut thin = clock::now();
        loop {
            let mut due = None;
            self.note(|book| {
                let (changes, next) = book.tick(moment());
                due = next;
                changes
            });
            let now = clock::now();
            let stopping = self.stopping.load(Ordering::Acquire);
            if stopping || retry.is_none_or(|at| at <= now) {
                retry = self.write(retry.is_some()).map(|wait| now + wait);
            }
            if stopping {
                return;
            }
            if thin <= now {
                thin = now + THIN_INTERVAL;
                if let Err(error) = self.store.thin_alerts() {
                    log::debug!("old alerts are not removed: {error}");
                }
            }
            let next = [due, retry, Some(thin)].into_iter().flatten().min().unwrap_or(thin);
            let _ = nudged.recv_timeout(next.saturating_duration_since(clock::now()));
        }
    }

    /// Writes what waits; how long to wait with the next attempt where that failed.
    fn write(&self, again: bool) -> Option<Duration> {
        let (alerts, gone) = self.book().unwritten();
        if alerts.is_empty() && gone.is_empty() {
            return None;
        }
        match self.store.save_alerts(alerts.clone(), gone.clone()) {
            Ok(()) => {
                let mut book = self.book();
                book.written(&alerts, &gone);
                let forgotten = book.take_forgotten();
                drop(book);
                if forgotten > 0 {
                    log::warn!("{forgotten} resolved alerts were forgotten while the store could not be written");
                }
                None
            }
            Err(StoreError::Busy) => Some(BUSY_INTERVAL),
            Err(error) => {
                if !again {
                    log::warn!("alerts are kept in memory: {error}");
                }
                Some(FAILED_INTERVAL)
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn moment() -> Moment {
    Moment { now: clock::now(), wall: clock::wall_millis() }
}
