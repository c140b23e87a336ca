//! The reading half of a connection: blocks in the kernel, with a limit, and nowhere else.

use std::io;
use std::time::{Duration, Instant};

use super::Conn;
use crate::rt::clock;
use crate::rt::socket::{self, For, Reading};
use crate::rt::sync::Arc;

/// How long a read may wait.
#[derive(Clone, Copy)]
pub enum Wait {
    /// The socket's own receive timeout, which it has from its listener: one system call a read.
    Steady,
    /// Until this moment.
    Until(Instant),
    /// Not at all.
    No,
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// This many bytes, at least one.
    Data(usize),
    /// The peer sends nothing more.
    End,
    /// Nothing within the wait.
    Nothing,
}

/// Ciphertext read in one system call. A full record is at most 16 KiB + 325 bytes, but rustls joins pieces
/// itself, so a small buffer only costs calls on large messages.
const CIPHERTEXT_BYTES: usize = 4096;

/// The one reader of a connection.
pub struct Reader {
    conn: Arc<Conn>,
    /// Ciphertext on its way from the kernel to rustls; none on a plain connection.
    ciphertext: Option<Box<[u8; CIPHERTEXT_BYTES]>>,
    /// What [`Wait::Steady`] stands for.
    steady: Duration,
}

impl Reader {
    pub fn new(conn: Arc<Conn>, tls: bool) -> Reader {
        Reader { conn, ciphertext: tls.then(|| Box::new([0; CIPHERTEXT_BYTES])), steady: Duration::ZERO }
    }

    /// Says what [`Wait::Steady`] stands for: what the socket's own timeout is.
    pub fn set_steady_wait(&mut self, wait: Duration) {
        self.steady = wait;
    }

    /// Completes the TLS handshake, if there is one to complete.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, `UnexpectedEof` when the peer leaves, `InvalidData` when it does not speak TLS,
    /// `InvalidInput` when what it speaks looks like plain HTTP (nothing was sent then).
    pub fn handshake(&mut self, deadline: Instant) -> io::Result<()> {
        let mut first = [0];
        // A TLS record never begins with a letter, a request line always does.
        if let Got::Data(_) = receive(&self.conn, &mut first, Wait::Until(deadline), true)?
            && first[0].is_ascii_uppercase()
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        while self.conn.lock().handshaking() {
            match self.receive(Wait::Until(deadline))? {
                Got::Data(_) => {}
                Got::End => return Err(io::ErrorKind::UnexpectedEof.into()),
                Got::Nothing => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        Ok(())
    }

    /// Reads into `buf`.
    ///
    /// # Errors
    /// The socket's or TLS's; the connection is of no use then.
    pub fn read(&mut self, buf: &mut [u8], mut wait: Wait) -> io::Result<Got> {
        if self.ciphertext.is_none() {
            return receive_plain(&self.conn, buf, wait);
        }
        loop {
            match self.conn.lock().plaintext(buf)? {
                Some(0) => return Ok(Got::End),
                Some(n) => return Ok(Got::Data(n)),
                None => {}
            }
            match self.receive(wait)? {
                Got::Data(_) => {}
                other => return Ok(other),
            }
            // Pieces of a record are not yet anything that was said: they do not prolong the wait for it.
            if let Wait::Steady = wait {
                wait = Wait::Until(clock::now() + self.steady);
            }
        }
    }

    /// Reads and forgets whatever the peer still sends, until it ends or `deadline`: a socket that is closed with
    /// unread input is reset, and what is on its way to the peer is lost.
    pub fn drain(&mut self, deadline: Instant) {
        let mut rest = [0; 1024];
        // The clock is asked too: a peer that never pauses never lets a read run into its deadline.
        while clock::now() < deadline
            && matches!(receive_plain(&self.conn, &mut rest, Wait::Until(deadline)), Ok(Got::Data(_)))
        {}
    }

    /// One read of ciphertext, handed to rustls. The lock is taken only once the bytes are here.
    fn receive(&mut self, wait: Wait) -> io::Result<Got> {
        let Some(buf) = &mut self.ciphertext else { return Ok(Got::End) };
        let got = receive_plain(&self.conn, &mut buf[..], wait)?;
        if let Got::Data(n) = got {
            let mut outbox = self.conn.lock();
            let before = outbox.waiting();
            outbox.receive(&self.conn.socket, &buf[..n])?;
            self.conn.watch_if_new(before, &outbox);
        }
        Ok(got)
    }
}

fn receive_plain(conn: &Conn, buf: &mut [u8], wait: Wait) -> io::Result<Got> {
    receive(conn, buf, wait, false)
}

fn receive(conn: &Conn, buf: &mut [u8], wait: Wait, peek: bool) -> io::Result<Got> {
    let at_once = match wait {
        Wait::Steady => false,
        Wait::No => true,
        Wait::Until(deadline) => {
            let left = deadline.saturating_duration_since(clock::now());
            match socket::wait(&conn.socket, For::Bytes, left) {
                Ok(false) => return Ok(Got::Nothing),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => true,
            }
        }
    };
    Ok(match socket::receive(&conn.socket, buf, Reading { at_once, peek })? {
        None => Got::Nothing,
        Some(0) => Got::End,
        Some(n) => Got::Data(n),
    })
}
