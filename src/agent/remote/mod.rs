//! The agent itself; see the room's text.

mod backoff;
mod feed;
mod files;
mod journal;
mod link;
mod logs;
mod moment;
mod session;
mod shared;
mod spool;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::Rooms;
use crate::auth;
use crate::config;
use crate::conn::client::{Dial, Trust};
use crate::rt::worker::Worker;
use crate::rt::{clock, random};
use feed::Feed;
use journal::Cursor;
use link::Link;
use logs::{Readers, Reading};
use shared::Shared;
use spool::{Run, Spool};

/// To connect, and for each read and write of a TLS handshake.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// For writing down, at the end, what the hub does not have: a card takes its time.
const SPILL_LIMIT: Duration = Duration::from_secs(2);

/// The agent, from before its start to its end.
pub struct Agent {
    shared: Arc<Shared>,
    stop_feed: Sender<()>,
    cursor: Option<Arc<Cursor>>,
    parts: Mutex<Parts>,
}

enum Parts {
    Ready(Box<Ready>),
    Running(Box<Running>),
    Ended,
}

struct Ready {
    feed: Feed,
    link: Link,
    readers: Readers,
}

struct Running {
    feed: Worker,
    link: Worker,
    reading: Reading,
}

impl Agent {
    /// From now on what happens is kept for the hub; [`Agent::start`] begins to tell it. `None` where there is no hub.
    ///
    /// # Errors
    /// A URL, key or certificate file that cannot be used.
    pub fn new(config: &config::Agent, rooms: impl FnOnce() -> Rooms) -> Result<Option<Agent>, String> {
        let Some(url) = &config.hub else { return Ok(None) };
        let trust = match (&config.ca, &config.pin) {
            (_, Some(pin)) => Trust::Pin(*pin),
            (Some(ca), None) => Trust::Ca(ca.clone()),
            (None, None) => Trust::System,
        };
        let dial = Dial::new(url, &trust, DIAL_TIMEOUT).map_err(|error| error.to_string())?;
        let (key_id, digest) = auth::take_apart(&config.key);
        if key_id.is_none() && config.protocol == config::HubProtocol::Pinwire {
            return Err(format!(
                "{}: the file holds no key of a hub of this program (pw_….…): have the hub make one, or set \
                 agent.protocol = \"chatops\"",
                config.key_place
            ));
        }
        let rooms = rooms();
        let boot_id = moment::boot_id(&rooms.root);
        let stream = random::uuid().map_err(|error| error.to_string())?;
        let run = Run { stream: stream.into(), boot_id: boot_id.clone() };
        let dir = rooms.state_dir.as_deref().map(spool_dir).filter(|_| config.spool_bytes > 0);
        let spool = Spool::new(run, config.spool_ram, dir.as_deref().map(|dir| (dir, config.spool_bytes as u64)));
        let shared = Arc::new(Shared::new(spool).map_err(|error| error.to_string())?);

        let (events, lost) = feed::listen(&rooms.hub, config.forward.clone());
        let cursor = rooms.state_dir.as_deref().filter(|_| config.journal).map(|dir| Arc::new(Cursor::new(dir)));
        let (readers, logs) = Readers::new(config, cursor.as_deref()).map_err(|error| error.to_string())?;
        let (stop_feed, stop) = bounded(1);
        let feed = Feed {
            shared: Arc::clone(&shared),
            root: rooms.root.clone(),
            collector: rooms.collector,
            metrics_interval: config.metrics_interval,
            events,
            lost,
            logs,
            stop,
            cursor: cursor.clone(),
        };
        let link = Link {
            shared: Arc::clone(&shared),
            config: config.clone(),
            dial,
            key_id,
            digest,
            desk: rooms.desk,
            orders: rooms.orders,
            root: rooms.root,
            boot_id,
            node_id: rooms.node_id,
            notify: rooms.notify,
        };
        let parts = Mutex::new(Parts::Ready(Box::new(Ready { feed, link, readers })));
        Ok(Some(Agent { shared, stop_feed, cursor, parts }))
    }

    /// Starts its threads.
    ///
    /// # Errors
    /// None to be had.
    pub fn start(&self) -> std::io::Result<()> {
        let Parts::Ready(ready) = self.take_parts() else { return Ok(()) };
        let Ready { feed, link, readers } = *ready;
        let feed = Worker::spawn("agent-feed", move || feed.run())?;
        let link = Worker::spawn("agent-link", move || link.run())?;
        let running = Running { feed, link, reading: readers.start()? };
        *self.parts.lock().unwrap_or_else(PoisonError::into_inner) = Parts::Running(Box::new(running));
        Ok(())
    }

    fn take_parts(&self) -> Parts {
        std::mem::replace(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner), Parts::Ended)
    }

    /// Sends what there is, and writes down what the hub does not have for good; each within `limit`.
    pub fn stop(&self, limit: Duration) {
        let Parts::Running(running) = self.take_parts() else { return };
        let Running { feed, link, reading } = *running;
        reading.stop(limit);
        let _ = self.stop_feed.try_send(());
        feed.join(limit);
        self.shared.stop();
        link.join(limit);
        // A disk that hangs must not keep the daemon.
        let (shared, cursor) = (Arc::clone(&self.shared), self.cursor.clone());
        match Worker::spawn("agent-spill", move || spill(&shared, cursor.as_deref())) {
            Ok(worker) => worker.join(SPILL_LIMIT.max(limit)),
            Err(error) => {
                log::debug!("no thread to write the spool: {error}");
                spill(&self.shared, self.cursor.as_deref());
            }
        }
    }
}

/// Writes down what the hub does not have for good.
fn spill(shared: &Shared, cursor: Option<&Cursor>) {
    let mut spool = shared.spool();
    let kept = spool.spill_all(clock::now());
    for file in spool.take_unsynced() {
        if let Err(error) = file.sync_data() {
            log::error!("cannot sync the spool: {error}");
        }
    }
    // Only now: what the journal had up to there is either at the hub or in a file.
    if let (Some(file), Some(cursor), true) = (cursor, shared.take_cursor(), kept) {
        file.keep(&cursor);
    }
}

fn spool_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("spool")
}
