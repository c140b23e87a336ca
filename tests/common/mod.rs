//! What the integration tests share: the real binary on a free port, in a fresh directory, and real clients.
//!
//! Every wait has the one limit [`LIMIT`]; nothing sleeps. A [`Daemon`] that is dropped is shut down with
//! SIGTERM and must end cleanly, so every test also tests the shutdown.
#![allow(dead_code)] // each test file uses its part

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// How long any single thing may take, on a busy two-core machine under emulation too.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A directory that is removed with the value.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pinwire-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a fresh directory");
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("below the directory")).expect("directories");
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How much longer than on a machine of its own things may take: `PINWIRE_SLOW`, for the emulator of another CPU.
pub fn slow() -> u32 {
    std::env::var("PINWIRE_SLOW").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

/// The program under test: what cargo has built, or the one in `PINWIRE_BIN`, which may be another machine's (see
/// cross/suite).
pub fn program() -> PathBuf {
    std::env::var_os("PINWIRE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_pinwire").into(), PathBuf::from)
}

/// The program under test, with none of the caller's environment that it would listen to.
pub fn pinwire() -> Command {
    let mut command = Command::new(program());
    for name in ["PORT", "API_KEY", "USE_TLS", "KEY_FILE", "CERT_FILE", "ENABLE_INFO_SOCKET", "PINWIRE_API_KEY"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end, within [`LIMIT`].
pub fn run(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let id = child.id();
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(LIMIT) {
        Ok(output) => output.expect("output"),
        Err(_) => {
            kill(id, "KILL");
            panic!("{command:?} did not end within {LIMIT:?}");
        }
    }
}

/// Says that the calling test skips, and why. Not with `println!`, which a passing test swallows.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stdout(), "skipped: {}: {why}", thread.name().unwrap_or("a test"));
}

/// Sends a signal by name.
pub fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
    assert!(status.expect("kill runs").success(), "kill -{signal} {pid}");
}

/// A running daemon.
pub struct Daemon {
    child: Child,
    pub addr: SocketAddr,
    /// `http` or `https`, as it said.
    pub scheme: String,
    /// Every address it said it listens on.
    pub listening: Vec<String>,
    pub dir: TempDir,
    stderr: Arc<(Mutex<String>, Condvar)>,
    ended: bool,
}

impl Daemon {
    /// Starts `pinwire serve --listen 127.0.0.1:0 --gpio sim` with more flags, and waits until it is ready.
    pub fn start(flags: &[&str]) -> Daemon {
        Daemon::start_in(TempDir::new(), |command| {
            command.args(flags);
        })
    }

    /// The same with a config file of this text.
    pub fn with_config(text: &str, flags: &[&str]) -> Daemon {
        let dir = TempDir::new();
        let file = dir.file("pinwire.toml", text);
        Daemon::start_in(dir, |command| {
            command.arg("--config").arg(file).args(flags);
        })
    }

    /// The same with whatever `prepare` does to the command.
    pub fn start_in(dir: TempDir, prepare: impl FnOnce(&mut Command)) -> Daemon {
        let mut command = pinwire();
        command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "sim"]);
        prepare(&mut command);
        Daemon::launch(dir, command)
    }

    /// Starts exactly this command and waits until it is ready.
    pub fn launch(dir: TempDir, mut command: Command) -> Daemon {
        command.stdin(Stdio::null());
        Daemon::launch_with(dir, command)
    }

    /// The same with the command's own standard input.
    pub fn launch_with(dir: TempDir, mut command: Command) -> Daemon {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the daemon starts");
        let stderr = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let (log, pipe) = (Arc::clone(&stderr), child.stderr.take().expect("piped"));
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut text = log.0.lock().expect("unpoisoned");
                text.push_str(&line);
                text.push('\n');
                log.1.notify_all();
            }
        });
        let (sender, lines) = channel();
        let stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let first = match lines.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(_) => {
                let _ = child.kill();
                let status = child.wait();
                panic!("the daemon did not get ready ({status:?}):\n{}", stderr.0.lock().expect("unpoisoned"));
            }
        };
        let mut listening = vec![first];
        // One line per address that was asked for; they are written together, and may still come one by one.
        let asked = command.get_args().filter(|arg| *arg == "--listen").count();
        while listening.len() < asked {
            listening.push(lines.recv_timeout(LIMIT).expect("a line for each listener"));
        }
        let (scheme, addr) = parse_listening(&listening[0]);
        Daemon { child, addr, scheme, listening, dir, stderr, ended: false }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.stderr.0.lock().expect("unpoisoned").clone()
    }

    /// Waits until it has logged this.
    pub fn wait_for_log(&self, text: &str) {
        let log = self.stderr.0.lock().expect("unpoisoned");
        let (log, wait) = self.stderr.1.wait_timeout_while(log, LIMIT, |log| !log.contains(text)).expect("unpoisoned");
        assert!(!wait.timed_out(), "not logged within {LIMIT:?}: {text}\n{log}");
    }

    /// A client command of the same program, pointed at this daemon.
    pub fn client(&self, command: &str) -> Command {
        let scheme = if self.scheme == "https" { "wss" } else { "ws" };
        let mut client = pinwire();
        client.arg(command).args(["--url", &format!("{scheme}://{}", self.addr)]);
        client
    }

    /// Opens a WebSocket; panics with the daemon's answer if it refuses.
    pub fn ws(&self, path: &str) -> Ws {
        self.try_ws(path, &[]).unwrap_or_else(|error| panic!("WebSocket {path}: {error}"))
    }

    /// Opens a WebSocket with more headers.
    pub fn try_ws(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Ws, tungstenite::Error> {
        Ws::connect(self.addr, path, headers)
    }

    /// One HTTP request on a connection of its own.
    pub fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.tcp();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.addr);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).expect("request sent");
        let mut text = Vec::new();
        stream.read_to_end(&mut text).expect("answer");
        Answer::parse(&text)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.http("GET", path, &[], "")
    }

    /// A bare connection with limits on both directions.
    pub fn tcp(&self) -> TcpStream {
        tcp(self.addr)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        kill(self.pid(), signal);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + LIMIT;
        let pid = self.pid();
        // `waitid` with a limit is not in std; the end of a process is an event of its own descriptor.
        let pidfd = rustix::process::pidfd_open(
            rustix::process::Pid::from_raw(pid as i32).expect("a pid"),
            rustix::process::PidfdFlags::empty(),
        );
        if let Ok(fd) = pidfd {
            let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
            let left = until.saturating_duration_since(Instant::now());
            let limit = rustix::event::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: 0 };
            let n = rustix::event::poll(&mut fds, Some(&limit)).expect("poll");
            if n == 0 {
                let _ = self.child.kill();
                self.ended = true;
                panic!("the daemon did not end within {LIMIT:?}:\n{}", self.log());
            }
        }
        self.ended = true;
        self.child.wait().expect("its status")
    }

    /// SIGTERM, and its exit status.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            eprintln!("--- the daemon's log ---\n{}", self.log());
        } else {
            let status = self.stop();
            assert!(status.success(), "the daemon ended with {status}:\n{}", self.log());
        }
    }
}

fn parse_listening(line: &str) -> (String, SocketAddr) {
    let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("not a ready line: {line}"));
    let (scheme, addr) = url.split_once("://").unwrap_or_else(|| panic!("not a URL: {url}"));
    (scheme.to_owned(), addr.parse().unwrap_or_else(|_| panic!("not an address: {addr}")))
}

/// A connection with limits on both directions.
pub fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, LIMIT).expect("connects");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit");
    stream.set_nodelay(true).expect("nodelay");
    stream
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Answer {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(length)) = response.parse(bytes) else {
            panic!("not an HTTP answer: {:?}", String::from_utf8_lossy(bytes));
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer {
            status: response.code.expect("a status"),
            headers: response.headers.iter().map(|h| (h.name.to_ascii_lowercase(), text(h.value))).collect(),
            body: text(&bytes[length..]),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A WebSocket client; each read and write has the limit.
pub struct Ws(pub WebSocket<TcpStream>);

impl Ws {
    pub fn connect(addr: SocketAddr, path: &str, headers: &[(&'static str, &str)]) -> Result<Ws, tungstenite::Error> {
        let mut request = format!("ws://{addr}{path}").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header value"));
        }
        match tungstenite::client::client(request, tcp(addr)) {
            Ok((socket, _)) => Ok(Ws(socket)),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("no handshake within {LIMIT:?}"),
        }
    }

    pub fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).expect("message sent");
    }

    /// The next text message.
    pub fn text(&mut self) -> String {
        loop {
            match self.0.read().expect("a message") {
                Message::Text(text) => return text.to_string(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next text message, as JSON.
    pub fn json(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Sends a request and returns the next message.
    pub fn ask(&mut self, text: &str) -> Value {
        self.send(text);
        self.json()
    }

    /// Reads until a message fits.
    pub fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let value = self.json();
            if fits(&value) {
                return value;
            }
        }
    }

    /// Reads to the Close frame and returns its code and reason; 1006 for an end without one, with what was met instead.
    pub fn closed(&mut self) -> (u16, String) {
        loop {
            match self.0.read() {
                Ok(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.to_string()),
                Ok(Message::Close(None)) => return (1005, String::new()),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("not closed within {LIMIT:?}")
                }
                Err(error) => return (1006, error.to_string()),
            }
        }
    }

    /// Sends a ping and reads until its pong: everything sent before has been acted on then.
    pub fn sync(&mut self) {
        self.0.send(Message::Ping("sync".into())).expect("ping sent");
        while self.0.read().expect("a message") != Message::Pong("sync".into()) {}
    }
}
