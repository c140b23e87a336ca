//! One HTTP/1.1 request over a Unix socket: one connection each, bounded in time and size.
//!
//! Of HTTP only what an engine's answer needs: a head, and a body by its length, in chunks, or to the end.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::docker::DockerError;
use crate::rt::clock;

/// The longest head of an answer.
const HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// An answer whose body is still to be read.
pub struct Answer {
    pub status: u16,
    body: Body,
    stream: BufReader<Timed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunked,
    ToTheEnd,
}

/// Sends a request without a body and reads the answer's head. `target` must be of ASCII without blanks.
pub fn ask(path: &Path, method: &str, target: &str, limit: Duration) -> Result<Answer, DockerError> {
    let ends = clock::now() + limit;
    let mut stream = Timed { stream: open(path).map_err(|error| gone(path, &error))?, ends };
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: docker\r\nUser-Agent: pinwire\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(|error| failed(&error))?;
    let mut stream = BufReader::new(stream);
    let head = head(&mut stream).map_err(|error| failed(&error))?;
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(&head) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Err(DockerError::Nonsense("its answer is no HTTP".into())),
    }
    let status = parsed.code.unwrap_or_default();
    let header = |name: &str| {
        let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let body = if status == 204 || status == 304 {
        Body::Length(0)
    } else if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        Body::Chunked
    } else if let Some(length) = header("content-length") {
        Body::Length(length.parse().map_err(|_| DockerError::Nonsense("its answer has no length".into()))?)
    } else {
        Body::ToTheEnd
    };
    Ok(Answer { status, body, stream })
}

impl Answer {
    /// Reads the whole body, of at most `most` bytes.
    pub fn read(self, most: usize) -> Result<Vec<u8>, DockerError> {
        let mut whole = Vec::new();
        let complete = self.each(|part| {
            whole.extend_from_slice(part);
            whole.len() <= most
        })?;
        if complete { Ok(whole) } else { Err(DockerError::Nonsense(format!("its answer has more than {most} bytes"))) }
    }

    /// Hands the body over in parts as they come, until it ends or `take` has had enough; whether it ended.
    pub fn each(mut self, mut take: impl FnMut(&[u8]) -> bool) -> Result<bool, DockerError> {
        match self.body {
            Body::Length(length) => self.part(length, &mut take).map_err(|error| failed(&error)),
            Body::ToTheEnd => loop {
                let part = self.stream.fill_buf().map_err(|error| failed(&error))?;
                let length = part.len();
                if length == 0 {
                    return Ok(true);
                }
                if !take(part) {
                    return Ok(false);
                }
                self.stream.consume(length);
            },
            Body::Chunked => loop {
                let line = line(&mut self.stream).map_err(|error| failed(&error))?;
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size.trim(), 16).ok());
                match size {
                    None => return Err(DockerError::Nonsense("a chunk of its answer has no size".into())),
                    // What follows the last chunk is nobody's business: the connection ends here.
                    Some(0) => return Ok(true),
                    Some(size) => {
                        if !self.part(size, &mut take).map_err(|error| failed(&error))? {
                            return Ok(false);
                        }
                        self::line(&mut self.stream).map_err(|error| failed(&error))?;
                    }
                }
            },
        }
    }

    fn part(&mut self, mut length: u64, take: &mut impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
        while length > 0 {
            let waiting = self.stream.fill_buf()?;
            let part = waiting.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(waiting);
            let taken = part.len();
            if taken == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !take(part) {
                return Ok(false);
            }
            self.stream.consume(taken);
            length -= taken as u64;
        }
        Ok(true)
    }
}

/// Reads to the empty line.
fn head(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let line = line(stream)?;
        head.extend_from_slice(&line);
        head.extend_from_slice(b"\r\n");
        if line.is_empty() {
            return Ok(head);
        }
        if head.len() > HEAD_BYTES {
            return Err(io::Error::other("its head is too long"));
        }
    }
}

/// Reads a line, without its end.
fn line(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.take(HEAD_BYTES as u64).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.pop_if(|last| *last == b'\r');
    Ok(line)
}

/// Connects without waiting: an engine whose queue is full is told as such.
fn open(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A stream whose reads and writes all end at one time.
struct Timed {
    stream: UnixStream,
    ends: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.ends.saturating_duration_since(clock::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn gone(path: &Path, error: &io::Error) -> DockerError {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::PermissionDenied => "the daemon's user may not, its group may help".to_owned(),
        io::ErrorKind::WouldBlock => "it takes no more connections".to_owned(),
        _ => error.to_string(),
    };
    DockerError::Unreachable(format!("'{}': {why}", path.display()))
}

fn failed(error: &io::Error) -> DockerError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => DockerError::Slow,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            DockerError::Nonsense("it hung up in the middle of its answer".into())
        }
        _ => DockerError::Nonsense(error.to_string()),
    }
}
