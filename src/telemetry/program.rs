//! Finding a program, and one bounded run of it: limited in time and in output, and cancellable.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::rt::clock;

/// The most a run may print; `vcgencmd` itself has room for no more.
const MAX_OUTPUT_BYTES: usize = 1024;

/// Why a run gave no text.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The program could not be started, or not be listened to.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Anything on stderr counts as a failure, whatever the exit status.
    #[error("it complains: {0}")]
    Complaint(String),
    /// More than a kilobyte.
    #[error("it prints more than {MAX_OUTPUT_BYTES} bytes")]
    TooLong,
    #[error("it prints something that is not UTF-8")]
    NotText,
    /// It was killed.
    #[error("it did not end within {0:?}")]
    Deadline(Duration),
    /// It was killed because the daemon is stopping.
    #[error("it was cancelled")]
    Cancelled,
}

/// Runs `program` with `arguments` and returns what it printed, without trailing blanks. Whatever happens, the
/// program and those it started are gone afterwards. `cancel` becoming readable ends the run.
///
/// # Errors
/// See [`Failure`].
pub fn run(program: &Path, arguments: &[&str], deadline: Duration, cancel: BorrowedFd<'_>) -> Result<String, Failure> {
    let ends = clock::now() + deadline;
    // In a process group of its own, so that children of the program can be ended with it.
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let outcome = listen(&mut child, ends, cancel);
    end(&mut child);
    match outcome? {
        Some(Output { errors, .. }) if !errors.is_empty() => {
            Err(Failure::Complaint(String::from_utf8_lossy(&errors).trim().escape_default().to_string()))
        }
        Some(Output { text, .. }) => {
            String::from_utf8(text).map(|text| text.trim_end().to_owned()).map_err(|_| Failure::NotText)
        }
        None => Err(Failure::Deadline(deadline)),
    }
}

#[derive(Default)]
struct Output {
    text: Vec<u8>,
    errors: Vec<u8>,
}

/// Collects both outputs until they are closed; `None` when it is `ends` before that.
fn listen(child: &mut Child, ends: Instant, cancel: BorrowedFd<'_>) -> Result<Option<Output>, Failure> {
    let mut output = Output::default();
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    while stdout.is_some() || stderr.is_some() {
        let mut fds = vec![PollFd::from_borrowed_fd(cancel, PollFlags::IN)];
        fds.extend(stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        fds.extend(stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        if !wait(&mut fds, ends)? {
            return Ok(None);
        }
        if !fds[0].revents().is_empty() {
            return Err(Failure::Cancelled);
        }
        let ready: Vec<bool> = fds[1..].iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        if stdout.is_some() && ready.next() == Some(true) {
            take(&mut stdout, &mut output.text)?;
        }
        if stderr.is_some() && ready.next() == Some(true) {
            take(&mut stderr, &mut output.errors)?;
        }
    }
    Ok(Some(output))
}

/// Waits until one of `fds` is ready; `false` when it is `ends` before that.
fn wait(fds: &mut [PollFd<'_>], ends: Instant) -> io::Result<bool> {
    loop {
        let left = ends.saturating_duration_since(clock::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(fds, Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes what waits in a pipe that is ready, which therefore does not block; closes it at its end.
fn take(pipe: &mut Option<impl Read>, collected: &mut Vec<u8>) -> Result<(), Failure> {
    let Some(open) = pipe else { return Ok(()) };
    let mut buffer = [0; MAX_OUTPUT_BYTES];
    match open.read(&mut buffer)? {
        0 => *pipe = None,
        length => collected.extend_from_slice(&buffer[..length]),
    }
    if collected.len() > MAX_OUTPUT_BYTES { Err(Failure::TooLong) } else { Ok(()) }
}

/// Kills the program's group and collects the program. One that has closed its outputs has nothing left to say,
/// and one that has ended already is a zombie until it is collected, so its number cannot be someone else's.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    if let Err(error) = child.wait() {
        log::debug!("process {} could not be collected: {error}", child.id());
    }
}

/// The first executable file called `name` in a list of directories such as `PATH`.
pub fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    // Relative directories would make the answer depend on where the daemon was started.
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|file| is_executable(file))
}

/// Whether `file` is one that may be run, by somebody at least.
pub fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};
    use rustix::process::{PidfdFlags, pidfd_open};

    use super::*;
    use crate::telemetry::testing::Tree;

    const AMPLE: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(50);

    fn never() -> OwnedFd {
        eventfd(0, EventfdFlags::CLOEXEC).unwrap()
    }

    fn run_script(body: &str, deadline: Duration) -> Result<String, Failure> {
        let tree = Tree::new();
        let path = tree.script("program", body);
        run(&path, &["one", "two"], deadline, never().as_fd())
    }

    #[test]
    fn what_it_prints_is_returned() {
        assert_eq!(run_script("echo \"$# $2 $1\"", AMPLE).unwrap(), "2 two one");
        assert_eq!(run_script("echo fine; exit 3", AMPLE).unwrap(), "fine", "the exit status is not looked at");
        assert_eq!(run_script("exit 0", AMPLE).unwrap(), "");
    }

    #[test]
    fn complaints_and_excess_are_failures() {
        assert!(
            matches!(run_script("echo value; echo VCHI >&2", AMPLE), Err(Failure::Complaint(text)) if text == "VCHI")
        );
        assert!(matches!(run_script("while :; do echo too much; done", AMPLE), Err(Failure::TooLong)));
        assert!(matches!(run_script("while :; do echo too much; done >&2", AMPLE), Err(Failure::TooLong)));
        assert!(matches!(run_script("printf '\\377\\n'", AMPLE), Err(Failure::NotText)));
        assert!(matches!(run(Path::new("/nonexistent"), &[], AMPLE, never().as_fd()), Err(Failure::Io(_))));
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        assert!(matches!(run_script("exec sleep 600", SHORT), Err(Failure::Deadline(SHORT))));
    }

    #[test]
    fn the_children_of_a_program_end_with_it() {
        let pid = run_script("sleep 600 >/dev/null 2>&1 & echo $!; exec >&- 2>&-; wait", AMPLE).unwrap();
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        // Being killed takes a moment; the kernel says when it is over.
        if let Ok(child) = pidfd_open(pid, PidfdFlags::empty()) {
            let mut fds = [PollFd::new(&child, PollFlags::IN)];
            assert!(wait(&mut fds, Instant::now() + AMPLE).unwrap(), "still there");
        }
    }

    #[test]
    fn closed_outputs_end_the_run_though_the_program_goes_on() {
        assert_eq!(run_script("echo done; exec sleep 600 >&- 2>&-", AMPLE).unwrap(), "done");
    }

    #[test]
    fn a_child_that_holds_the_output_does_not_hold_the_run() {
        assert!(matches!(run_script("sleep 600 & echo done", SHORT), Err(Failure::Deadline(_))));
    }

    #[test]
    fn a_run_can_be_cancelled() {
        let tree = Tree::new();
        let path = tree.script("program", "exec sleep 600");
        let cancel = eventfd(1, EventfdFlags::CLOEXEC).unwrap();
        assert!(matches!(run(&path, &[], AMPLE, cancel.as_fd()), Err(Failure::Cancelled)));
    }

    #[test]
    fn the_path_is_searched_in_its_order() {
        let (first, second) = (Tree::new(), Tree::new());
        let path = std::env::join_paths(["relative".as_ref(), first.path(), second.path()]).unwrap();
        assert_eq!(find("vcgencmd", &path), None);
        let script = second.script("vcgencmd", "");
        assert_eq!(find("vcgencmd", &path), Some(script));
        first.write("vcgencmd", "not executable");
        assert_eq!(find("vcgencmd", &path), Some(second.path().join("vcgencmd")));
    }
}
