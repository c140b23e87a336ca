//! A service manager as the daemon sees one: the socket it is told at, and the environment.
#![allow(dead_code)] // each test file uses its part

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Daemon, LIMIT, TempDir, pinwire};

/// Where it is told.
pub struct Manager {
    socket: UnixDatagram,
    /// What `NOTIFY_SOCKET` is.
    pub name: String,
    _dir: Option<TempDir>,
}

impl Manager {
    /// With a socket in the abstract namespace, as in containers.
    pub fn new() -> Manager {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pinwire-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Manager { socket, name: format!("@{name}"), _dir: None }
    }

    /// With a socket in the file system, as systemd's own.
    pub fn in_files() -> Manager {
        let dir = TempDir::new();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Manager { socket, name: path.to_str().expect("a name").to_owned(), _dir: Some(dir) }
    }

    /// What it is told next, if anything within `limit`.
    pub fn within(&self, limit: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).expect("a limit");
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).expect("text"))
    }

    /// The next message that has this in it.
    #[track_caller]
    pub fn until(&self, text: &str) -> String {
        let end = Instant::now() + LIMIT;
        let mut seen = Vec::new();
        loop {
            match self.within(end.saturating_duration_since(Instant::now())) {
                Some(message) if message.contains(text) => return message,
                Some(message) => seen.push(message),
                None => panic!("not told within {LIMIT:?}: {text}; but {seen:?}"),
            }
        }
    }

    /// How often the watchdog is fed within this time, and what else is said.
    pub fn fed_within(&self, time: Duration) -> (usize, Vec<String>) {
        let end = Instant::now() + time;
        let (mut fed, mut others) = (0, Vec::new());
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match self.within(left) {
                Some(message) if message == "WATCHDOG=1" => fed += 1,
                Some(message) => others.push(message),
                None => {}
            }
        }
        (fed, others)
    }
}

/// The daemon in simulation, with this manager.
pub fn serve(manager: &Manager, flags: &[&str]) -> Daemon {
    Daemon::start_in(TempDir::new(), |command| {
        command.args(flags).env("NOTIFY_SOCKET", &manager.name);
    })
}

/// Has a command given this socket, as descriptor 3, by a shell: it is the one whose number the manager has.
pub fn activated(socket: OwnedFd, command: &Command) -> Command {
    const SHELL: &str =
        "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web; exec \"$0\" \"$@\"";
    let mut shell = pinwire_environment("/bin/sh");
    shell.args(["-c", SHELL]).arg(command.get_program()).args(command.get_args()).stdin(Stdio::from(socket));
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell
}

/// Without what the program under test would listen to.
fn pinwire_environment(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in pinwire().get_envs() {
        command.env_remove(name);
    }
    command
}

pub fn copy(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("a copy").into()
}
