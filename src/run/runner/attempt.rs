//! One command from its start to its end, as the daemon sees it: a keeper that is spoken to, and a pipe that is read.

use std::io::{self, PipeReader, Read};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use super::output::Output;
use super::spec::{Exit, Reason, Report, Spec};
use crate::rt::clock;
use crate::types::fleet::Outcome;

/// A command that has not ended by then is told of as it goes.
const STREAM_AFTER: Duration = Duration::from_secs(1);
/// The least time between two parts of its output.
const STREAM_EVERY: Duration = Duration::from_millis(250);
/// What a keeper may take besides the command's own time.
const KEEPER_LIMIT: Duration = Duration::from_secs(15);
/// From the keeper's last word to the end of the output: nobody should be left who holds it.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);
/// How long the rest of a keeper's message may take.
const FRAME_LIMIT: Duration = Duration::from_secs(1);
/// A command that prints so many times what is kept of it is ended: somebody has to read it all.
const FLOOD: u64 = 16;

/// Runs a command to its end. `output_bytes` of what it prints are kept; `cancel` becoming readable ends it.
pub fn run(
    program: &Path,
    spec: &Spec,
    output_bytes: usize,
    cancel: BorrowedFd<'_>,
    told: &mut dyn FnMut(usize, &str),
) -> Outcome {
    let began = clock::now();
    let mut attempt = match Attempt::start(program, spec, output_bytes) {
        Ok(attempt) => attempt,
        Err(error) => return Outcome::Failed { message: format!("the command cannot be started: {error}") },
    };
    attempt.listen(cancel, began, told);
    attempt.outcome(began)
}

struct Attempt<'a> {
    spec: &'a Spec,
    keeper: Child,
    control: UnixStream,
    pipe: PipeReader,
    output: Output,
    flood: u64,
    /// The command's group, while it is there.
    group: Option<Pid>,
    report: Option<Report>,
    /// Why we had it ended.
    why: Option<String>,
}

impl Attempt<'_> {
    fn start<'a>(program: &Path, spec: &'a Spec, output_bytes: usize) -> io::Result<Attempt<'a>> {
        let (mut control, theirs) = UnixStream::pair()?;
        let (pipe, printed) = io::pipe()?;
        let keeper = Command::new(program)
            .args(super::KEEP)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(printed.try_clone()?))
            .stderr(Stdio::from(printed))
            .spawn()?;
        control.set_write_timeout(Some(FRAME_LIMIT))?;
        control.set_read_timeout(Some(FRAME_LIMIT))?;
        let sent = spec.send(&mut control);
        let attempt = Attempt {
            spec,
            keeper,
            control,
            pipe,
            output: Output::new(output_bytes),
            flood: (output_bytes as u64).saturating_mul(FLOOD),
            group: None,
            report: None,
            why: None,
        };
        // The keeper ends without it; what it has to say of that is heard then.
        if let Err(error) = sent {
            log::debug!("command: its keeper does not listen: {error}");
        }
        Ok(attempt)
    }

    /// Reads what is printed and what the keeper says, until both have ended.
    fn listen(&mut self, cancel: BorrowedFd<'_>, began: Instant, told: &mut dyn FnMut(usize, &str)) {
        let mut until = began + self.spec.timeout + self.spec.kill_after + KEEPER_LIMIT;
        let mut tell_at = began + STREAM_AFTER;
        let (mut printing, mut talking, mut streamed) = (true, true, false);
        while printing || talking {
            let now = clock::now();
            if now >= until {
                break;
            }
            if now >= tell_at && talking {
                tell_at = now + STREAM_EVERY;
                if let Some((offset, text)) = self.output.news() {
                    streamed = true;
                    told(offset, text);
                }
            }
            let wake = if self.output.has_news() && talking { until.min(tell_at) } else { until };
            let left = Timespec::try_from(wake.saturating_duration_since(now)).ok();
            // An empty set of events: only errors are told, and those there are none.
            let interest = |wanted: bool| if wanted { PollFlags::IN } else { PollFlags::empty() };
            let mut fds = [
                PollFd::new(&self.pipe, interest(printing)),
                PollFd::new(&self.control, interest(talking)),
                PollFd::from_borrowed_fd(cancel, interest(self.why.is_none())),
            ];
            if let Err(error) = poll(&mut fds, left.as_ref())
                && error != rustix::io::Errno::INTR
            {
                log::warn!("command: its output cannot be waited for: {error}");
                break;
            }
            let [print, talk, cancelled] = fds.map(|fd| !fd.revents().is_empty());
            if print && printing {
                printing = self.read();
            }
            if cancelled && self.why.is_none() {
                self.end("the daemon is stopping".to_owned());
            }
            if talk && talking {
                talking = self.hear();
                if !talking {
                    until = clock::now() + DRAIN_LIMIT;
                }
            }
        }
        self.output.end();
        if streamed && let Some((offset, text)) = self.output.news() {
            told(offset, text);
        }
    }

    /// Reads what is there; whether more may come.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.pipe.read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => self.output.take(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
        if self.output.seen() > self.flood && self.why.is_none() {
            self.end(format!("it prints more than {} bytes", self.flood));
        }
        true
    }

    /// Hears what the keeper says; whether more may come.
    fn hear(&mut self) -> bool {
        match Report::receive(&mut self.control) {
            Ok(Some(Report::Started(pid))) => self.group = Pid::from_raw(pid),
            Ok(Some(report)) => self.report = Some(report),
            Ok(None) => return false,
            Err(error) => {
                log::warn!("command: its keeper cannot be understood: {error}");
                return false;
            }
        }
        true
    }

    /// Has the command ended.
    fn end(&mut self, why: String) {
        self.why = Some(why);
        let _ = self.control.shutdown(Shutdown::Write);
    }

    fn outcome(mut self, began: Instant) -> Outcome {
        let duration_ms = u64::try_from(clock::now().saturating_duration_since(began).as_millis()).ok();
        if self.report.is_none() {
            // Somebody killed it, or it hangs. The command's first process dies with it; its group has to be told.
            if let Some(group) = self.group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = self.keeper.kill();
        }
        // It has said its last word or was killed: it ends at once.
        if let Err(error) = self.keeper.wait() {
            log::debug!("command: its keeper could not be collected: {error}");
        }
        let (how, ended, left) = match self.report {
            Some(Report::Ended { how, ended, left }) => (how, ended, left),
            Some(Report::Failed(why)) => return Outcome::Failed { message: why },
            Some(Report::Started(_)) | None => {
                return Outcome::Failed { message: "the command was lost: its keeper was killed".into() };
            }
        };
        let why = match (ended, self.why) {
            (Some(Reason::Timeout), _) => {
                let tenths = u64::try_from(self.spec.timeout.as_millis().div_ceil(100)).unwrap_or(u64::MAX);
                let timeout = Duration::from_millis(tenths.saturating_mul(100));
                Some(format!("it did not end within {}", humantime::format_duration(timeout)))
            }
            (Some(Reason::Told), why) => Some(why.unwrap_or_else(|| "the daemon had it ended".to_owned())),
            (None, _) => None,
        };
        if let Some(why) = &why {
            self.output.note(&format!("[pinwire: ended, {why}]"));
        }
        if left > 0 {
            log::warn!("command '{}': {left} of its processes cannot be killed", self.spec.argv.join(" "));
            self.output.note(&format!("[pinwire: {left} of its processes cannot be killed]"));
        }
        let (output, truncated) = self.output.finish();
        let exit_code = match how {
            // One that ends well when it is told to has not done what it was for.
            Exit::Code(code) if why.is_none() => code,
            Exit::Code(_) | Exit::Signal(_) => -1,
        };
        Outcome::Command { output, truncated, exit_code, duration_ms }
    }
}
