//! What the kernel does for a connection: takes bytes, brings bytes, and says when it will do either. By itself, so that a
//! test can put another kernel in its place (`tests/orders`).

use std::io;
pub use std::net::TcpStream as Socket;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// How a read waits, and whether it takes what it brings.
#[derive(Clone, Copy)]
pub struct Reading {
    /// Not at all, rather than for the socket's own limit.
    pub at_once: bool,
    pub peek: bool,
}

/// One non-blocking send; 0 when the kernel's buffer is full.
///
/// # Errors
/// The socket's.
pub fn send(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => return Ok(sent),
            Err(Errno::AGAIN) => return Ok(0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// One read; `None` when nothing came, 0 bytes when nothing will.
///
/// # Errors
/// The socket's.
pub fn receive(socket: &Socket, buf: &mut [u8], how: Reading) -> io::Result<Option<usize>> {
    let mut flags = if how.at_once { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
    flags.set(RecvFlags::PEEK, how.peek);
    loop {
        match rustix::net::recv(socket, &mut *buf, flags) {
            Ok((_, n)) => return Ok(Some(n)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a socket is waited for.
#[derive(Clone, Copy)]
pub enum For {
    Bytes,
    Room,
}

/// Waits for one socket; `false` when nothing was seen within the limit.
///
/// # Errors
/// The kernel's. `Interrupted`, by a signal, is the caller's to judge.
pub fn wait(socket: &Socket, what: For, limit: Duration) -> io::Result<bool> {
    let wanted = match what {
        For::Bytes => PollFlags::IN,
        For::Room => PollFlags::OUT,
    };
    Ok(poll(&mut [PollFd::new(socket, wanted)], Some(&timespec(limit)))? != 0)
}

/// Makes the end of the socket a reset: a peer that is stuck in sending would learn of another end a minute later.
pub fn end_with_reset(socket: &Socket) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// Waits for room in any number of sockets, each until it is there once, and for being notified.
pub struct Watch {
    epoll: OwnedFd,
    notice: OwnedFd,
}

/// Which sockets have room, by their marks; [`NOTICE`] among them.
#[derive(Default)]
pub struct Seen(Vec<epoll::Event>);

/// Nobody's mark: [`Watch::notify`] was called.
pub const NOTICE: u64 = 0;

/// Seen in one go.
const MOST_SEEN: usize = 64;

impl Watch {
    /// # Errors
    /// No descriptors to be had.
    pub fn new() -> io::Result<Watch> {
        let watch = Watch {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            notice: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        };
        epoll::add(&watch.epoll, &watch.notice, EventData::new_u64(NOTICE), EventFlags::IN)?;
        Ok(watch)
    }

    /// Waits for room in `socket`, once; also if it was waited for before.
    ///
    /// # Errors
    /// The kernel's, out of memory.
    pub fn add(&self, socket: &Socket, mark: u64) -> io::Result<()> {
        match epoll::add(&self.epoll, socket, EventData::new_u64(mark), ONCE) {
            Err(Errno::EXIST) => self.again(socket, mark),
            other => Ok(other?),
        }
    }

    /// Waits once more for room in a socket that was added.
    ///
    /// # Errors
    /// It was not.
    pub fn again(&self, socket: &Socket, mark: u64) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(mark), ONCE)?)
    }

    /// Waits no more for a socket that was added.
    pub fn remove(&self, socket: &Socket) {
        let _ = epoll::delete(&self.epoll, socket);
    }

    /// Ends the wait of whoever waits, or the next one.
    pub fn notify(&self) {
        // Fails only when the counter is full, and then the thread is about to wake anyway.
        let _ = rustix::io::write(&self.notice, &1_u64.to_ne_bytes());
    }

    /// Waits, at most `limit`.
    ///
    /// # Errors
    /// The kernel's; a signal is none.
    pub fn wait(&self, seen: &mut Seen, limit: Option<Duration>) -> io::Result<()> {
        seen.0.clear();
        seen.0.reserve(MOST_SEEN);
        let limit = limit.map(timespec);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut seen.0), limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if seen.marks().any(|mark| mark == NOTICE) {
            let _ = rustix::io::read(&self.notice, &mut [0; 8]);
        }
        Ok(())
    }
}

impl Seen {
    pub fn marks(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|event| event.data.u64())
    }
}

const ONCE: EventFlags = EventFlags::OUT.union(EventFlags::ONESHOT);

/// A wait's length in the kernel's form.
pub fn timespec(wait: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(wait.subsec_nanos()) }
}
