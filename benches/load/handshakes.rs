//! Handshakes: four visitors at a time come, are let in, and leave at once.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::sockopt::set_socket_linger;

use crate::Result;
use crate::client::{STALL_LIMIT, handshake};
use crate::options::Options;
use crate::pairs::{Goal, Load, Pairs};
use crate::procfs;
use crate::server::Server;
use crate::table::Row;

const AT_A_TIME: usize = 4;

/// Measures the daemon against the reference, which answers as many bytes to anything.
pub fn measure(options: &Options) -> Result<Vec<Row>> {
    let daemon = Server::daemon(options)?;
    let (request, answer) = lengths(daemon.address)?;
    let reference = Server::reference(options, request, answer)?;
    let name = format!("handshakes, {AT_A_TIME} at a time");
    let pairs =
        Pairs::measure(options, &name, &[&daemon, &reference], |_, server| Visitors::connect(server.address, answer))?;
    Ok(vec![pairs.row(name, Goal::Rate(0.75))])
}

/// Bytes of the request and of the daemon's answer.
fn lengths(address: SocketAddr) -> Result<(usize, usize)> {
    use std::io::{Read as _, Write as _};
    let request = handshake(&address.to_string(), "/");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(STALL_LIMIT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        return Err(format!("not upgraded: {:?}", String::from_utf8_lossy(&answer)).into());
    }
    Ok((request.len(), answer.len()))
}

struct Visitors {
    address: SocketAddr,
    request: Vec<u8>,
    answer: usize,
    epoll: std::os::fd::OwnedFd,
    /// Who waits for its answer, and how much of it has come.
    waiting: Vec<Option<(TcpStream, usize)>>,
}

impl Visitors {
    fn connect(address: SocketAddr, answer: usize) -> Result<Self> {
        Ok(Self {
            address,
            request: handshake(&address.to_string(), "/").into_bytes(),
            answer,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            waiting: (0..AT_A_TIME).map(|_| None).collect(),
        })
    }

    /// A visitor comes. On one machine a connection is there at once: the kernel accepts it.
    fn come(&mut self, place: usize) -> Result<()> {
        use std::io::Write as _;
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        // Leaves by a reset: the ports of some hundred thousand visitors would not be free again for a minute.
        set_socket_linger(&stream, Some(Duration::ZERO))?;
        stream.write_all(&self.request)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(place as u64), EventFlags::IN)?;
        self.waiting[place] = Some((stream, 0));
        Ok(())
    }

    /// Something has come for this visitor; whether that was all.
    fn hear(&mut self, place: usize) -> Result<bool> {
        use std::io::Read as _;
        let Some((stream, have)) = &mut self.waiting[place] else { return Ok(false) };
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(0) => Err("a handshake was cut".into()),
            Ok(count) => {
                *have += count;
                Ok(*have >= self.answer)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Load for Visitors {
    /// Each visitor has a thread, which ends with it.
    fn cpu_time(&self, server: &Server) -> Result<Duration> {
        procfs::whole_cpu_time(server.pid())
    }

    fn run(&mut self, time: Duration) -> Result<u64> {
        let until = Instant::now() + time;
        for place in 0..AT_A_TIME {
            self.come(place)?;
        }
        let (mut done, mut left) = (0, AT_A_TIME);
        let mut events = Vec::with_capacity(AT_A_TIME);
        let limit = STALL_LIMIT.try_into()?;
        while left > 0 {
            events.clear();
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&limit))?;
            if events.is_empty() {
                return Err(format!("no handshake for {STALL_LIMIT:?}").into());
            }
            for place in events.iter().map(|event| event.data.u64() as usize).collect::<Vec<_>>() {
                if !self.hear(place)? {
                    continue;
                }
                done += 1;
                self.waiting[place] = None;
                if Instant::now() < until {
                    self.come(place)?;
                } else {
                    left -= 1;
                }
            }
        }
        Ok(done)
    }
}
