//! A connection of the program's, and what its peer reads.

use std::io::Read;
use std::time::Duration;

use crate::config;
use crate::conn::{Conn, Shared, Tls};
use crate::rt::socket::{self, Peer};
use crate::rt::sync::Arc;

/// What connections share, with room for so many bytes each and so many in all.
pub fn shared(backlog_bytes: usize, total_backlog_bytes: usize) -> Arc<Shared> {
    let limits = config::Session { backlog_bytes, total_backlog_bytes, ..config::Session::default() };
    Arc::new(Shared::new(&limits).expect("a flusher"))
}

/// A connection whose socket holds `room` bytes.
pub fn pair(shared: &Arc<Shared>, room: usize) -> (Arc<Conn>, Peer) {
    pair_over(shared, room, None)
}

/// The same over TLS.
pub fn pair_over(shared: &Arc<Shared>, room: usize, tls: Option<&Tls>) -> (Arc<Conn>, Peer) {
    let (socket, peer) = socket::pair(room);
    let address = ([127, 0, 0, 1], 1).into();
    let session = tls.map(|tls| tls.session().expect("a session"));
    (Conn::new(socket, address, session, Arc::clone(shared)), peer)
}

/// A line of its own length: who wrote it, and its number.
pub fn frame(who: char, number: usize) -> Vec<u8> {
    format!("{who}{number}{}\n", ".".repeat(number * 3 % 7)).into_bytes()
}

/// Frames as they come in, one at a time.
pub struct Reading<P> {
    peer: P,
    /// Bytes it takes in one go.
    piece: usize,
    bytes: Vec<u8>,
}

/// A peer's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    Line(String),
    /// A Close frame, with its code.
    Close(u16),
    /// The end; with what there was of a frame.
    End(Vec<u8>),
}

impl<P: Read> Reading<P> {
    pub fn new(peer: P, piece: usize) -> Reading<P> {
        Reading { peer, piece, bytes: Vec::new() }
    }

    pub fn next(&mut self) -> Came {
        loop {
            if let Some(came) = self.take() {
                return came;
            }
            let mut more = vec![0; self.piece];
            let got = self.peer.read(&mut more).expect("a good end");
            if got == 0 {
                return Came::End(std::mem::take(&mut self.bytes));
            }
            self.bytes.extend(&more[..got]);
        }
    }

    /// Everything, until it ends.
    pub fn rest(&mut self) -> (Vec<Came>, Vec<u8>) {
        let mut all = Vec::new();
        loop {
            match self.next() {
                Came::End(torn) => return (all, torn),
                came => all.push(came),
            }
        }
    }

    pub fn peer(&self) -> &P {
        &self.peer
    }

    fn take(&mut self) -> Option<Came> {
        // A server's Close: 0x88, its length, its code, its reason.
        if let [0x88, length, ..] = self.bytes[..] {
            let end = 2 + usize::from(length);
            let frame: Vec<u8> = (self.bytes.len() >= end).then(|| self.bytes.drain(..end).collect())?;
            return Some(Came::Close(u16::from_be_bytes([frame[2], frame[3]])));
        }
        let end = self.bytes.iter().position(|byte| *byte == b'\n')? + 1;
        let line = self.bytes.drain(..end).collect();
        Some(Came::Line(String::from_utf8(line).expect("lines are text").trim_end().to_owned()))
    }
}

/// Numbers of `who`'s lines, in the order they came; each is whole.
pub fn numbers(came: &[Came], who: char) -> Vec<usize> {
    let number = |came: &Came| {
        let Came::Line(line) = came else { return None };
        let number = line.strip_prefix(who)?.trim_end_matches('.').parse().expect("a number");
        assert_eq!(format!("{line}\n").into_bytes(), frame(who, number), "it came as it was sent");
        Some(number)
    };
    came.iter().filter_map(number).collect()
}

/// When all connections are gone: nobody is waited for, and nothing is taken from the budget.
pub fn nothing_is_left(shared: &Shared) {
    // It may hold one for a last time.
    shared.flusher.stop(Duration::from_secs(1));
    assert_eq!((socket::watched(), shared.budget.used()), (0, 0), "sockets watched, bytes taken");
}
