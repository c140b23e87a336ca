//! What the robustness tests share: raw WebSocket frames, a look at the daemon through `/proc`, and TLS.
#![allow(dead_code)] // each test file uses its part

pub mod tls;

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::common::{Daemon, LIMIT, tcp};

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;
pub const FIN: u8 = 0x80;

/// A masked frame as clients send them. `first` is the first byte: FIN, reserved bits and opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// A whole text message in one frame.
pub fn text(payload: &str) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_bytes())
}

/// A Close with a code and a reason.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// One frame from the daemon: the first byte and the payload. `None` at a clean end between two frames.
///
/// Panics when a frame is torn, masked, or does not come within the stream's limit.
pub fn read_frame(stream: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    match stream.read(&mut head[..1]) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) if is_lost(&error) => return None,
        Err(error) => panic!("no frame: {error}"),
    }
    read_all(stream, &mut head[1..]);
    assert_eq!(head[1] & 0x80, 0, "a server's frame is not masked");
    let length = match head[1] {
        126 => {
            let mut bytes = [0; 2];
            read_all(stream, &mut bytes);
            usize::from(u16::from_be_bytes(bytes))
        }
        127 => {
            let mut bytes = [0; 8];
            read_all(stream, &mut bytes);
            usize::try_from(u64::from_be_bytes(bytes)).expect("a length")
        }
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    read_all(stream, &mut payload);
    Some((head[0], payload))
}

fn read_all(stream: &mut impl Read, buf: &mut [u8]) {
    stream.read_exact(buf).unwrap_or_else(|error| panic!("torn frame: {error}"));
}

fn is_lost(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), ConnectionReset | ConnectionAborted | UnexpectedEof)
}

/// The code of the next Close, reading over everything else; `None` when the stream ends without one.
pub fn close_code(stream: &mut impl Read) -> Option<u16> {
    loop {
        let (first, payload) = read_frame(stream)?;
        if first & 0xF == CLOSE {
            return Some(payload.first_chunk::<2>().map_or(1005, |code| u16::from_be_bytes(*code)));
        }
    }
}

/// Reads whole frames to the Close, answers it, and sees the connection end; returns the code. `None` when the
/// stream ends without a Close.
pub fn closed(stream: &mut TcpStream) -> Option<u16> {
    let mut frames = BufReader::new(stream);
    let code = close_code(&mut frames)?;
    let _ = frames.get_mut().write_all(&close(code, ""));
    assert_eq!(read_frame(&mut frames), None, "nothing comes after a Close");
    Some(code)
}

/// The request for a WebSocket, with the key of RFC 6455's example.
pub fn upgrade_request(addr: SocketAddr, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Reads a head byte by byte, so that nothing behind it is lost.
pub fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            other => panic!("no whole head ({other:?}): {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).expect("ASCII")
}

/// Reads one answer with a Content-Length from a connection that is kept; returns the status and the body.
pub fn read_answer(stream: &mut impl Read) -> (u16, String) {
    let head = read_head(stream);
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"));
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().expect("a length"))
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).expect("the body");
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// A raw WebSocket, past its handshake.
pub fn raw_ws(addr: SocketAddr, path: &str) -> TcpStream {
    upgraded(tcp(addr), addr, path)
}

/// The handshake on an open connection of any kind.
pub fn upgraded<S: Read + Write>(mut stream: S, addr: SocketAddr, path: &str) -> S {
    stream.write_all(upgrade_request(addr, path).as_bytes()).expect("request sent");
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

/// A connection whose buffers are small, so that not reading is noticed soon. (Much smaller ones make the kernel
/// wait for its probe timer once reading begins.)
pub fn small_tcp(addr: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    sockopt::set_socket_recv_buffer_size(&socket, 32 * 1024).expect("a small buffer");
    sockopt::set_socket_send_buffer_size(&socket, 32 * 1024).expect("a small buffer");
    connect(&socket, &addr).expect("connects");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// Whether the peer has ended the connection by now: what it has sent before is read over.
pub fn has_ended(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("non-blocking");
    let mut buf = [0; 4096];
    let ended = loop {
        match stream.read(&mut buf) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break false,
            Err(_) => break true,
        }
    };
    stream.set_nonblocking(false).expect("blocking");
    ended
}

/// Waits until `done`, at most `limit`. For what has no event to wait on, such as numbers in `/proc`: the channel
/// never carries anything and only paces the looking.
pub fn wait_until(limit: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let (_never, pace) = channel::<()>();
    let until = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        assert_eq!(pace.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
    }
}

/// Something done again and again, `every` so often, until `stop` is told or dropped.
pub fn repeat(every: Duration, stop: &std::sync::mpsc::Receiver<()>, mut what: impl FnMut()) {
    while stop.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        what();
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub threads: usize,
    pub descriptors: usize,
}

impl Held {
    pub fn by(pid: u32) -> Held {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").count();
        Held { threads: status(pid, "Threads:"), descriptors }
    }

    /// What an idle daemon holds once it has served: threads that are made once are not counted as left behind.
    pub fn by_idle(daemon: &Daemon) -> Held {
        for _ in 0..2 {
            assert_eq!(daemon.get("/health").status, 200);
        }
        Held::by(daemon.pid())
    }

    /// Waits until the process holds no more than this again.
    pub fn wait_for_return(self, pid: u32) {
        let mut now = Held::by(pid);
        let (_never, pace) = channel::<()>();
        let until = Instant::now() + LIMIT;
        while now.threads > self.threads || now.descriptors > self.descriptors {
            assert!(Instant::now() < until, "held before: {self:?}, {LIMIT:?} after: {now:?}");
            let _ = pace.recv_timeout(Duration::from_millis(20));
            now = Held::by(pid);
        }
    }
}

/// Resident memory in KiB.
pub fn rss_kib(pid: u32) -> usize {
    status(pid, "VmRSS:")
}

fn status(pid: u32, name: &str) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of it");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

/// Whether the long versions were asked for.
pub fn full() -> bool {
    std::env::var_os("PINWIRE_FULL").is_some_and(|value| value == "1")
}
