//! Answers that no handler gives itself: those of whoever has them later, and those that are large. Handlers are few, and
//! neither an agent that takes its time nor a visitor that reads slowly may hold one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};
use tiny_http::Request;

use super::Reply;
use crate::rt::worker::{self, Worker};
/// Bodies up to this size fit into the private connection's buffers, so that nobody waits in writing them.
const LARGE_BYTES: usize = 64 * 1024;

/// Large answers under way, each with a thread of its own; one more is refused. A visitor that reads nothing holds one
/// no longer than `front.response_deadline`.
const LARGE: usize = 16;

/// What the thread does next: making an answer (which may write to the disk) and sending it.
type Job = Box<dyn FnOnce() + Send>;

/// Gives answers.
pub struct Later {
    /// No bound of its own: there is one job per request that was put off, and those are bounded where they wait.
    jobs: Mutex<Option<Sender<Job>>>,
    worker: Mutex<Option<Worker>>,
    large: Arc<AtomicUsize>,
}

/// Until when an answer may take, where that is longer than usual.
pub type Patience = Arc<Mutex<Option<Instant>>>;

impl Later {
    /// # Errors
    /// No thread to be had.
    pub fn start() -> std::io::Result<Arc<Later>> {
        let (jobs, to_do) = unbounded::<Job>();
        let worker = Worker::spawn("http-later", move || to_do.iter().for_each(run))?;
        Ok(Arc::new(Later { jobs: Mutex::new(Some(jobs)), worker: Mutex::new(Some(worker)), large: Arc::default() }))
    }

    /// Gives what is still to be given, within `limit`.
    pub fn stop(&self, limit: Duration) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(worker) = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            worker.join(limit);
        }
    }

    /// Sends an answer; one that is large on a thread of its own.
    pub fn send(&self, request: Request, reply: Reply) {
        if reply.length() <= LARGE_BYTES {
            // The visitor may be gone; that is its own affair.
            return drop(request.respond(reply.response()));
        }
        let place = Place::take(&self.large);
        // The request is in the thread or, where there is none to be had, back here.
        let hold = Arc::new(Mutex::new(Some((request, reply))));
        let own = Arc::clone(&hold);
        let take = |hold: &Mutex<Option<(Request, Reply)>>| hold.lock().unwrap_or_else(PoisonError::into_inner).take();
        let begun = place.map(|place| {
            Worker::spawn("http-large", move || {
                if let Some((request, reply)) = take(&own) {
                    let _ = request.respond(reply.response());
                }
                drop(place);
            })
        });
        if !matches!(begun, Some(Ok(_)))
            && let Some((request, _)) = take(&hold)
        {
            let text = br#"{"detail":"Too many large answers are under way. Try again, or ask for less."}"#;
            let _ = request.respond(Reply::json(503, text.to_vec()).with("Retry-After", "1").response());
        }
    }

    fn give(&self, job: Job) {
        if let Some(jobs) = &*self.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = jobs.send(job);
        }
        // At the end a request that is dropped answers 500 by itself.
    }
}

/// As in a handler, a crash ends the one request: it answers 500 when it is dropped.
fn run(job: Job) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
        log::error!("an answer that was given later crashed");
        worker::crashed();
    }
}

/// A large answer's place among those under way.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(all: &Arc<AtomicUsize>) -> Option<Place> {
        let place = Place(Arc::clone(all));
        (place.0.fetch_add(1, Ordering::AcqRel) < LARGE).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A request whose answer somebody else will have.
pub struct Answerer {
    pub(super) request: Request,
    pub(super) origin: Option<String>,
    pub(super) patience: Patience,
    pub(super) later: Arc<Later>,
}

impl Answerer {
    /// Lets the visitor wait until then, where that is longer than `front.response_deadline`.
    pub fn wait_until(&self, at: Instant) {
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Answers with what `make` returns, on a thread that may take its time; never waits.
    pub fn give(self, make: impl FnOnce() -> Reply + Send + 'static) {
        let Answerer { request, origin, later, .. } = self;
        let sender = Arc::clone(&later);
        later.give(Box::new(move || sender.send(request, make().for_origin(origin))));
    }
}
