//! A kernel: sockets with small buffers, and an epoll. It takes what there is room for, at times in the middle of a frame;
//! says that there is room once a third is free, as Linux; and its every step is one that others may come before.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use shuttle::sync::{Condvar, Mutex, MutexGuard};

/// One side of a connection: the program's.
pub struct Socket(usize);

/// The other side.
pub struct Peer(usize);

#[derive(Default)]
struct Kernel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    /// By socket: its mark, and whether it is waited for.
    watched: BTreeMap<usize, (u64, bool)>,
    notices: usize,
    now: Duration,
}

/// A connection.
#[derive(Default)]
struct Line {
    /// What may be on its way to the peer, and what is.
    room: usize,
    out: VecDeque<u8>,
    /// What is on its way from the peer.
    back: VecDeque<u8>,
    peer_ended: bool,
    we_ended: bool,
    /// Neither side can do anything any more.
    dead: bool,
}

shuttle::lazy_static! {
    static ref KERNEL: Kernel = Kernel::default();
}

impl Line {
    fn has_room(&self) -> bool {
        self.dead || self.we_ended || (self.room - self.out.len()) * 3 >= self.room
    }

    fn has_bytes(&self) -> bool {
        self.dead || self.peer_ended || !self.back.is_empty()
    }
}

fn kernel() -> MutexGuard<'static, State> {
    KERNEL.state.lock().expect("nobody panics")
}

/// Waits until `look` sees something, or until the time has come.
fn until<T>(time: Option<Duration>, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
    let mut state = kernel();
    loop {
        let seen = look(&mut state);
        if seen.is_some() || time.is_some_and(|time| state.now >= time) {
            return seen;
        }
        state = KERNEL.changed.wait(state).expect("nobody panics");
    }
}

fn change<T>(act: impl FnOnce(&mut State) -> T) -> T {
    let done = act(&mut kernel());
    KERNEL.changed.notify_all();
    done
}

/// Since the beginning.
pub fn passed() -> Duration {
    kernel().now
}

/// Lets time pass.
pub fn pass(time: Duration) {
    change(|state| state.now += time);
}

/// A connection whose buffer holds `room` bytes.
pub fn pair(room: usize) -> (Socket, Peer) {
    let mut state = kernel();
    state.lines.push(Line { room, ..Line::default() });
    (Socket(state.lines.len() - 1), Peer(state.lines.len() - 1))
}

/// How many sockets anybody waits for.
pub fn watched() -> usize {
    kernel().watched.len()
}

impl Socket {
    /// A connection that was reset has nothing to end.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        change(|state| {
            let line = &mut state.lines[self.0];
            line.we_ended |= how != Shutdown::Read;
            line.peer_ended |= how != Shutdown::Write;
            if line.dead { Err(io::ErrorKind::NotConnected.into()) } else { Ok(()) }
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        change(|state| {
            state.lines[self.0].we_ended = true;
            state.watched.remove(&self.0);
        });
    }
}

/// Some bytes, as soon as there are some; none at the end.
impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = until(None, |state| {
            let line = &mut state.lines[self.0];
            let end = line.out.len().min(buf.len());
            line.out.iter().zip(buf.iter_mut()).for_each(|(byte, place)| *place = *byte);
            (end > 0 || line.we_ended || line.dead).then(|| line.out.drain(..end).len())
        });
        KERNEL.changed.notify_all();
        Ok(read.unwrap_or(0))
    }
}

/// What is on its way to the program has no bound.
impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        change(|state| state.lines[self.0].back.extend(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer {

    /// Sends nothing more.
    pub fn end(&self) {
        change(|state| state.lines[self.0].peer_ended = true);
    }

    /// Whether nothing more can come than there is.
    pub fn has_ended(&self) -> bool {
        let line = &kernel().lines[self.0];
        line.we_ended || line.dead
    }

    /// Is gone: what is on its way to it is lost.
    pub fn reset(&self) {
        change(|state| {
            let line = &mut state.lines[self.0];
            line.dead = true;
            line.out.clear();
        });
    }
}

#[derive(Clone, Copy)]
pub struct Reading {
    pub at_once: bool,
    pub peek: bool,
}

#[derive(Clone, Copy)]
pub enum For {
    Bytes,
    Room,
}

pub fn send(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    change(|state| {
        let line = &mut state.lines[socket.0];
        if line.dead || line.we_ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(line.room - line.out.len());
        line.out.extend(&bytes[..taken]);
        Ok(taken)
    })
}

pub fn receive(socket: &Socket, buf: &mut [u8], how: Reading) -> io::Result<Option<usize>> {
    let limit = how.at_once.then_some(Duration::ZERO);
    let got = until(limit, |state| {
        let line = &mut state.lines[socket.0];
        line.has_bytes().then(|| {
            let end = line.back.len().min(buf.len());
            line.back.iter().zip(buf.iter_mut()).for_each(|(byte, place)| *place = *byte);
            line.back.drain(..if how.peek { 0 } else { end });
            end
        })
    });
    Ok(got)
}

pub fn wait(socket: &Socket, what: For, limit: Duration) -> io::Result<bool> {
    let limit = passed() + limit;
    let ready = until(Some(limit), |state| {
        let line = &state.lines[socket.0];
        let ready = match what {
            For::Bytes => line.has_bytes(),
            For::Room => line.has_room(),
        };
        ready.then_some(())
    });
    Ok(ready.is_some())
}

pub fn end_with_reset(socket: &Socket) {
    change(|state| {
        let line = &mut state.lines[socket.0];
        line.dead = true;
        line.out.clear();
    });
}

/// The one there is.
pub struct Watch;

#[derive(Default)]
pub struct Seen(Vec<u64>);

pub const NOTICE: u64 = 0;

impl Watch {
    pub fn new() -> io::Result<Watch> {
        Ok(Watch)
    }

    pub fn add(&self, socket: &Socket, mark: u64) -> io::Result<()> {
        change(|state| state.watched.insert(socket.0, (mark, true)));
        Ok(())
    }

    pub fn again(&self, socket: &Socket, mark: u64) -> io::Result<()> {
        let known = change(|state| state.watched.get_mut(&socket.0).map(|watched| *watched = (mark, true)));
        known.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub fn remove(&self, socket: &Socket) {
        change(|state| state.watched.remove(&socket.0));
    }

    pub fn notify(&self) {
        change(|state| state.notices += 1);
    }

    pub fn wait(&self, seen: &mut Seen, limit: Option<Duration>) -> io::Result<()> {
        let limit = limit.map(|limit| passed() + limit);
        let marks = until(limit, |state| {
            let State { lines, watched, notices, .. } = state;
            let mut marks = Vec::from_iter((*notices > 0).then_some(NOTICE));
            for (socket, (mark, waits)) in watched {
                if *waits && lines[*socket].has_room() {
                    *waits = false;
                    marks.push(*mark);
                }
            }
            (!marks.is_empty()).then_some(marks)
        });
        seen.0 = marks.unwrap_or_default();
        if seen.0.contains(&NOTICE) {
            // A step of its own: who notifies in between is not heard again.
            kernel().notices = 0;
        }
        Ok(())
    }
}

impl Seen {
    pub fn marks(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }
}
