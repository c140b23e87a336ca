//! The `vcgencmd` program, run by a thread of its own.
//!
//! The thread starts when the first question is asked, runs all commands once per interval while somebody keeps
//! asking, and otherwise sleeps without waking. Who asks gets the newest answer and waits for none, except for
//! the first one after a sleep, and then not long. So a program that hangs delays nobody: its run is killed at
//! the deadline, and the answer is that there is none.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::event::{EventfdFlags, eventfd};

use super::board::Board;
use super::firmware::{Answer, Question};
use super::program::{self, Failure};
use crate::config;
use crate::rt::clock;
use crate::rt::worker::Worker;

/// How long a session waits for the first value after a sleep. `vcgencmd` needs some milliseconds; a client
/// should have a failure text before it loses patience.
pub const FIRST_VALUE_DEADLINE: Duration = Duration::from_secs(1);

/// How long [`Vcgencmd::stop`] waits for the thread. It ends within milliseconds, unless the killed program is
/// stuck in the kernel.
pub const STOP_DEADLINE: Duration = Duration::from_secs(1);

/// How long after the last question the thread goes on refreshing the answers.
const KEEP_REFRESHING: Duration = Duration::from_secs(60);

/// The program, if there is one, and the thread that runs it, if it was needed.
pub struct Vcgencmd {
    program: Program,
    interval: Duration,
    deadline: Duration,
    keep_refreshing: Duration,
    board: Arc<Board>,
    thread: Mutex<Thread>,
}

/// Where the program is.
enum Program {
    Configured(PathBuf),
    /// To be looked for in `PATH`.
    Anywhere,
    /// A captured tree has no program of its own, and this machine's would not tell about that one.
    Nowhere,
}

enum Thread {
    NotStarted,
    Running {
        /// Wakes it; dropping it ends it.
        wake: Sender<()>,
        /// Ends the run that is under way.
        cancel: Arc<OwnedFd>,
        worker: Worker,
    },
    Stopped,
}

impl Vcgencmd {
    /// Looks for nothing and starts nothing yet.
    pub fn new(root: &Path, settings: &config::Telemetry) -> Vcgencmd {
        let program = match &settings.vcgencmd {
            Some(path) => Program::Configured(path.clone()),
            None if root == Path::new("/") => Program::Anywhere,
            None => Program::Nowhere,
        };
        Vcgencmd {
            program,
            interval: settings.firmware_interval,
            deadline: settings.firmware_deadline,
            keep_refreshing: KEEP_REFRESHING,
            board: Arc::default(),
            thread: Mutex::new(Thread::NotStarted),
        }
    }

    /// The newest answer, at most an interval and the time of the runs old. `None` if there is no program, or
    /// its last run failed, or there is no first answer within [`FIRST_VALUE_DEADLINE`].
    pub fn ask(&self, question: Question) -> Option<Answer> {
        let program = self.program()?;
        let newest = match self.board.ask(question, clock::now()) {
            Some(newest) => newest,
            None => {
                self.wake(program);
                self.board.wait(question, FIRST_VALUE_DEADLINE)
            }
        };
        newest.map(Answer::Text)
    }

    /// Ends the run that may be under way, and the thread; waits for it up to [`STOP_DEADLINE`]. Afterwards
    /// there are no answers.
    pub fn stop(&self) {
        let thread = std::mem::replace(&mut *lock(&self.thread), Thread::Stopped);
        self.board.close();
        let Thread::Running { wake, cancel, worker } = thread else { return };
        drop(wake);
        if let Err(error) = rustix::io::write(&cancel, &1u64.to_ne_bytes()) {
            log::debug!("the vcgencmd run could not be cancelled: {error}");
        }
        worker.join(STOP_DEADLINE);
    }

    fn program(&self) -> Option<PathBuf> {
        match &self.program {
            Program::Configured(path) => program::is_executable(path).then(|| path.clone()),
            Program::Anywhere => std::env::var_os("PATH").and_then(|path| program::find("vcgencmd", &path)),
            Program::Nowhere => None,
        }
    }

    /// Starts the thread if this is the first time, and tells it that somebody waits.
    fn wake(&self, program: PathBuf) {
        let mut thread = lock(&self.thread);
        if let Thread::NotStarted = *thread {
            match self.start(program) {
                Ok(running) => *thread = running,
                Err(error) => return log::debug!("the vcgencmd thread could not be started: {error}"),
            }
        }
        if let Thread::Running { wake, .. } = &*thread {
            // One waiting call is enough; a full channel has it.
            let _ = wake.try_send(());
        }
    }

    fn start(&self, program: PathBuf) -> std::io::Result<Thread> {
        let (wake, woken) = bounded(1);
        let cancel = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let mut runner = Runner {
            program,
            interval: self.interval,
            deadline: self.deadline,
            keep_refreshing: self.keep_refreshing,
            board: Arc::clone(&self.board),
            woken,
            cancel: Arc::clone(&cancel),
            failing: [false; Question::ALL.len()],
        };
        let board = Arc::clone(&self.board);
        // The guard stands inside the worker's own, so a crash costs these answers and not the daemon.
        let worker = Worker::spawn("vcgencmd", move || board.guard(|| runner.run()))?;
        Ok(Thread::Running { wake, cancel, worker })
    }
}

impl Drop for Vcgencmd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread's side.
struct Runner {
    program: PathBuf,
    interval: Duration,
    deadline: Duration,
    keep_refreshing: Duration,
    board: Arc<Board>,
    woken: Receiver<()>,
    cancel: Arc<OwnedFd>,
    /// By question: whether its last run failed. Failures are logged when they begin, not each time.
    failing: [bool; Question::ALL.len()],
}

impl Runner {
    /// Waits to be woken or for the next round to be due, until the waking end is gone.
    fn run(&mut self) {
        let mut due: Option<Instant> = None;
        loop {
            let woken = match due {
                None => self.woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => self.woken.recv_deadline(due),
            };
            match woken {
                Err(RecvTimeoutError::Disconnected) => return,
                // Somebody was waiting for the round that has just ended.
                Ok(()) if due.is_some() => continue,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            }
            due = self.board.is_wanted(clock::now(), self.keep_refreshing).then(|| {
                self.round();
                // From the end of the round, so that a slow program gets a rest too.
                clock::now() + self.interval
            });
        }
    }

    /// Runs each command once. One that hangs spares the others: it is the program that hangs, or the firmware.
    fn round(&mut self) {
        let mut hanging = false;
        for question in Question::ALL {
            if hanging {
                self.board.put(question, None);
                continue;
            }
            let outcome = self.run_one(question);
            hanging = matches!(outcome, Err(Failure::Deadline(_) | Failure::Cancelled));
            self.note(question, &outcome);
            self.board.put(question, outcome.ok());
        }
    }

    fn run_one(&self, question: Question) -> Result<String, Failure> {
        let arguments: Vec<&str> = question.command().split(' ').collect();
        program::run(&self.program, &arguments, self.deadline, self.cancel.as_fd())
    }

    fn note(&mut self, question: Question, outcome: &Result<String, Failure>) {
        let failing = &mut self.failing[question as usize];
        if let Err(failure) = outcome
            && !*failing
        {
            log::debug!("{} {}: {failure}", self.program.display(), question.command());
        }
        *failing = outcome.is_err();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::{LIMIT, Tree, VCGENCMD, eventually, settings};

    const THROTTLED: usize = Question::Throttled as usize;

    fn vcgencmd(tree: &Tree, program: Option<PathBuf>) -> Vcgencmd {
        Vcgencmd::new(tree.path(), &settings(program))
    }

    fn is_started(vcgencmd: &Vcgencmd) -> bool {
        matches!(*lock(&vcgencmd.thread), Thread::Running { .. })
    }

    fn text(text: &str) -> Option<Answer> {
        Some(Answer::Text(text.to_owned()))
    }

    #[test]
    fn each_question_has_its_command() {
        let tree = Tree::new();
        let vcgencmd = vcgencmd(&tree, Some(tree.script("vcgencmd", VCGENCMD)));
        assert!(!is_started(&vcgencmd), "not before the first question");
        eventually(text("throttled=0x50005"), || vcgencmd.ask(Question::Throttled));
        eventually(text("frequency(48)=600169920"), || vcgencmd.ask(Question::ArmClock));
        eventually(text("frequency(1)=250000496"), || vcgencmd.ask(Question::CoreClock));
        eventually(text("temp=48.3'C"), || vcgencmd.ask(Question::Temperature));
    }

    #[test]
    fn without_a_program_there_is_no_thread() {
        let tree = Tree::new();
        tree.write("not-executable", "#!/bin/sh\n");
        for program in [None, Some("nothing"), Some("not-executable")] {
            let vcgencmd = vcgencmd(&tree, program.map(|name| tree.path().join(name)));
            assert_eq!(vcgencmd.ask(Question::Throttled), None);
            assert!(!is_started(&vcgencmd), "{program:?}");
        }
    }

    #[test]
    fn answers_are_refreshed_while_somebody_asks() {
        let tree = Tree::new();
        let script = tree.script("vcgencmd", "cat \"$(dirname \"$0\")/answer\"");
        tree.write("answer", "throttled=0x0\n");
        let mut vcgencmd = vcgencmd(&tree, Some(script));
        vcgencmd.interval = Duration::from_millis(1);
        eventually(text("throttled=0x0"), || vcgencmd.ask(Question::Throttled));
        tree.write("answer", "throttled=0x1\n");
        vcgencmd.board.wait_until(LIMIT, |answers| answers[THROTTLED] == Some(Some("throttled=0x1".to_owned())));
        eventually(text("throttled=0x1"), || vcgencmd.ask(Question::Throttled));
        tree.remove("answer");
        vcgencmd.board.wait_until(LIMIT, |answers| answers[THROTTLED] == Some(None));
        assert_eq!(vcgencmd.ask(Question::Throttled), None, "cat complains, so the old answer is gone");
    }

    #[test]
    fn nobody_asking_sends_it_to_sleep_and_a_question_wakes_it() {
        let tree = Tree::new();
        let mut vcgencmd = vcgencmd(&tree, Some(tree.script("vcgencmd", VCGENCMD)));
        vcgencmd.interval = Duration::from_millis(1);
        vcgencmd.keep_refreshing = Duration::from_secs(1);
        for _ in 0..2 {
            eventually(text("throttled=0x50005"), || vcgencmd.ask(Question::Throttled));
            vcgencmd.board.wait_until(LIMIT, |answers| answers.iter().all(Option::is_none));
        }
    }

    #[test]
    fn a_program_that_hangs_costs_its_first_askers_one_deadline_and_later_ones_nothing() {
        let tree = Tree::new();
        let mut vcgencmd = vcgencmd(&tree, Some(tree.script("vcgencmd", "exec sleep 600")));
        vcgencmd.deadline = Duration::from_millis(100);
        vcgencmd.interval = LIMIT;
        for question in Question::ALL {
            assert_eq!(vcgencmd.ask(question), None);
        }
        // Known to have none; nobody waits again.
        vcgencmd.board.wait_until(LIMIT, |answers| answers.iter().all(|answer| *answer == Some(None)));
    }

    #[test]
    fn stopping_kills_a_program_that_hangs() {
        let tree = Tree::new();
        let vcgencmd = vcgencmd(&tree, Some(tree.script("vcgencmd", "exec sleep 600")));
        let begun = Instant::now();
        assert_eq!(vcgencmd.ask(Question::Throttled), None, "no first value in time");
        assert!(begun.elapsed() >= FIRST_VALUE_DEADLINE);
        let begun = Instant::now();
        vcgencmd.stop();
        assert!(begun.elapsed() < STOP_DEADLINE, "joined, not left behind");
        assert_eq!(vcgencmd.ask(Question::Throttled), None);
        assert!(!is_started(&vcgencmd), "and never started again");
        vcgencmd.stop();
    }
}
