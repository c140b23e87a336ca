//! Containers, from whoever knows them, on a thread of its own: an engine that hangs does not hold up the sample.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Containers;
use crate::rt::clock;
use crate::rt::worker::Worker;
use crate::types::fleet::Container;

/// How long a sample waits for its containers. A Docker Engine on a Pi answers in some tens of milliseconds.
pub const LIMIT: Duration = Duration::from_millis(500);

/// An engine that is slower than [`LIMIT`] is told of by its last answer, as long as that is no older.
const OLDEST: Duration = Duration::from_secs(30);

/// Of more, the first.
const MAX_CONTAINERS: usize = 512;

/// The thread that asks, and its last answer. At most one question is under way; nobody waits for the thread's end,
/// because whoever it asks has a limit of its own, and then it ends by itself.
pub struct Asking {
    questions: Sender<()>,
    answers: Receiver<Option<Vec<Container>>>,
    under_way: bool,
    last: Option<(Instant, Option<Vec<Container>>)>,
}

/// A question was asked, to be answered until then.
pub struct Asked(Instant);

impl Asking {
    /// `None` where no thread is to be had.
    pub fn start(containers: Containers) -> Option<Asking> {
        let (questions, asked) = bounded::<()>(1);
        let (answer, answers) = bounded(1);
        let body = move || {
            while asked.recv().is_ok() && answer.send(containers()).is_ok() {}
        };
        if let Err(error) = Worker::spawn("containers", body) {
            log::warn!("no thread to list containers with: {error}; samples have none");
            return None;
        }
        Some(Asking { questions, answers, under_way: false, last: None })
    }

    pub fn ask(&mut self, now: Instant) -> Asked {
        // Room for the question there is: only one is ever under way.
        if !self.under_way && self.questions.try_send(()).is_ok() {
            self.under_way = true;
        }
        Asked(now + LIMIT)
    }

    /// The answer, if it comes in time; else the last one, if it is young enough.
    pub fn fetch(&mut self, asked: Asked) -> Option<Vec<Container>> {
        if let Ok(mut answer) = self.answers.recv_deadline(asked.0) {
            self.under_way = false;
            if let Some(containers) = &mut answer {
                containers.truncate(MAX_CONTAINERS);
            }
            self.last = Some((clock::now(), answer));
        }
        let (at, containers) = self.last.as_ref()?;
        if clock::now().saturating_duration_since(*at) < OLDEST { containers.clone() } else { None }
    }
}
