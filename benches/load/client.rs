//! One connection of the generator, to either server, with the same calls on the hot path for both.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::Result;
use crate::frames::{Counter, Speech, client_text, mqtt_packet, mqtt_text};
use crate::reference;
use crate::server::{Kind, Server};

/// How long a server may leave the generator without the bytes it waits for.
pub const STALL_LIMIT: Duration = Duration::from_secs(5);

/// How long a group of connections may take to be opened.
const OPEN_MANY_LIMIT: Duration = Duration::from_secs(30);

/// Room for everything one connection can have waiting; never the reason for a second `recv`.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// The one event of the fan-out. Not below a prefix that belongs to the daemon itself.
pub const EVENT: &str = "bench";

/// The example of RFC 6455: any key will do, and the answer to this one is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a connection is for: a path for the daemon, one letter for the reference.
#[derive(Clone, Copy)]
pub enum Role {
    Caller,
    /// Comes as a subscriber and has asked for nothing yet.
    Listener(usize),
    /// Speaks Endrpi and has asked for the event: such a client loses events if it does not keep up, and stays.
    Spectator,
    Subscriber(usize),
    Publisher(usize),
}

pub struct Client {
    stream: TcpStream,
    frames: Counter,
}

impl Client {
    /// Connects and introduces itself. A subscriber of the daemon has asked for [`EVENT`] then, but there is no
    /// acknowledgement to wait for.
    pub fn open(server: &Server, role: Role) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server.address, STALL_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL_LIMIT))?;
        stream.set_write_timeout(Some(STALL_LIMIT))?;
        let mut client = Self { stream, frames: Counter::new(server.kind.speech()) };
        match server.kind {
            Kind::Daemon => client.introduce_to_daemon(&server.address.to_string(), role)?,
            Kind::Reference => client.introduce_to_reference(role)?,
            Kind::Peer(peer) => match peer.speech() {
                Speech::WebSocket => client.introduce_to_daemon(&server.address.to_string(), role)?,
                Speech::Mqtt => client.introduce_to_mqtt(role)?,
                Speech::Nats => client.introduce_to_nats(role)?,
            },
        }
        Ok(client)
    }

    /// Opens `count` connections, one after the other.
    pub fn open_many(server: &Server, count: usize, role: impl Fn(usize) -> Role) -> Result<Vec<Self>> {
        let until = Instant::now() + OPEN_MANY_LIMIT;
        let mut clients = Vec::with_capacity(count);
        for number in 0..count {
            if Instant::now() > until {
                return Err(format!("only {number} of {count} connections within {OPEN_MANY_LIMIT:?}").into());
            }
            let client = Self::open(server, role(number));
            clients.push(client.map_err(|error| format!("connection {} of {count}: {error}", number + 1))?);
        }
        Ok(clients)
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a whole frame.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        self.stream.write_all(frame).map_err(|error| stalled(error.kind(), error.into()))
    }

    /// Waits for one piece of the stream and returns how many messages it completed, which may be none.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self.stream.read(buffer) {
            Ok(0) => Err("the server closed a connection".into()),
            Ok(count) => Ok(self.frames.feed(&buffer[..count])),
            Err(error) => Err(stalled(error.kind(), error.into())),
        }
    }

    /// The same without waiting, for a connection that epoll reported.
    pub fn receive_ready(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err("the server closed a connection".into()),
            Ok((count, _)) => Ok(self.frames.feed(&buffer[..count])),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for one message and returns its length on the wire and its text. For learning, not for measuring.
    pub fn receive_text(&mut self) -> Result<(usize, String)> {
        let mut stream = Vec::new();
        loop {
            let byte = self.read_byte()?;
            stream.push(byte);
            if self.frames.feed(&[byte]) > 0 {
                break;
            }
        }
        let message = self.frames.last_message();
        let text = String::from_utf8_lossy(&stream[stream.len() - message.payload..]).into_owned();
        Ok((message.header + message.payload, text))
    }

    fn read_byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).map_err(|error| stalled(error.kind(), error.into()))?;
        Ok(byte[0])
    }

    fn introduce_to_daemon(&mut self, host: &str, role: Role) -> Result<()> {
        let path = match role {
            Role::Caller | Role::Spectator => "/".to_owned(),
            Role::Listener(number) | Role::Subscriber(number) => format!("/subscribe?clientName=s{number}"),
            Role::Publisher(number) => format!("/publish?clientName=p{number}"),
        };
        self.send(handshake(host, &path).as_bytes())?;
        let head = self.read_head()?;
        if !head.starts_with("HTTP/1.1 101 ") || !head.contains(ACCEPT) {
            return Err(format!("{path} was not upgraded: {head:?}").into());
        }
        match role {
            Role::Subscriber(_) => self.send(&client_text(&format!(r#"{{"action":"subscribe","event":"{EVENT}"}}"#))),
            Role::Spectator => {
                self.send(&client_text(&format!(r#"{{"action":"SUBSCRIBE","params":{{"topics":["{EVENT}"]}}}}"#)))
            }
            Role::Caller | Role::Listener(_) | Role::Publisher(_) => Ok(()),
        }
    }

    /// Reads the response head and not one byte of the frames behind it.
    fn read_head(&mut self) -> Result<String> {
        const LONGEST: usize = 4096;
        let mut head = Vec::with_capacity(LONGEST);
        while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST {
            head.push(self.read_byte()?);
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    fn introduce_to_mqtt(&mut self, role: Role) -> Result<()> {
        // Protocol level 4, a clean session, no keep-alive; the broker makes up the client's name.
        let connect = mqtt_packet(0x10, &[&mqtt_text("MQTT"), &[4, 2, 0, 0], &mqtt_text("")]);
        self.send(&connect)?;
        self.expect_packet(0x20, 4)?;
        if matches!(role, Role::Subscriber(_)) {
            self.send(&mqtt_packet(0x82, &[&[0, 1], &mqtt_text(EVENT), &[0]]))?;
            self.expect_packet(0x90, 5)?;
        }
        Ok(())
    }

    fn expect_packet(&mut self, kind: u8, bytes: usize) -> Result<()> {
        let packet: Vec<u8> = (0..bytes).map(|_| self.read_byte()).collect::<Result<_>>()?;
        if packet[0] == kind { Ok(()) } else { Err(format!("the broker answered {packet:?}").into()) }
    }

    fn introduce_to_nats(&mut self, role: Role) -> Result<()> {
        self.send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\n")?;
        if matches!(role, Role::Subscriber(_)) {
            self.send(format!("SUB {EVENT} 1\r\n").as_bytes())?;
        }
        self.send(b"PING\r\n")?;
        let mut said = Vec::new();
        while !said.ends_with(b"PONG\r\n") {
            said.push(self.read_byte()?);
        }
        Ok(())
    }

    fn introduce_to_reference(&mut self, role: Role) -> Result<()> {
        let letter = match role {
            Role::Caller | Role::Listener(_) => reference::CALLER,
            Role::Subscriber(_) | Role::Spectator => reference::SUBSCRIBER,
            Role::Publisher(_) => reference::PUBLISHER,
        };
        self.send(&[letter])?;
        self.read_byte()?;
        Ok(())
    }
}

/// The request that opens a WebSocket.
pub fn handshake(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A socket timeout in words; every other error as it is.
fn stalled(kind: ErrorKind, error: Box<dyn std::error::Error>) -> Box<dyn std::error::Error> {
    match kind {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("the server said nothing for {STALL_LIMIT:?}").into(),
        _ => error,
    }
}
