//! The way out: connections to other machines' ports, plain or TLS, for the client commands, an agent and webhooks.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use tungstenite::http::Uri;

pub use super::fault::TlsFault;
use super::tls::{Secured, Trusted};
use crate::rt::clock;
use crate::types::fingerprint::Fingerprint;

/// Whom to believe.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The authorities this machine trusts.
    System,
    /// The certificates in this PEM file: as authorities, and each by itself.
    Ca(PathBuf),
    /// Exactly the server whose certificate or public key has this fingerprint, whatever name it has and whoever
    /// signed it.
    Pin(Fingerprint),
}

/// Why there is no connection, in one line.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("'{0}' is not a URL such as ws://127.0.0.1:9000")]
    Url(String),
    /// The file with certificates cannot be used.
    #[error("{0}")]
    Trust(String),
    #[error("cannot find '{host}': {reason}")]
    Unknown { host: String, reason: String },
    #[error("cannot connect to {address}: {reason}")]
    Refused { address: String, reason: String },
    #[error("TLS with {peer}: {fault}")]
    Tls { peer: String, fault: TlsFault },
    #[error("no answer from {peer} within {}", humantime::format_duration(*.limit))]
    Late { peer: String, limit: Duration },
    #[error("connection to {peer} lost: {reason}")]
    Lost { peer: String, reason: String },
    /// Whoever wanted it does not want it any more.
    #[error("cancelled")]
    Cancelled,
}

/// What ends an attempt before its time.
#[derive(Clone, Copy)]
pub struct Cancel<'a> {
    /// Becomes readable.
    pub bell: BorrowedFd<'a>,
    /// Whether it was rung for the end; if not, this has silenced it.
    pub is_due: &'a dyn Fn() -> bool,
}

/// Somebody's port, and how to reach it.
#[derive(Clone)]
pub struct Dial {
    host: String,
    port: u16,
    /// What the URL says behind the port; without a `/` at its end.
    prefix: String,
    tls: Option<Trusted>,
    timeout: Duration,
}

/// A connection, plain or TLS.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<Secured>),
}

impl Dial {
    /// `url` begins with `ws://`, `wss://`, `http://` or `https://`; `timeout` holds for connecting to each address of the
    /// name, TLS handshake included, and then for each read and write.
    ///
    /// # Errors
    /// A URL or certificate file that cannot be used.
    pub fn new(url: &str, trust: &Trust, timeout: Duration) -> Result<Dial, DialError> {
        let bad = || DialError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let secure = match uri.scheme_str() {
            Some("wss" | "https") => true,
            Some("ws" | "http") => false,
            _ => return Err(bad()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?.to_owned();
        let port = match uri.port_u16() {
            Some(port) => port,
            // A port that is none must not silently become another server's.
            None if !uri.authority().is_some_and(|authority| authority.as_str().ends_with(&host)) => return Err(bad()),
            None if secure => 443,
            None => 80,
        };
        let tls = secure.then(|| Trusted::new(trust)).transpose()?;
        let prefix = uri.path_and_query().map_or("", |path| path.as_str()).trim_end_matches('/').to_owned();
        Ok(Dial { host, port, prefix, tls, timeout })
    }

    /// Host and port, as for a `Host` header.
    pub fn peer(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The URL's own path, without a `/` at its end: empty, or as `/prefix`; for a webhook, with its query.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects, and shakes hands where it is TLS.
    ///
    /// # Errors
    /// Nobody there, or nobody who is trusted.
    pub fn connect(&self) -> Result<Stream, DialError> {
        self.connect_unless(None)
    }

    /// The same, until it is cancelled. Only the look-up of the name cannot be.
    ///
    /// # Errors
    /// As [`Dial::connect`].
    pub fn connect_unless(&self, cancel: Option<Cancel>) -> Result<Stream, DialError> {
        let host = self.bare_host();
        let unknown = |reason: String| DialError::Unknown { host: host.to_owned(), reason };
        let addresses = (host, self.port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
        let mut last = unknown("it has no address".into());
        for address in addresses {
            let until = clock::now() + self.timeout;
            match open(address, until, cancel) {
                Ok(stream) => return self.secure(stream, until, cancel),
                Err(Wait::Cancelled) => return Err(DialError::Cancelled),
                Err(Wait::Failed(error)) => {
                    last = DialError::Refused { address: address.to_string(), reason: error.to_string() };
                }
            }
        }
        Err(last)
    }

    /// What an error on a connection of this way means.
    pub fn lost(&self, error: &io::Error) -> DialError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                DialError::Late { peer: self.peer(), limit: self.timeout }
            }
            _ => DialError::Lost { peer: self.peer(), reason: error.to_string() },
        }
    }

    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    fn secure(&self, stream: TcpStream, until: Instant, cancel: Option<Cancel>) -> Result<Stream, DialError> {
        let io = |error: io::Error| self.lost(&error);
        stream.set_nodelay(true).map_err(io)?;
        stream.set_read_timeout(Some(self.timeout)).map_err(io)?;
        stream.set_write_timeout(Some(self.timeout)).map_err(io)?;
        let Some(trusted) = &self.tls else {
            stream.set_nonblocking(false).map_err(io)?;
            return Ok(Stream::Plain(stream));
        };
        let tls = |fault: TlsFault| DialError::Tls { peer: self.peer(), fault };
        let mut stream = trusted.begin(self.bare_host(), stream).map_err(tls)?;
        // Done here so that a certificate's fault is told as one, not as a broken handshake of what comes next.
        while stream.is_handshaking() {
            let wanted = if stream.wants_write() { PollFlags::OUT } else { PollFlags::IN };
            match stream.shake_hands() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(stream.tcp(), wanted, until, cancel).map_err(|end| match end {
                        Wait::Cancelled => DialError::Cancelled,
                        Wait::Failed(error) => self.lost(&error),
                    })?;
                }
                Err(error) => return Err(tls(stream.fault(&error))),
            }
        }
        stream.tcp().set_nonblocking(false).map_err(io)?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// Why waiting has ended without what was waited for.
enum Wait {
    Cancelled,
    Failed(io::Error),
}

impl From<Errno> for Wait {
    fn from(error: Errno) -> Wait {
        Wait::Failed(error.into())
    }
}

/// A connection that does not block yet.
fn open(address: SocketAddr, until: Instant, cancel: Option<Cancel>) -> Result<TcpStream, Wait> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => {
            wait(&socket, PollFlags::OUT, until, cancel)?;
            sockopt::socket_error(&socket)??;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(TcpStream::from(socket))
}

/// Waits until the socket is ready, the time is over or the attempt is cancelled.
fn wait(socket: &impl AsFd, wanted: PollFlags, until: Instant, cancel: Option<Cancel>) -> Result<(), Wait> {
    loop {
        let left = until.saturating_duration_since(clock::now());
        let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = vec![PollFd::new(socket, wanted)];
        fds.extend(cancel.iter().map(|cancel| PollFd::new(&cancel.bell, PollFlags::IN)));
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (ready, rung) = (!fds[0].revents().is_empty(), fds.get(1).is_some_and(|fd| !fd.revents().is_empty()));
        if rung && cancel.is_some_and(|cancel| (cancel.is_due)()) {
            return Err(Wait::Cancelled);
        }
        if ready {
            return Ok(());
        }
        if left.is_zero() {
            return Err(Wait::Failed(io::ErrorKind::TimedOut.into()));
        }
    }
}

impl Stream {
    /// The socket below, for its limits and for waiting.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.tcp(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match self {
                Stream::Plain(stream) => stream.read(buf),
                Stream::Tls(stream) => stream.read(buf),
            };
            // A process that is stopped and goes on (Ctrl-Z and `fg`), signal(7): sockets with a timeout.
            if !matches!(&read, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
                return read;
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(buf),
            Stream::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(feature = "tls"), ignore = "needs the feature tls")]
    fn a_url_is_taken_apart_with_its_prefix() {
        let dial = |url: &str| Dial::new(url, &Trust::System, Duration::from_secs(1));
        for (url, peer, prefix, secure) in [
            ("ws://pi:1", "pi:1", "", false),
            ("wss://hub.example/", "hub.example:443", "", true),
            ("https://hub.example/pinwire/", "hub.example:443", "/pinwire", true),
            ("http://[::1]:8080/a/b?c=d", "[::1]:8080", "/a/b?c=d", false),
        ] {
            let dial = dial(url).expect(url);
            assert_eq!((dial.peer().as_str(), dial.prefix(), dial.is_secure()), (peer, prefix, secure), "{url}");
        }
        for url in ["", "pi:9000", "ftp://pi", "ws://", "ws://pi:99999", "ws://pi:x"] {
            assert!(dial(url).is_err(), "{url}");
        }
    }
}
