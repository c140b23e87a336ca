//! Takes alerts to a webhook and to a command, each in a thread of its own, which may wait.
//!
//! A queue holds [`WAITING`] alerts; one more, and the oldest is dropped, counted and told in the log. What waits when
//! the daemon ends is dropped as well. An attempt at the webhook is repeated after [`BACKOFF`] where that may help; a
//! command is run once, since nobody knows what half of a run has done.

mod command;
mod webhook;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use rustix::event::{EventfdFlags, eventfd};

use crate::config;
use crate::rt::worker::Worker;
use crate::types::event::{Body, Event};
use crate::types::fleet::{Alert, AlertChange};
use crate::wire::events;
use webhook::{Attempt, Webhook};

/// Alerts that wait for one courier.
const WAITING: usize = 64;

/// From one attempt at the webhook to the next.
const BACKOFF: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];

/// An alert to be told.
struct Notice {
    change: AlertChange,
    server_name: Arc<str>,
    alert: Arc<Alert>,
    /// The event as on `/ws`.
    json: Vec<u8>,
}

/// The couriers there are.
pub struct Couriers {
    queues: Vec<(&'static str, Queue)>,
    /// Becomes readable when the daemon ends.
    ending: Arc<OwnedFd>,
    /// Dropped when the daemon ends.
    going: Mutex<Option<Sender<()>>>,
    workers: Mutex<Vec<Worker>>,
}

/// Where a courier's alerts wait.
#[derive(Clone)]
struct Queue {
    sender: Sender<Arc<Notice>>,
    receiver: Receiver<Arc<Notice>>,
    dropped: Arc<AtomicU64>,
}

impl Couriers {
    /// # Errors
    /// No thread to be had, or a URL or certificate file that cannot be used.
    pub fn start(config: &config::Alerts) -> Result<Couriers, String> {
        let text = |error: io::Error| error.to_string();
        let ending = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| error.to_string())?;
        let ending = Arc::new(ending);
        let (going, stop) = bounded::<()>(0);
        let (mut queues, mut workers) = (Vec::new(), Vec::new());
        if let Some(config) = &config.webhook {
            let webhook = Webhook::new(config)?;
            let (queue, stop) = (Queue::new(), stop.clone());
            queues.push(("alerts-web", queue.clone()));
            workers.push(
                Worker::spawn("alerts-web", move || queue.serve(&stop, |it| post(&webhook, it, &stop)))
                    .map_err(text)?,
            );
        }
        if let Some(config) = config.command.clone() {
            let (queue, stop, ending) = (Queue::new(), stop.clone(), Arc::clone(&ending));
            queues.push(("alerts-cmd", queue.clone()));
            let run = move |notice: &Notice| {
                if let Err(why) = command::run(&config, notice, ending.as_fd()) {
                    log::warn!("alerts.command '{}': {why}", config.program.display());
                }
            };
            workers.push(Worker::spawn("alerts-cmd", move || queue.serve(&stop, run)).map_err(text)?);
        }
        Ok(Couriers { queues, ending, going: Mutex::new(Some(going)), workers: Mutex::new(workers) })
    }

    /// Takes an alert's event with it. Never waits.
    pub fn take(&self, event: &Event) {
        let Body::Alert { change, server_name, alert } = &event.body else { return };
        if self.queues.is_empty() {
            return;
        }
        let mut json = Vec::new();
        events::event(&mut json, event);
        let (server_name, alert) = (Arc::clone(server_name), Arc::clone(alert));
        let notice = Arc::new(Notice { change: *change, server_name, alert, json });
        self.queues.iter().for_each(|(_, queue)| queue.put(&notice));
    }

    /// Whether what is configured could be started.
    ///
    /// # Errors
    /// As [`Couriers::start`], but for threads.
    pub fn check(config: &config::Alerts) -> Result<(), String> {
        config.webhook.as_ref().map_or(Ok(()), |config| Webhook::new(config).map(drop))
    }

    /// Takes what waits for those before, each for its like.
    pub fn take_over(&self, before: &Couriers) {
        for (name, queue) in &self.queues {
            let waiting = before.queues.iter().filter(|(other, _)| other == name);
            waiting.flat_map(|(_, before)| before.receiver.try_iter()).for_each(|notice| queue.put(&notice));
        }
    }

    /// Ends the threads, within `limit` each; what they are at is given up.
    pub fn stop(&self, limit: Duration) {
        drop(self.going.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = rustix::io::write(&*self.ending, &1_u64.to_ne_bytes());
        for worker in std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner)) {
            worker.join(limit);
        }
    }
}

impl Queue {
    fn new() -> Queue {
        let (sender, receiver) = bounded(WAITING);
        Queue { sender, receiver, dropped: Arc::default() }
    }

    fn put(&self, notice: &Arc<Notice>) {
        while self.sender.try_send(Arc::clone(notice)).is_err() {
            // The newest matter most.
            if self.receiver.try_recv().is_ok() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Delivers one after the other until the daemon ends.
    fn serve(&self, stop: &Receiver<()>, deliver: impl Fn(&Notice)) {
        loop {
            select! {
                recv(stop) -> _ => break,
                recv(self.receiver) -> notice => match notice {
                    Ok(notice) => deliver(&notice),
                    Err(_) => break,
                },
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                log::warn!("{dropped} alerts were dropped: their webhook or command takes too long");
            }
        }
        if !self.receiver.is_empty() {
            log::warn!("{} alerts were not told to their webhook or command any more", self.receiver.len());
        }
    }
}

fn post(webhook: &Webhook, notice: &Notice, stop: &Receiver<()>) {
    for wait in BACKOFF.into_iter().map(Some).chain([None]) {
        let why = match webhook.post(&notice.json) {
            Attempt::Done => return,
            Attempt::Refused(why) => {
                return log::warn!("{webhook}: {why}; alert {} was not told", notice.alert.id);
            }
            Attempt::Failed(why) => why,
        };
        let Some(wait) = wait else {
            return log::warn!("{webhook}: {why}; alert {} was not told", notice.alert.id);
        };
        log::debug!("{webhook}: {why}; once more in {wait:?}");
        if stop.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::fleet::{AlertKind, Severity};

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let queue = Queue::new();
        for number in 0..WAITING + 3 {
            let alert = Alert {
                id: number.to_string(),
                server_id: String::new(),
                cause: None,
                threshold_id: None,
                kind: AlertKind::Cpu,
                severity: Severity::Info,
                message: String::new(),
                threshold: None,
                current_value: None,
                created_at: std::time::SystemTime::UNIX_EPOCH,
                acknowledged_at: None,
                resolved_at: None,
            };
            let (change, json) = (AlertChange::Created, Vec::new());
            queue.put(&Arc::new(Notice { change, server_name: "".into(), alert: Arc::new(alert), json }));
        }
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 3);
        let waiting: Vec<String> = queue.receiver.try_iter().map(|notice| notice.alert.id.clone()).collect();
        assert_eq!((waiting.len(), waiting.first().map(String::as_str)), (WAITING, Some("3")));
    }
}
