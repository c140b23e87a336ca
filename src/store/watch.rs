//! What the store's thread waits for: a call, another process at the database's files, and a moment of the wall clock.
//!
//! An idle daemon does not wake: the kernel says when a file changes (inotify) and when the clock reaches a key's expiry,
//! or is set (timerfd). Only where there is no inotify to be had does the thread look again and again.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

/// How often the database is looked at where the kernel does not tell of changes: well within the second that a
/// revocation may take.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Wakes the thread from elsewhere.
#[derive(Clone)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    pub fn new() -> io::Result<Bell> {
        Ok(Bell(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    pub fn ring(&self) {
        // Fails only when the counter is full, and then the thread is about to wake anyway.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// See the module's text.
pub struct Watch {
    bell: Bell,
    /// `None` where the kernel does not tell, or there are none.
    files: Option<OwnedFd>,
    /// Whether there are files that have to be looked at again and again.
    looking: bool,
    alarm: OwnedFd,
    /// For when the alarm is set; `None` while it is not.
    set_for: Option<SystemTime>,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Somebody wrote to, or is done with, a file of the database.
    pub touched: bool,
}

impl Watch {
    /// Without a directory there are no other processes to be noticed.
    ///
    /// # Errors
    /// No descriptors to be had.
    pub fn new(bell: Bell, dir: Option<&Path>) -> io::Result<Watch> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let alarm = timerfd_create(TimerfdClockId::Realtime, flags)?;
        let mut watch = Watch { bell, files: None, looking: false, alarm, set_for: None };
        if let Some(dir) = dir {
            watch.begin(dir);
        }
        Ok(watch)
    }

    /// Notices from now on what other processes do in this directory.
    pub fn begin(&mut self, dir: &Path) {
        let files = watch_files(dir);
        if let Err(error) = &files {
            log::warn!(
                "changes of '{}' are not told by the kernel ({error}); it is looked at twice a second",
                dir.display()
            );
        }
        self.looking = files.is_err();
        self.files = files.ok();
    }

    /// Ends a wait when the wall clock reaches `at`, or is set while that lies ahead.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_alarm(&mut self, at: Option<SystemTime>) -> io::Result<()> {
        if self.set_for == at {
            return Ok(());
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let since = at.map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        let value = since.map_or(zero, |since| Timespec {
            tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            // Zero in all would mean "not set".
            tv_nsec: since.subsec_nanos().max(1).into(),
        });
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&self.alarm, flags, &Itimerspec { it_interval: zero, it_value: value })?;
        self.set_for = at;
        Ok(())
    }

    /// Waits, at most for `limit`.
    ///
    /// # Errors
    /// The kernel's, other than an interruption.
    pub fn wait(&mut self, limit: Option<Duration>) -> io::Result<Woken> {
        let looking = self.looking.then_some(LOOK_INTERVAL);
        let limit = limit.into_iter().chain(looking).min().map(crate::rt::socket::timespec);
        let files = self.files.as_ref().unwrap_or(&self.alarm);
        let mut fds = [&*self.bell.0, &self.alarm, files].map(|fd| PollFd::new(fd, PollFlags::IN));
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [rung, due, touched] = fds.map(|fd| !fd.revents().is_empty());
        if rung {
            let _ = rustix::io::read(&*self.bell.0, &mut [0; 8]);
        }
        if due {
            // Either it has come or the clock was set: both are answered by setting it anew.
            let _ = rustix::io::read(&self.alarm, &mut [0; 8]);
            self.set_for = None;
        }
        let touched = self.files.as_ref().map_or(self.looking, |files| touched && is_ours(files));
        Ok(Woken { touched })
    }
}

/// The directory is watched, not the files: SQLite makes and removes its log.
fn watch_files(dir: &Path) -> io::Result<OwnedFd> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&fd, dir, WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO)?;
    Ok(fd)
}

/// Takes all that the kernel has to tell; whether any of it is about the database.
fn is_ours(files: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut events = inotify::Reader::new(files, &mut buffer);
    let mut ours = false;
    while let Ok(event) = events.next() {
        let named = event.file_name().is_some_and(|name| name.to_bytes().starts_with(super::db::FILE.as_bytes()));
        ours |= named || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
    }
    ours
}
