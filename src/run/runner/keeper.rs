//! The keeper: our own binary once more, the parent of one command and of all it leaves behind.
//!
//! It is a subreaper: whatever the command starts stays its descendant, also what leaves the group and the session. When
//! the time is over, when the command ends, or when the daemon is gone, it ends them all. It keeps the daemon's user,
//! which a command that runs as somebody else cannot touch.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, set_child_subreaper, wait};

use super::spec::{Exit, Reason, Report, Spec};
use super::tree;
use crate::rt::clock;

/// How often those that are left are looked for again while no end is reported.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A process the kernel does not let go of for this long is given up.
const GIVE_UP: Duration = Duration::from_secs(3);
/// Stopping comes before killing: what is stopped starts nothing new, and holds its place under the limit.
const STOP_ROUNDS: u32 = 50;
/// From the start of the launcher to the start of the command; it is only system calls.
const LAUNCH_LIMIT: Duration = Duration::from_secs(10);

/// Keeps the command that is described on standard input; its output is ours.
pub fn main() -> u8 {
    let daemon = rustix::io::fcntl_dupfd_cloexec(std::io::stdin().as_fd(), 3).map(UnixStream::from);
    let Ok(mut daemon) = daemon else { return 1 };
    let report = keep(&mut daemon).unwrap_or_else(|error| Report::Failed(error.to_string()));
    let sent = report.send(&mut daemon);
    // Who reads knows then that nothing more comes, whatever still holds a copy.
    let _ = daemon.shutdown(Shutdown::Write);
    u8::from(sent.is_err())
}

fn keep(daemon: &mut UnixStream) -> io::Result<Report> {
    let spec = Spec::receive(daemon)?;
    // A terminal's signals are not for the command.
    rustix::process::setsid()?;
    set_child_subreaper(Some(getpid()))?;
    let (ends, notice) = UnixStream::pair()?;
    ends.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, notice)?;

    let (mut launcher, theirs) = UnixStream::pair()?;
    let child = Command::new("/proc/self/exe")
        .args(super::LAUNCH)
        .env_clear()
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .process_group(0)
        .spawn()?;
    let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no pid"))?;
    let mut family = Family { leader, ends, exit: None };
    spec.send(&mut launcher)?;
    // The launcher's end of this closes when it becomes the command.
    launcher.set_read_timeout(Some(LAUNCH_LIMIT))?;
    let mut why = String::new();
    let read = launcher.read_to_string(&mut why);
    if read.is_err() || !why.is_empty() {
        family.end_all();
        return Ok(Report::Failed(if why.is_empty() { "the launcher hangs".into() } else { why }));
    }
    Report::Started(leader.as_raw_nonzero().get()).send(daemon)?;

    let ended = family.watch(daemon, clock::now() + spec.timeout);
    if ended.is_some() && family.exit.is_none() {
        // It is not collected, so its number is still the group's.
        let _ = kill_process_group(leader, Signal::TERM);
        family.wait_for_leader(clock::now() + spec.kill_after);
    }
    let left = family.end_all();
    // Where even the leader does not go, it has been killed all the same.
    let how = family.exit.unwrap_or(Exit::Signal(Signal::KILL.as_raw()));
    Ok(Report::Ended { how, ended, left })
}

struct Family {
    leader: Pid,
    /// Readable when a child has ended.
    ends: UnixStream,
    /// The leader's end.
    exit: Option<Exit>,
}

impl Family {
    /// Waits for the leader's end; otherwise tells what came before it.
    fn watch(&mut self, daemon: &UnixStream, until: Instant) -> Option<Reason> {
        loop {
            self.collect();
            if self.exit.is_some() {
                return None;
            }
            let mut fds = [PollFd::new(&self.ends, PollFlags::IN), PollFd::new(daemon, PollFlags::IN)];
            let Some(left) = left(until) else { return Some(Reason::Timeout) };
            let _ = poll(&mut fds, Some(&left));
            // The daemon says nothing more: whatever is there is its end.
            if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
                return Some(Reason::Told);
            }
        }
    }

    fn wait_for_leader(&mut self, until: Instant) {
        loop {
            self.collect();
            if self.exit.is_some() || !self.wait_for_an_end(until) {
                return;
            }
        }
    }

    /// Ends all there are, and returns how many the kernel did not let go of.
    fn end_all(&mut self) -> usize {
        let until = clock::now() + GIVE_UP;
        let mut round = 0;
        loop {
            self.collect();
            let all = tree::descendants();
            if all.is_empty() {
                self.collect();
                return 0;
            }
            round += 1;
            let moving = all.iter().filter(|member| !member.stopped);
            if round <= STOP_ROUNDS && moving.clone().next().is_some() {
                moving.for_each(|member| tree::signal(*member, Signal::STOP));
                continue;
            }
            // From here on nobody is spared, also who appears now.
            round = STOP_ROUNDS;
            all.iter().for_each(|member| tree::signal(*member, Signal::KILL));
            if clock::now() >= until {
                return all.len();
            }
            self.wait_for_an_end(until.min(clock::now() + LOOK_AGAIN));
        }
    }

    /// Collects the children that have ended.
    fn collect(&mut self) {
        let mut told = [0; 64];
        while self.ends.read(&mut told).is_ok_and(|length| length > 0) {}
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.leader {
                self.exit = Some(exit(status));
            }
        }
    }

    /// Whether one may have come before it is `until`.
    fn wait_for_an_end(&self, until: Instant) -> bool {
        let Some(left) = left(until) else { return false };
        let mut fds = [PollFd::new(&self.ends, PollFlags::IN)];
        poll(&mut fds, Some(&left)).is_ok_and(|ready| ready > 0)
    }
}

fn exit(status: WaitStatus) -> Exit {
    match status.terminating_signal() {
        Some(signal) => Exit::Signal(signal),
        None => Exit::Code(status.exit_status().unwrap_or(-1)),
    }
}

/// What is left until then; `None` when it is over.
fn left(until: Instant) -> Option<Timespec> {
    let left = until.saturating_duration_since(clock::now());
    if left.is_zero() { None } else { Timespec::try_from(left).ok() }
}
