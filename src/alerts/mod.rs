//! Alerts: thresholds and what the daemon watches for by itself.
//!
//! `watch` makes one alert of a condition that holds, `rules` says what holds, `watched` is one server and `book` all of
//! them: all in memory and without I/O. This file gives it to others, publishes what comes of it, and has the thread that
//! writes alerts to the store and notices what is due. `people` is what they ask
//! for and change; `courier` takes alerts to a webhook and a command.
//!
//! **One alert per condition.** Each threshold, and each built-in condition of a server (or of one of its disks), has
//! at most one open alert. It is resolved when the condition has gone. Resolved by hand while the condition holds, it is
//! not followed by another before the condition has been gone once; so also over a restart.
//!
//! **Nothing waits.** Who hands over a sample leaves what is to be written in memory. On a disk that is full the alerts
//! stay there, bounded, and are written when it can be done.

mod book;
mod courier;
mod people;
mod rules;
mod watch;
mod watched;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config;
use crate::hub::Hub;
use crate::rt::clock;
use crate::rt::worker::Worker;
use crate::store::{self, Store, StoreError};
use crate::types::event::{Body, Event, PageNews, page_topic};
use crate::types::fleet::{Health, Sample, ServerStatus};
use book::Book;
use courier::Couriers;
pub use people::{MAX_THRESHOLDS, Refused, Wanted};
use watched::{Change, Moment};

/// The server of alerts about a hub that is no server of its own: nobody's, for administrators only.
pub const NO_SERVER: &str = "00000000-0000-0000-0000-000000000000";

/// When a write is tried again that the store had no time for, and one that failed.
const BUSY_INTERVAL: Duration = Duration::from_secs(5);
/// See [`BUSY_INTERVAL`].
const FAILED_INTERVAL: Duration = Duration::from_secs(60);

/// How often the oldest of too many resolved alerts are removed.
const THIN_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// A handle for everyone.
pub struct Alerts {
    book: Mutex<Book>,
    /// One threshold is changed at a time, in the store and then here.
    editing: Mutex<()>,
    own: Mutex<Own>,
    hub: Arc<Hub>,
    store: Arc<Store>,
    couriers: RwLock<Couriers>,
    /// Wakes the thread; one pending wake-up is as good as many.
    nudge: Sender<()>,
    stopping: AtomicBool,
    /// The store works again: what could not be written can be now.
    recovered: AtomicBool,
    worker: Mutex<Option<Worker>>,
    told: OnceLock<Tell>,
}

/// Called with the id of a server whose alerts have changed.
type Tell = Box<dyn Fn(&str) + Send + Sync>;

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
            couriers: RwLock::new(Couriers::start(config)?),
            nudge,
            stopping: AtomicBool::new(false),
            recovered: AtomicBool::new(false),
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

    /// Whether another webhook and command could be used.
    ///
    /// # Errors
    /// What is wrong with a URL or a certificate file.
    pub fn check(config: &config::Alerts) -> Result<(), String> {
        Couriers::check(config)
    }

    /// Takes other limits of what is watched.
    pub fn set_limits(&self, config: &config::Alerts) {
        self.book().set_limits(config);
        // Something may be due already.
        let _ = self.nudge.try_send(());
    }

    /// Takes another webhook and another command, which get what waits for those before. What these are at has
    /// `limit`, and is given up then.
    ///
    /// # Errors
    /// As [`Alerts::start`]; those before go on.
    pub fn replace_couriers(&self, config: &config::Alerts, limit: Duration) -> Result<(), String> {
        let fresh = Couriers::start(config)?;
        let before = {
            let mut couriers = self.couriers.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *couriers, fresh)
        };
        self.couriers().take_over(&before);
        before.stop(limit);
        Ok(())
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
        drop(own);
        if degraded.is_none() {
            self.recovered.store(true, Ordering::Release);
            let _ = self.nudge.try_send(());
        }
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

    /// Writes what waits and ends, within `limit`.
    pub fn stop(&self, limit: Duration) {
        self.stopping.store(true, Ordering::Release);
        let _ = self.nudge.try_send(());
        self.couriers().stop(limit);
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
        self.couriers().take(&event);
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
            let recovered = self.recovered.swap(false, Ordering::AcqRel);
            if stopping || recovered || retry.is_none_or(|at| at <= now) {
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

    fn couriers(&self) -> RwLockReadGuard<'_, Couriers> {
        self.couriers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn moment() -> Moment {
    Moment { now: clock::now(), wall: clock::wall_millis() }
}
