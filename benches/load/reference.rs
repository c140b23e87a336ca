//! The reference: what a server on this machine could do at best if its work cost nothing.
//!
//! One thread, one epoll loop, non-blocking sockets without Nagle's delay: `epoll_wait`, `recv`, `send`. It understands
//! nothing: a client's first byte says what it is, and from then on frames are counted by their fixed length. Each frame
//! of a caller is answered with one fixed frame; each frame of a publisher makes one `send` of that frame
//! to every subscriber. Frames have the lengths the daemon was seen to use, so both servers move the same bytes.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::client::BUFFER_BYTES;
use crate::frames::server_text;

/// First argument of a process that is to be the reference: `--reference REQUEST_BYTES ANSWER_BYTES`.
pub const FLAG: &str = "--reference";

/// The first byte of a connection; it is sent back once the connection is registered.
pub const CALLER: u8 = b'C';
pub const SUBSCRIBER: u8 = b'S';
pub const PUBLISHER: u8 = b'P';

const LISTENER: u64 = u64::MAX;
const EVENTS_PER_WAIT: usize = 1024;

struct Reference {
    epoll: OwnedFd,
    listener: TcpListener,
    /// Indexed by the number epoll knows the connection by; `None` when it has gone.
    connections: Vec<Option<Connection>>,
    /// Numbers of the subscribers, in order of registration.
    subscribers: Vec<usize>,
    request_bytes: usize,
    answer: Vec<u8>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    role: Option<u8>,
    /// Bytes of a frame that has not arrived entirely.
    partial: usize,
}

/// Serves until killed; `args` are the lengths in bytes of a request frame and of an answer or event frame.
pub fn serve(args: &[String]) -> io::Result<()> {
    let [request_bytes, answer_bytes] = args else {
        return Err(io::Error::other("expected REQUEST_BYTES ANSWER_BYTES"));
    };
    let parse = |text: &String| text.parse::<usize>().map_err(io::Error::other);
    Reference::bind(parse(request_bytes)?, parse(answer_bytes)?)?.run()
}

impl Reference {
    fn bind(request_bytes: usize, answer_bytes: usize) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        println!("listening on http://{}", listener.local_addr()?);
        io::stdout().flush()?;
        Ok(Self {
            epoll,
            listener,
            connections: Vec::new(),
            subscribers: Vec::new(),
            request_bytes: request_bytes.max(1),
            answer: server_text(answer_bytes)?,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_PER_WAIT);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    number => self.receive(number as usize)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let (stream, _) = self.listener.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let number = self.connections.len();
        epoll::add(&self.epoll, &stream, EventData::new_u64(number as u64), EventFlags::IN)?;
        self.connections.push(Some(Connection { stream, role: None, partial: 0 }));
        Ok(())
    }

    fn receive(&mut self, number: usize) -> io::Result<()> {
        let Some(connection) = self.connections[number].as_mut() else {
            return Ok(());
        };
        let count = match recv(&connection.stream, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => {
                self.forget(number);
                return Ok(());
            }
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Some(role) = connection.role else {
            return match self.buffer[0] {
                // A handshake: whatever it says, it is one.
                b'G' => self.send(number),
                role => self.register(number, role),
            };
        };
        let whole = connection.partial + count;
        connection.partial = whole % self.request_bytes;
        for _ in 0..whole / self.request_bytes {
            match role {
                PUBLISHER => self.publish()?,
                _ => self.send(number)?,
            }
        }
        Ok(())
    }

    fn register(&mut self, number: usize, role: u8) -> io::Result<()> {
        if let Some(connection) = self.connections[number].as_mut() {
            connection.role = Some(role);
            connection.stream.write_all(&[role])?;
        }
        if role == SUBSCRIBER {
            self.subscribers.push(number);
        }
        Ok(())
    }

    fn publish(&self) -> io::Result<()> {
        self.subscribers.iter().try_for_each(|&number| self.send(number))
    }

    /// Sends the fixed frame. The generator never leaves enough unread to fill a socket's buffer, so a frame the
    /// kernel does not take whole is the end of an honest measurement. A client that has gone is no error.
    fn send(&self, number: usize) -> io::Result<()> {
        let Some(connection) = &self.connections[number] else {
            return Ok(());
        };
        match send(&connection.stream, &self.answer, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == self.answer.len() => Ok(()),
            Ok(_) => Err(io::Error::other("a frame was not taken whole")),
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Dropping the stream also takes it out of the epoll set.
    fn forget(&mut self, number: usize) {
        self.connections[number] = None;
        self.subscribers.retain(|&subscriber| subscriber != number);
    }
}
