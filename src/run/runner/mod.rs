//! Commands, a few at a time: the daemon's side, and how it comes to be the other two processes.

mod account;
mod attempt;
mod keeper;
mod launch;
mod output;
mod spec;
mod template;
mod tree;
mod words;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rustix::event::{EventfdFlags, eventfd};

use super::Watcher;
use crate::config::Commands;
use crate::rt::clock;
use crate::rt::worker::Worker;
use crate::types::fleet::Outcome;
use spec::Spec;

/// How the daemon calls itself as a keeper, and the keeper as a launcher.
const KEEP: [&str; 2] = [INNER, "keep"];
const LAUNCH: [&str; 2] = [INNER, "launch"];
const INNER: &str = "run-command";

/// What a keeper or launcher does, where these arguments are theirs. To be asked before anything else in `main`: they
/// are not for people.
pub fn inner_main(arguments: &[std::ffi::OsString]) -> Option<u8> {
    match arguments {
        [_, inner, what] if inner == INNER && what == "keep" => Some(keeper::main()),
        [_, inner, what] if inner == INNER && what == "launch" => Some(launch::main()),
        _ => None,
    }
}

/// A command that may be run.
#[derive(Clone, Debug)]
pub struct Ready {
    spec: Spec,
    /// From now until nobody waits for it any more.
    within: Option<Duration>,
    output_bytes: usize,
}

impl Ready {
    /// Who gave it waits so long, from now: its turn has to come and it has to end by then.
    #[must_use]
    pub fn within(self, within: Option<Duration>) -> Ready {
        Ready { within, ..self }
    }
}

struct Job {
    ready: Ready,
    /// Nobody waits for it any more then.
    until: Option<Instant>,
    watcher: Box<dyn Watcher>,
}

/// Runs commands, a few at a time.
pub struct Runner {
    config: RwLock<Arc<Commands>>,
    queue: Mutex<Option<Sender<Box<Job>>>>,
    workers: Mutex<Vec<Worker>>,
    cancel: Arc<OwnedFd>,
}

impl Runner {
    /// `program` is the one whose `main` asks [`inner_main`]: [`OWN_PROGRAM`](super::OWN_PROGRAM), but for tests. Where nothing is allowed
    /// there are no threads.
    ///
    /// # Errors
    /// The system's refusal of a thread or a descriptor.
    pub fn start(config: &Commands, program: &Path) -> io::Result<Runner> {
        let config = Arc::new(config.clone());
        let cancel = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let (sender, jobs) = bounded::<Box<Job>>(config.queue);
        let mut workers = Vec::new();
        if config.enabled() {
            if let Err(why) = account::identity(&config, config.user.as_deref()) {
                log::warn!("commands will be refused: {why}");
            }
            for _ in 0..config.max_running {
                let (jobs, cancel) = (jobs.clone(), Arc::clone(&cancel));
                let program: PathBuf = program.to_owned();
                workers.push(Worker::spawn("run", move || work(&jobs, &program, &cancel))?);
            }
        }
        Ok(Runner {
            config: RwLock::new(config),
            queue: Mutex::new(Some(sender)),
            workers: Mutex::new(workers),
            cancel,
        })
    }

    /// Takes other rules for what comes from now on; how many run at a time and how many may wait stays. Says whether
    /// that was possible: where nothing was allowed at the start there are no threads.
    pub fn replace(&self, config: &Commands) -> bool {
        let old = self.config();
        if config.enabled() && self.workers.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return false;
        }
        let config = Commands { max_running: old.max_running, queue: old.queue, ..config.clone() };
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        true
    }

    /// Whether anything may be run at all.
    pub fn enabled(&self) -> bool {
        self.config().enabled()
    }

    fn config(&self) -> Arc<Commands> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this text is a command that may be run.
    ///
    /// # Errors
    /// Why not: it is to be reported as denied.
    pub fn check(&self, command: &str) -> Result<Ready, String> {
        let config = self.config();
        let prepared = template::prepare(&config, command)?;
        let identity = account::identity(&config, prepared.user.as_deref())?;
        let directory = config.directory.to_string_lossy().into_owned();
        let spec = Spec {
            argv: prepared.argv,
            directory,
            identity,
            timeout: prepared.timeout,
            kill_after: config.kill_after,
            limits: config.limits,
        };
        Ok(Ready { spec, within: None, output_bytes: config.output_bytes })
    }

    /// Queues a command; never waits. What is sooner over than its turn comes is not run.
    pub fn run(&self, ready: Ready, watcher: Box<dyn Watcher>) {
        let until = ready.within.map(|within| clock::now() + within);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refused = match queue.map(|queue| queue.try_send(Box::new(Job { ready, until, watcher }))) {
            Some(Ok(())) => return,
            Some(Err(TrySendError::Full(job))) => {
                let config = self.config();
                let (running, waiting) = (config.max_running, config.queue);
                let message = format!("too many commands: {running} run and {waiting} wait, try again later");
                Some((job.watcher, message))
            }
            Some(Err(TrySendError::Disconnected(job))) => Some((job.watcher, STOPPING.to_owned())),
            None => None,
        };
        if let Some((watcher, message)) = refused {
            watcher.ended(Outcome::Failed { message });
        }
    }

    /// Ends what runs, refuses what waits, and waits for that, at most `limit`.
    pub fn stop(&self, limit: Duration) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Err(error) = rustix::io::write(&*self.cancel, &1u64.to_ne_bytes()) {
            log::warn!("commands that run cannot be told to end: {error}");
        }
        let until = clock::now() + limit;
        for worker in self.workers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            worker.join(until.saturating_duration_since(clock::now()));
        }
    }
}

const STOPPING: &str = "the daemon is stopping";

fn work(jobs: &Receiver<Box<Job>>, program: &Path, cancel: &OwnedFd) {
    for job in jobs {
        let Job { mut ready, until, mut watcher } = *job;
        let left = until.map(|until| until.saturating_duration_since(clock::now()));
        let is_stopping = is_readable(cancel);
        if is_stopping || left.is_some_and(|left| left.is_zero()) {
            let message = if is_stopping { STOPPING } else { "its time was over before its turn came" };
            watcher.ended(Outcome::Failed { message: message.into() });
            continue;
        }
        if let Err(outcome) = watcher.starting() {
            watcher.ended(outcome);
            continue;
        }
        ready.spec.timeout = left.map_or(ready.spec.timeout, |left| left.min(ready.spec.timeout));
        let outcome = attempt::run(program, &ready.spec, ready.output_bytes, cancel.as_fd(), &mut |offset, text| {
            watcher.output(offset, text);
        });
        watcher.ended(outcome);
    }
}

fn is_readable(fd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0)
}
