//! What the service manager is told: `sd_notify`, a datagram with a few lines to the socket in `NOTIFY_SOCKET`.
//!
//! Where it has one, the thread `watchdog` tells it of changes, no more often than once in [`STATUS_PAUSE`]; what
//! counts (ready, reloading, stopping) is said by who knows it, and at once.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::status::{Board, Fact};
use super::watchdog::{self, Heard};
use crate::rt::clock;
use crate::rt::pulse::Asked;
use crate::rt::worker::Worker;

/// For a manager whose queue is full; what it did not take then is said no more.
const SEND_LIMIT: Duration = Duration::from_secs(1);

/// Changes of the status within this time are told together.
pub const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// Beyond what a shutdown may take: for the process's own end.
const END_MARGIN: Duration = Duration::from_secs(5);

/// A handle for everyone; one that tells nobody where there is no manager.
#[derive(Default)]
pub struct Notify {
    to: Option<Manager>,
}

struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    board: Mutex<Board>,
    /// The manager does not listen: said once.
    deaf: AtomicBool,
    /// There is news of the status that the thread does not know of yet.
    changed: AtomicBool,
    thread: Mutex<Option<(Sender<Heard>, Worker)>>,
}

/// While it lives, the manager believes that a reload is under way.
pub struct Reloading<'a>(&'a Notify);

impl Notify {
    /// `name` is what `NOTIFY_SOCKET` says: a path, or `@` and a name of the abstract namespace.
    ///
    /// # Errors
    /// Another kind of name, no descriptor to be had.
    pub fn new(name: Option<&OsStr>) -> Result<Notify, String> {
        let Some(name) = name else { return Ok(Notify::default()) };
        let failed = |error: io::Error| format!("NOTIFY_SOCKET={name:?}: {error}; the service manager is told nothing");
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
            [b'/', ..] => SocketAddr::from_pathname(Path::new(name)),
            _ => Err(io::Error::other("it must begin with / or @")),
        };
        let address = address.map_err(failed)?;
        let socket = UnixDatagram::unbound().map_err(failed)?;
        socket.set_write_timeout(Some(SEND_LIMIT)).map_err(failed)?;
        let manager = Manager {
            socket,
            address,
            board: Mutex::default(),
            deaf: AtomicBool::new(false),
            changed: AtomicBool::new(false),
            thread: Mutex::default(),
        };
        Ok(Notify { to: Some(manager) })
    }

    /// Starts to feed the watchdog, where there is one, with what these threads answer; and to tell of the status.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(self: &Arc<Notify>, watchdog: Option<Duration>, threads: Vec<Asked>) -> io::Result<()> {
        let Some(to) = &self.to else { return Ok(()) };
        let (inbox, worker) = watchdog::start(Arc::clone(self), watchdog, threads)?;
        *to.thread() = Some((inbox, worker));
        Ok(())
    }

    /// Everything listens, and the lines are taken. What was going on is over.
    pub fn ready(&self) {
        let Some(to) = &self.to else { return };
        to.board().set(Fact::Doing, String::new());
        to.changed.store(false, Ordering::Release);
        to.say(&format!("READY=1\nSTATUS={}", to.line()));
    }

    /// Something is read again; until the answer is dropped.
    #[must_use]
    pub fn reloading(&self) -> Reloading<'_> {
        if let Some(to) = &self.to {
            to.board().set(Fact::Doing, "reloading".to_owned());
            let micros = clock::monotonic_ns() / 1000;
            to.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
        }
        Reloading(self)
    }

    /// It ends, within `limit`; whatever the unit says of that.
    pub fn stopping(&self, limit: Duration) {
        let Some(to) = &self.to else { return };
        to.board().set(Fact::Doing, "shutting down".to_owned());
        let micros = (limit + END_MARGIN).as_micros();
        // The threads that are asked end one by one from here on. A manager that still counts begins anew.
        to.say(&format!("STOPPING=1\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC={micros}\nSTATUS=shutting down"));
        if let Some((inbox, _)) = &*to.thread() {
            let _ = inbox.try_send(Heard::Stop);
        }
    }

    /// The start may take this long from now on, for this reason.
    pub fn takes(&self, limit: Duration, why: &str) {
        let Some(to) = &self.to else { return };
        to.board().set(Fact::Doing, one_line(why));
        to.say(&format!("EXTEND_TIMEOUT_USEC={}\nSTATUS={}", limit.as_micros(), to.line()));
    }

    /// A part of the status; empty for nothing. It is asked for only where somebody is told, and with the status locked,
    /// so that the last word is the newest. Never waits once the thread runs; before, it is said at once.
    pub fn tell(&self, fact: Fact, text: impl FnOnce() -> String) {
        let Some(to) = &self.to else { return };
        if !to.set(fact, text) || to.changed.swap(true, Ordering::AcqRel) {
            return;
        }
        match &*to.thread() {
            Some((inbox, _)) => drop(inbox.try_send(Heard::Changed)),
            None => self.tell_status(),
        }
    }

    /// Waits for its thread's end. After [`Notify::stopping`].
    pub fn stop(&self, limit: Duration) {
        let thread = self.to.as_ref().and_then(|to| to.thread().take());
        if let Some((_, worker)) = thread {
            worker.join(limit);
        }
    }

    /// Says what the status is, if that has changed.
    pub(super) fn tell_status(&self) {
        let Some(to) = &self.to else { return };
        if to.changed.swap(false, Ordering::AcqRel) {
            to.say(&format!("STATUS={}", to.line()));
        }
    }

    /// As [`Notify::tell`], and says it now.
    pub(super) fn tell_now(&self, fact: Fact, text: impl FnOnce() -> String) {
        let Some(to) = &self.to else { return };
        if to.set(fact, text) {
            to.changed.store(true, Ordering::Release);
            self.tell_status();
        }
    }

    /// All that is asked have answered.
    pub(super) fn feed(&self) {
        if let Some(to) = &self.to {
            to.say("WATCHDOG=1");
        }
    }
}

impl Manager {
    fn say(&self, text: &str) {
        let sent = self.socket.send_to_addr(text.as_bytes(), &self.address);
        match sent {
            Ok(_) => self.deaf.store(false, Ordering::Relaxed),
            Err(error) if self.deaf.swap(true, Ordering::Relaxed) => log::debug!("the service manager: {error}"),
            Err(error) => log::warn!("the service manager cannot be told anything: {error}"),
        }
    }

    /// Whether that is news.
    fn set(&self, fact: Fact, text: impl FnOnce() -> String) -> bool {
        let mut board = self.board();
        board.set(fact, one_line(&text()))
    }

    fn line(&self) -> String {
        self.board().line()
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn thread(&self) -> MutexGuard<'_, Option<(Sender<Heard>, Worker)>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        self.0.ready();
    }
}

/// A line of its own would be another message.
fn one_line(text: &str) -> String {
    crate::types::plain::plain(text).into_owned()
}
