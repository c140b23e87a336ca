//! A server under test: a process that was started, said where it listens, and is killed when dropped.

use std::env;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Result;
use crate::frames::Speech;
use crate::launch::{self, Cpus};
use crate::options::Options;
use crate::peers::{self, Peer};
use crate::reference;

/// How long a server may take from its start to its `listening on` line.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// A peer that does not say when it listens is asked this often.
const ASK: Duration = Duration::from_millis(20);

/// The generator answers no pings, and on a busy machine some works take longer than the daemon is patient.
pub const PATIENT: &str = "[session]\nping_interval = \"10m\"\n";

/// What the daemon is told by the environment and would make it a different server than the one to be measured.
const MISLEADING: [&str; 7] =
    ["PORT", "API_KEY", "PINWIRE_API_KEY", "USE_TLS", "KEY_FILE", "CERT_FILE", "ENABLE_INFO_SOCKET"];

/// Which of them: it decides how a client introduces itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Daemon,
    Reference,
    Peer(peers::Name),
}

impl Kind {
    pub fn speech(self) -> Speech {
        match self {
            Kind::Daemon | Kind::Reference => Speech::WebSocket,
            Kind::Peer(name) => name.speech(),
        }
    }
}

pub struct Server {
    pub kind: Kind,
    pub address: SocketAddr,
    child: Child,
    stdout: ChildStdout,
}

impl Server {
    /// Starts the daemon on a free port with simulated pins.
    pub fn daemon(options: &Options) -> Result<Self> {
        Self::daemon_with(options, PATIENT)
    }

    /// The same with a configuration, in TOML.
    pub fn daemon_with(options: &Options, config: &str) -> Result<Self> {
        let mut args =
            ["serve", "--listen", "127.0.0.1:0", "--gpio", "sim", "--log-level", "error"].map(str::to_owned).to_vec();
        if !config.is_empty() {
            let name = format!("pinwire-bench-{}-{}.toml", std::process::id(), config.len());
            let file = env::temp_dir().join(name);
            std::fs::write(&file, config)?;
            args.extend(["--config".to_owned(), file.display().to_string()]);
        }
        Self::start(Kind::Daemon, options.cpus, &options.daemon, &args, None)
            .map_err(|error| format!("{}: {error}", options.daemon.display()).into())
    }

    /// Starts a peer.
    pub fn peer(options: &Options, peer: &Peer) -> Result<Self> {
        let named = |error: crate::Error| -> crate::Error { format!("{}: {error}", peer.name.as_str()).into() };
        let (args, address) = peer.arguments().map_err(named)?;
        Self::start(Kind::Peer(peer.name), options.cpus, &peer.program, &args, address).map_err(named)
    }

    /// Starts the reference for requests and answers of these lengths in bytes on the wire.
    pub fn reference(options: &Options, request: usize, answer: usize) -> Result<Self> {
        let args = [reference::FLAG.to_owned(), request.to_string(), answer.to_string()];
        Self::start(Kind::Reference, options.cpus, &env::current_exe()?, &args, None)
            .map_err(|error| format!("reference server: {error}").into())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets `time` pass, as long as the server lives: its standard output stays open and silent.
    pub fn settle(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while readable(&self.stdout, until)? {
            let mut byte = [0];
            if self.stdout.read(&mut byte)? == 0 {
                return Err(self.end().into());
            }
        }
        Ok(())
    }

    /// `address`: where it will listen, if it does not say so itself.
    fn start(
        kind: Kind,
        cpus: Option<Cpus>,
        program: &Path,
        args: &[String],
        address: Option<SocketAddr>,
    ) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(launch::arguments(cpus)).arg(program).args(args);
        for name in MISLEADING {
            command.env_remove(name);
        }
        if address.is_some() {
            command.stderr(Stdio::null());
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe to the server")?;
        // Owned from here on, so that every early return below kills it.
        let mut server = Self { kind, address: (Ipv4Addr::LOCALHOST, 0).into(), child, stdout };
        server.address = match address {
            Some(address) => server.listens_at(address)?,
            None => server.listening()?,
        };
        Ok(server)
    }

    /// Waits until it listens there, for a server that does not say so.
    fn listens_at(&mut self, address: SocketAddr) -> Result<SocketAddr> {
        let until = Instant::now() + READY_LIMIT;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > until {
                return Err(format!("nobody listens on {address} after {READY_LIMIT:?}").into());
            }
            self.settle(ASK)?;
        }
        Ok(address)
    }

    /// Reads the address out of the line that says the server is ready.
    fn listening(&mut self) -> Result<SocketAddr> {
        let until = Instant::now() + READY_LIMIT;
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            if !readable(&self.stdout, until)? {
                return Err(format!("not ready within {READY_LIMIT:?}").into());
            }
            let mut byte = [0];
            if self.stdout.read(&mut byte)? == 0 {
                return Err(format!("{} before it was ready", self.end()).into());
            }
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line);
        let address = line.trim_end().strip_prefix("listening on http://").and_then(|rest| rest.parse().ok());
        address.ok_or_else(|| format!("said {line:?} instead of where it listens").into())
    }

    /// How it ended, once its standard output has.
    fn end(&mut self) -> String {
        // The descriptors of a process go a moment before the process does.
        let limit = Timespec { tv_sec: 1, tv_nsec: 0 };
        if let Ok(process) = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()) {
            let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit));
        }
        match self.child.try_wait() {
            Ok(Some(status)) => format!("ended ({status})"),
            _ => "closed its standard output".to_owned(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to kill and nothing to say.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `stdout` can be read or has ended; `false` when `until` came first.
fn readable(stdout: &ChildStdout, until: Instant) -> Result<bool> {
    let left = Timespec::try_from(until.saturating_duration_since(Instant::now()))?;
    Ok(poll(&mut [PollFd::new(stdout, PollFlags::IN)], Some(&left))? > 0)
}
