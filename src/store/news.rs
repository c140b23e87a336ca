//! Tells others what happens in the store, on a thread of its own: they may ask the store for something then, and the
//! store's thread waits for nobody.
//!
//! What has not been told is one value per stream, one per server, and one health: it cannot grow without end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Health;
use super::records::StreamKey;
use crate::rt::worker::Worker;

/// Hears how far a server's stream is kept.
type OnKept = dyn Fn(&Arc<str>, &Arc<str>, u64) + Send + Sync;

/// Hears of a server whose agent's records have room again.
type OnRoom = dyn Fn(&Arc<str>) + Send + Sync;

/// Hears of each change of the store's health.
type OnHealth = dyn Fn(&Health) + Send + Sync;

/// See the module's text.
pub struct News {
    untold: Arc<Mutex<Untold>>,
    /// Room for one: there is something.
    nudge: Mutex<Option<Sender<()>>>,
    worker: Mutex<Option<Worker>>,
}

#[derive(Default)]
struct Untold {
    on_kept: Vec<Arc<OnKept>>,
    on_health: Vec<Arc<OnHealth>>,
    on_room: Vec<Arc<OnRoom>>,
    room: BTreeSet<Arc<str>>,
    kept: BTreeMap<StreamKey, u64>,
    health: Option<Health>,
}

impl News {
    /// # Errors
    /// No thread to be had.
    pub fn start() -> std::io::Result<News> {
        let untold = Arc::new(Mutex::new(Untold::default()));
        let (nudge, nudged) = bounded(1);
        let shared = Arc::clone(&untold);
        let worker = Worker::spawn("store-news", move || run(&shared, &nudged))?;
        Ok(News { untold, nudge: Mutex::new(Some(nudge)), worker: Mutex::new(Some(worker)) })
    }

    pub fn on_kept(&self, tell: Arc<OnKept>) {
        lock(&self.untold).on_kept.push(tell);
    }

    pub fn on_room(&self, tell: Arc<OnRoom>) {
        lock(&self.untold).on_room.push(tell);
    }

    /// `now` is told at once.
    pub fn on_health(&self, tell: Arc<OnHealth>, now: Health) {
        {
            let mut untold = lock(&self.untold);
            untold.on_health.push(tell);
            untold.health.get_or_insert(now);
        }
        self.nudge();
    }

    pub fn kept(&self, positions: Vec<(StreamKey, u64)>) {
        if positions.is_empty() {
            return;
        }
        {
            let mut untold = lock(&self.untold);
            if untold.on_kept.is_empty() {
                return;
            }
            untold.kept.extend(positions);
        }
        self.nudge();
    }

    pub fn room(&self, servers: Vec<Arc<str>>) {
        if !servers.is_empty() {
            lock(&self.untold).room.extend(servers);
            self.nudge();
        }
    }

    pub fn health(&self, health: Health) {
        lock(&self.untold).health = Some(health);
        self.nudge();
    }

    /// Tells what is untold, and ends, within `limit`.
    pub fn stop(&self, limit: Duration) {
        self.nudge.lock().unwrap_or_else(PoisonError::into_inner).take();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.join(limit);
        }
        // Whoever hears of it may hold the store.
        let mut untold = lock(&self.untold);
        untold.on_kept.clear();
        untold.on_health.clear();
        untold.on_room.clear();
    }

    fn nudge(&self) {
        if let Some(nudge) = &*self.nudge.lock().unwrap_or_else(PoisonError::into_inner) {
            // Full: it is about to look.
            let _ = nudge.try_send(());
        }
    }
}

fn run(untold: &Mutex<Untold>, nudged: &Receiver<()>) {
    while nudged.recv().is_ok() {
        let (on_kept, on_room, on_health, kept, room, health) = {
            let mut untold = lock(untold);
            let (kept, room) = (std::mem::take(&mut untold.kept), std::mem::take(&mut untold.room));
            let health = untold.health.take();
            (untold.on_kept.clone(), untold.on_room.clone(), untold.on_health.clone(), kept, room, health)
        };
        for ((server_id, stream), seq) in &kept {
            on_kept.iter().for_each(|tell| tell(server_id, stream, *seq));
        }
        for server_id in &room {
            on_room.iter().for_each(|tell| tell(server_id));
        }
        if let Some(health) = health {
            on_health.iter().for_each(|tell| tell(&health));
        }
    }
}

/// The lock guards plain values that are whole between any two statements.
fn lock(untold: &Mutex<Untold>) -> MutexGuard<'_, Untold> {
    untold.lock().unwrap_or_else(PoisonError::into_inner)
}
