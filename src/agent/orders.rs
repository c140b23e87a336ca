//! What a hub may have this machine do: each order once, within what the machine's own file allows, and written down
//! before and after.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError, bounded};

use super::memory::{Memory, Met};
use crate::config::Commands;
use crate::docker::{Docker, DockerError};
use crate::rt::clock;
use crate::rt::worker::Worker;
use crate::run::{Runner, Watcher};
use crate::store::Store;
use crate::types::fleet::{AuditEntry, AuditPhase, ContainerAction, Issuer, Order, Outcome};

/// Orders about containers, and refusals to be written down, that may wait for their turn.
const QUEUE: usize = 32;

/// What our records in the audit begin with, which tells them from a hub's, whose orders are for others too.
const HERE: &str = "here: ";

/// Whoever sent an order.
pub trait Reply: Send {
    /// What a command that takes longer than a second has printed since; `offset` is in bytes.
    fn output(&mut self, offset: usize, text: &str) {
        let _ = (offset, text);
    }

    /// What came of it. Called once, from any thread, and must not wait.
    fn done(self: Box<Self>, outcome: Outcome);
}

/// What the thread of [`Orders`] does, one after the other.
type Job = Box<dyn FnOnce() + Send>;

/// Takes orders, for the agent and for a hub that is its own first server.
pub struct Orders {
    runner: Runner,
    docker: Arc<Docker>,
    book: Arc<Book>,
    queue: Mutex<Option<Sender<Job>>>,
    worker: Mutex<Option<Worker>>,
}

impl Orders {
    /// `program`: see [`Runner::start`].
    ///
    /// # Errors
    /// The system's refusal of a thread or a descriptor.
    pub fn start(config: &Commands, docker: Arc<Docker>, store: Arc<Store>, program: &Path) -> io::Result<Orders> {
        let book = Arc::new(Book { memory: Mutex::default(), store, without_audit: config.without_audit });
        let (sender, jobs) = bounded::<Job>(QUEUE);
        let worker = Worker::spawn("orders", move || jobs.into_iter().for_each(|job| job()))?;
        Ok(Orders {
            runner: Runner::start(config, program)?,
            docker,
            book,
            queue: Mutex::new(Some(sender)),
            worker: Mutex::new(Some(worker)),
        })
    }

    /// Takes an order; never waits. One that was taken before is not done again: its reply gets the outcome it had or
    /// will have. `within` is how long its issuer waits.
    pub fn take(&self, id: &str, order: &Order, issuer: &Issuer, within: Option<Duration>, reply: Box<dyn Reply>) {
        let Some(entry) = self.meet(id, order, issuer, reply) else { return };
        let Order::Command { command } = order else { return self.container(entry, order) };
        match self.runner.check(command) {
            Ok(ready) => self.runner.run(ready.within(within), Box::new(entry)),
            Err(message) => self.queue(entry, |entry| entry.end(Outcome::Denied { message })),
        }
    }

    /// Takes other rules for commands; see [`Runner::replace`].
    pub fn replace_commands(&self, config: &Commands) -> bool {
        self.runner.replace(config)
    }

    /// Refuses an order, for a reason that is not in these rules.
    pub fn refuse(&self, id: &str, order: &Order, issuer: &Issuer, reply: Box<dyn Reply>, why: &str) {
        if let Some(entry) = self.meet(id, order, issuer, reply) {
            let message = why.to_owned();
            self.queue(entry, |entry| entry.end(Outcome::Denied { message }));
        }
    }

    /// `None` where the order has come before.
    fn meet(&self, id: &str, order: &Order, issuer: &Issuer, reply: Box<dyn Reply>) -> Option<Entry> {
        let met = self.book.memory().meet(id, reply);
        match met {
            Met::New => {}
            Met::Joined => return None,
            Met::Known(reply, outcome) => {
                reply.done(outcome);
                return None;
            }
        }
        let what = format!("{HERE}{}", describe(order));
        Some(Entry { book: Arc::clone(&self.book), id: id.to_owned(), issuer: issuer.clone(), what, begun: false })
    }

    fn container(&self, entry: Entry, order: &Order) {
        let (docker, order) = (Arc::clone(&self.docker), order.clone());
        self.queue(entry, move |mut entry| {
            // What is forbidden altogether is not even about to be done.
            if docker.enabled()
                && let Err(refused) = entry.begin()
            {
                return entry.tell(refused);
            }
            entry.end(act(&docker, &order));
        });
    }

    fn queue(&self, entry: Entry, job: impl FnOnce(Entry) + Send + 'static) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Without a place in the queue the entry is dropped, which answers it.
        if let Some(queue) = queue
            && let Err(TrySendError::Full(_)) = queue.try_send(Box::new(move || job(entry)))
        {
            log::warn!("orders: more than {QUEUE} wait, one was refused");
        }
    }

    /// Ends what runs, and waits for that, at most `limit`.
    pub fn stop(&self, limit: Duration) {
        let until = clock::now() + limit;
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.runner.stop(limit);
        if let Some(worker) = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            worker.join(until.saturating_duration_since(clock::now()));
        }
    }
}

/// What is known of orders, here and in the audit.
struct Book {
    memory: Mutex<Memory>,
    store: Arc<Store>,
    without_audit: bool,
}

impl Book {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One order under way. Dropped without an end, it was refused for want of room.
struct Entry {
    book: Arc<Book>,
    id: String,
    issuer: Issuer,
    what: String,
    /// Whether it is being done.
    begun: bool,
}

impl Entry {
    /// Writes down that it is about to be done.
    ///
    /// # Errors
    /// The outcome it has instead.
    fn begin(&mut self) -> Result<(), Outcome> {
        match self.book.store.ordered(&self.id, HERE) {
            Ok(None) => {}
            Ok(Some(result)) => {
                let result = result.unwrap_or_else(|| "it was interrupted".to_owned());
                let message = format!("this order was done before, and is not done again: {result}");
                return Err(Outcome::Failed { message });
            }
            Err(error) => self.unaudited(&error)?,
        }
        if let Err(error) = self.audit(AuditPhase::Before, None) {
            self.unaudited(&error)?;
        }
        self.begun = true;
        Ok(())
    }

    /// The audit cannot be had; whether to go on without it.
    fn unaudited(&self, error: &dyn std::fmt::Display) -> Result<(), Outcome> {
        if self.book.without_audit {
            log::warn!("order {} of {} is done without an audit: {error}", self.id, self.issuer.who);
            return Ok(());
        }
        let message = format!("the audit cannot be written, so nothing is done: {error}");
        Err(Outcome::Denied { message })
    }

    fn audit(&self, phase: AuditPhase, result: Option<String>) -> Result<(), crate::store::StoreError> {
        let entry = AuditEntry {
            at: clock::wall(),
            phase,
            order_id: self.id.clone(),
            issuer: self.issuer.clone(),
            what: self.what.clone(),
            result,
        };
        self.book.store.audit(entry).map(drop)
    }

    fn end(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    /// Writes down what came of it and tells who waits.
    fn finish(&mut self, outcome: Outcome) {
        let result = sum_up(&outcome);
        let Issuer { who, from, .. } = &self.issuer;
        // One line, whatever was sent.
        log::info!("order {} of {who} ({from}): {}: {}", self.id, self.what.escape_debug(), result.escape_debug());
        if let Err(error) = self.audit(AuditPhase::After, Some(result)) {
            log::error!("the audit of order {} lacks its end: {error}", self.id);
        }
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        let id = std::mem::take(&mut self.id);
        let waiting = self.book.memory().end(&id, &outcome);
        waiting.into_iter().for_each(|reply| reply.done(outcome.clone()));
    }
}

impl Watcher for Entry {
    fn starting(&mut self) -> Result<(), Outcome> {
        self.begin()
    }

    fn output(&mut self, offset: usize, text: &str) {
        self.book.memory().output(&self.id, offset, text);
    }

    fn ended(mut self: Box<Self>, outcome: Outcome) {
        // What was not begun leaves no trace: there was no room or time for it, it was done before, or the audit is gone.
        if self.begun { self.finish(outcome) } else { self.tell(outcome) }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.id.is_empty() {
            self.tell(Outcome::Failed {
                message: "too many orders wait, or the daemon is stopping; try again later".into(),
            });
        }
    }
}

fn act(docker: &Docker, order: &Order) -> Outcome {
    let outcome = match order {
        Order::Container { action, container_id, timeout } => {
            let timeout = timeout.map(|seconds| Duration::from_secs(seconds.into()));
            let acted = docker.act(*action, container_id, timeout);
            acted.map(|id| Outcome::Container { action: Some(*action), container_id: Some(id), message: None })
        }
        Order::ContainerLogs { container_id, tail } => {
            let read = docker.logs(container_id, *tail);
            read.map(|(lines, truncated)| Outcome::ContainerLogs {
                container_id: Some(container_id.clone()),
                lines,
                truncated,
            })
        }
        Order::Command { .. } => Ok(Outcome::Unexpected),
    };
    outcome.unwrap_or_else(|error| match error {
        DockerError::Denied(message) => Outcome::Denied { message },
        error => Outcome::Failed { message: error.to_string() },
    })
}

/// The order as the audit says it.
fn describe(order: &Order) -> String {
    match order {
        Order::Command { command } => format!("command {command}"),
        Order::Container { action, container_id, .. } => {
            let word = match action {
                ContainerAction::Start => "start",
                ContainerAction::Stop => "stop",
                ContainerAction::Restart => "restart",
            };
            format!("docker {word} {container_id}")
        }
        Order::ContainerLogs { container_id, tail } => format!("docker logs {container_id} (the last {tail})"),
    }
}

/// The outcome as the audit says it.
fn sum_up(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Command { output, truncated, exit_code, duration_ms } => {
            let cut = if *truncated { ", cut" } else { "" };
            let last = output.lines().last().filter(|line| line.starts_with("[pinwire: "));
            let ended = last.map(|line| format!(" {line}")).unwrap_or_default();
            let took = duration_ms.unwrap_or_default();
            format!("exit code {exit_code} after {took} ms, {} bytes of output{cut}{ended}", output.len())
        }
        Outcome::Container { .. } => "done".to_owned(),
        Outcome::ContainerLogs { lines, .. } => format!("{} lines", lines.len()),
        Outcome::Failed { message } => format!("failed: {message}"),
        Outcome::Denied { message } => format!("denied: {message}"),
        Outcome::Unexpected => "unexpected".to_owned(),
    }
}
