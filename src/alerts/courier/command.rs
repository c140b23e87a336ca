//! One run of the command: limited in time, with the alert on stdin, and ended with all it has started.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::Notice;
use crate::config::{Blank, Notifier, Part};
use crate::rt::clock;

/// What it says on stderr, for the log; the rest is read and forgotten.
const ERROR_BYTES: usize = 1024;

/// All it has of an environment: the daemon's own may hold an API key.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs it. Whatever happens, it and those it started are gone afterwards.
///
/// # Errors
/// It could not be started, did not end in time, or says that it failed.
pub fn run(config: &Notifier, notice: &Notice, cancel: BorrowedFd<'_>) -> Result<(), String> {
    let ends = clock::now() + config.timeout;
    let mut child = Command::new(&config.program)
        .args(config.arguments.iter().map(|pieces| argument(pieces, notice)))
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // So that children of the program can be ended with it.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let mut said = Vec::new();
    let ended = attend(&mut child, &notice.json, &mut said, ends, cancel);
    if let Some(group) = pid(&child) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait();
    let said = String::from_utf8_lossy(&said).trim().escape_default().to_string();
    match (ended, status) {
        (Ok(true), Ok(status)) if status.success() => Ok(()),
        (Ok(true), Ok(status)) => Err(format!("{status}: {said}")),
        (Ok(false), _) => Err(format!("did not end within {}", humantime::format_duration(config.timeout))),
        (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Feeds it and listens until it has ended; `false` when it is `ends` before that.
fn attend(
    child: &mut Child,
    input: &[u8],
    said: &mut Vec<u8>,
    ends: Instant,
    cancel: BorrowedFd<'_>,
) -> io::Result<bool> {
    let process = pidfd_open(pid(child).ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty())?;
    let (mut stdin, mut stderr) = (child.stdin.take(), child.stderr.take());
    stdin.as_ref().map(|pipe| ioctl_fionbio(pipe, true)).transpose()?;
    stderr.as_ref().map(|pipe| ioctl_fionbio(pipe, true)).transpose()?;
    let mut input = input;
    loop {
        let mut fds = vec![PollFd::from_borrowed_fd(cancel, PollFlags::IN), PollFd::new(&process, PollFlags::IN)];
        fds.extend(stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        fds.extend(stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        if !wait(&mut fds, ends)? {
            return Ok(false);
        }
        if !fds[0].revents().is_empty() {
            return Err(io::Error::other("the daemon ends"));
        }
        let ended = !fds[1].revents().is_empty();
        drop(fds);
        feed(&mut stdin, &mut input);
        listen(&mut stderr, said);
        if ended {
            return Ok(true);
        }
    }
}

/// Waits until one of `fds` is ready; `false` when it is `ends` before that.
fn wait(fds: &mut [PollFd<'_>], ends: Instant) -> io::Result<bool> {
    loop {
        let left: Duration = ends.saturating_duration_since(clock::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(fds, Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes what there is room for. A program need not read it.
fn feed(pipe: &mut Option<ChildStdin>, input: &mut &[u8]) {
    let Some(open) = pipe else { return };
    match open.write(input) {
        Ok(length) => *input = &input[length..],
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
        Err(_) => *input = &[],
    }
    if input.is_empty() {
        *pipe = None;
    }
}

/// Takes what waits, and keeps its beginning.
fn listen(pipe: &mut Option<ChildStderr>, said: &mut Vec<u8>) {
    let Some(open) = pipe else { return };
    let mut buf = [0; ERROR_BYTES];
    match open.read(&mut buf) {
        Ok(0) => *pipe = None,
        Ok(length) => said.extend(buf[..length].iter().take(ERROR_BYTES - said.len())),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
        Err(_) => *pipe = None,
    }
}

/// An argument with its blanks filled in. What comes first in it cannot make an option of it: whoever may name a
/// server must not choose the options of a program.
fn argument(pieces: &[Part], notice: &Notice) -> String {
    let mut argument = String::new();
    for piece in pieces {
        match piece {
            Part::Text(text) => argument.push_str(text),
            Part::Blank(blank) => {
                let filled = fill(*blank, notice);
                let plain = filled.chars().map(|c| if c.is_control() { ' ' } else { c });
                let first = argument.is_empty();
                argument.extend(plain.enumerate().map(|(at, c)| if first && at == 0 && c == '-' { '_' } else { c }));
            }
        }
    }
    argument
}

fn fill(blank: Blank, notice: &Notice) -> String {
    let alert = &notice.alert;
    let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
    match blank {
        Blank::Change => notice.change.as_str().to_owned(),
        Blank::Severity => alert.severity.as_str().to_owned(),
        Blank::Kind => alert.kind.as_str().to_owned(),
        Blank::Message => alert.message.clone(),
        Blank::Server => notice.server_name.to_string(),
        Blank::ServerId => alert.server_id.clone(),
        Blank::Id => alert.id.clone(),
        Blank::Value => number(alert.current_value),
        Blank::Threshold => number(alert.threshold),
    }
}
