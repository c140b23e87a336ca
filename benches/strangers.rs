//! The strangers bench: how much a flood of wrong keys slows honest clients.
//!
//! One client with a right key asks for a reading as soon as it has the last answer, and between that a newcomer comes
//! in with the right key, asks once and leaves. Meanwhile strangers show wrong keys, 1,000 times per second, by HTTP,
//! in handshakes, and in first messages. Windows alternate: quiet, strangers at the daemon, and the same strangers at a
//! bystander that answers everybody in a few microseconds. The last one says what the strangers, who run on the same
//! machine, take by themselves.
//!
//! ```text
//! cargo bench --bench strangers                        about half a minute
//! cargo bench --bench strangers -- --rounds 3 --rate 500
//! ```
//!
//! Exit code: 0 whatever the ratio is, 1 if it could not be measured.
#![deny(unsafe_code)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Parser;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long anything may leave us without an answer.
const STALL_LIMIT: Duration = Duration::from_secs(5);

/// Threads that show wrong keys; together they keep the rate.
const STRANGERS: u64 = 4;

const WRONG: &str = "pw_0123456789.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// In every refusal, whatever its form.
const REFUSAL: &[u8] = b"Invalid API Key";

/// The goal: honest clients take at most this many times as long.
const GOAL: f64 = 1.2;

#[derive(Parser)]
struct Options {
    /// Windows of each kind
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of a window
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    window: Duration,
    /// Wrong keys per second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// The daemon to be measured
    #[arg(long, default_value = env!("CARGO_BIN_EXE_pinwire"))]
    daemon: PathBuf,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // `cargo bench` passes --bench; `cargo test --benches` does not, and must not start a measurement.
    if !std::env::args().any(|arg| arg == "--bench") || std::env::args().any(|arg| arg == "--test") {
        println!("strangers: measures only under `cargo bench --bench strangers`; nothing done");
        return ExitCode::SUCCESS;
    }
    match measure(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("strangers bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    let dir = Dir::new()?;
    let key = make_key(options, &dir.0)?;
    let daemon = Daemon::start(options, &dir.0)?;
    let bystander = bystander()?;
    let mut honest = Honest::new(daemon.address, &key)?;
    honest.window(options.window / 4)?;
    let mut kinds = [
        Kind::new("quiet", None),
        Kind::new("strangers", Some(daemon.address)),
        Kind::new("bystander", Some(bystander)),
    ];
    for _ in 0..options.rounds {
        for kind in &mut kinds {
            let flood = kind.at.map(|at| Flood::start(at, options.rate));
            let times = honest.window(options.window)?;
            kind.take(times, flood.map_or(Ok(0), Flood::stop)?, options.window);
        }
    }
    println!(
        "{:10} {:>12} {:>14} {:>14} {:>14} {:>14}",
        "", "wrong keys/s", "asks, median", "asks, 99 %", "comers, median", "comers, 99 %"
    );
    kinds.iter_mut().for_each(Kind::print);
    let [quiet, strangers, bystander] = &kinds;
    for (what, of) in [("asks", Kind::asks as fn(&Kind) -> f64), ("newcomers", Kind::comers)] {
        let (ratio, machine) = (of(strangers) / of(quiet), of(bystander) / of(quiet));
        let verdict = if ratio <= GOAL { "within" } else { "beyond" };
        println!(
            "{what}: {ratio:.2}x with strangers, {machine:.2}x with the same strangers elsewhere; {verdict} the goal of {GOAL}x"
        );
    }
    Ok(())
}

/// What the windows of one kind brought.
struct Kind {
    name: &'static str,
    at: Option<SocketAddr>,
    asks: Vec<f64>,
    comers: Vec<f64>,
    wrong: u64,
    time: Duration,
}

impl Kind {
    fn new(name: &'static str, at: Option<SocketAddr>) -> Kind {
        Kind { name, at, asks: Vec::new(), comers: Vec::new(), wrong: 0, time: Duration::ZERO }
    }

    fn take(&mut self, (asks, comers): (Vec<f64>, Vec<f64>), wrong: u64, window: Duration) {
        self.asks.extend(asks);
        self.comers.extend(comers);
        self.wrong += wrong;
        self.time += window;
    }

    fn print(&mut self) {
        let rate = self.wrong as f64 / self.time.as_secs_f64();
        self.asks.sort_by(f64::total_cmp);
        self.comers.sort_by(f64::total_cmp);
        let [a, b] = [&self.asks, &self.comers].map(|times| [share(times, 0.5), share(times, 0.99)]);
        println!(
            "{:10} {rate:>12.0} {:>11.1} us {:>11.1} us {:>11.1} us {:>11.1} us",
            self.name, a[0], a[1], b[0], b[1]
        );
    }

    fn asks(&self) -> f64 {
        share(&self.asks, 0.5)
    }

    fn comers(&self) -> f64 {
        share(&self.comers, 0.5)
    }
}

/// The value below which this share of the sorted ones lies.
fn share(sorted: &[f64], share: f64) -> f64 {
    sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

/// Clients with the right key.
struct Honest {
    address: SocketAddr,
    key: String,
    stays: WebSocket<TcpStream>,
}

impl Honest {
    fn new(address: SocketAddr, key: &str) -> Result<Honest> {
        Ok(Honest { address, key: key.to_owned(), stays: enter(address, key)? })
    }

    /// Works for as long as a window: microseconds per question of who stays, and per visit of a newcomer.
    fn window(&mut self, window: Duration) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut asks, mut comers) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        while begun.elapsed() < window {
            for _ in 0..50 {
                let at = Instant::now();
                ask(&mut self.stays)?;
                asks.push(at.elapsed().as_secs_f64() * 1e6);
            }
            let at = Instant::now();
            ask(&mut enter(self.address, &self.key)?)?;
            comers.push(at.elapsed().as_secs_f64() * 1e6);
        }
        Ok((asks, comers))
    }
}

fn enter(address: SocketAddr, key: &str) -> Result<WebSocket<TcpStream>> {
    let mut request = format!("ws://{address}/").into_client_request()?;
    request.headers_mut().insert("x-api-key", key.parse()?);
    Ok(tungstenite::client::client(request, connect(address)?).map_err(|error| error.to_string())?.0)
}

fn ask(socket: &mut WebSocket<TcpStream>) -> Result<()> {
    socket.send(Message::text(r#"{"action":"READ_MEMORY"}"#))?;
    match socket.read()? {
        Message::Text(text) if text.contains("\"success\":true") => Ok(()),
        other => Err(format!("an honest client was told {other:?}").into()),
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, STALL_LIMIT)?;
    stream.set_read_timeout(Some(STALL_LIMIT))?;
    stream.set_write_timeout(Some(STALL_LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Wrong keys at a steady rate.
struct Flood {
    stop: Vec<std::sync::mpsc::Sender<()>>,
    threads: Vec<std::thread::JoinHandle<u64>>,
}

impl Flood {
    fn start(at: SocketAddr, rate: u64) -> Flood {
        let mut flood = Flood { stop: Vec::new(), threads: Vec::new() };
        for _ in 0..STRANGERS {
            let (sender, stopped) = channel();
            flood.stop.push(sender);
            let pause = Duration::from_secs(1) * STRANGERS as u32 / u32::try_from(rate).unwrap_or(u32::MAX);
            flood.threads.push(std::thread::spawn(move || show_wrong_keys(at, pause, &stopped)));
        }
        flood
    }

    /// How many were shown.
    fn stop(self) -> Result<u64> {
        drop(self.stop);
        let shown = self.threads.into_iter().map(|thread| thread.join().map_err(|_| "a stranger crashed"));
        Ok(shown.sum::<std::result::Result<u64, _>>()?)
    }
}

fn show_wrong_keys(at: SocketAddr, pause: Duration, stopped: &Receiver<()>) -> u64 {
    let plain = format!("GET /pins HTTP/1.1\r\nHost: {at}\r\nX-API-Key: {WRONG}\r\nConnection: close\r\n\r\n");
    let upgrade = |key: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: {at}\r\n{key}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    // A masked text frame (with a mask of zeros) behind a handshake without a key.
    let message = format!(r#"{{"action":"AUTH","params":{{"api_key":"{WRONG}"}}}}"#);
    let mut first = upgrade("").into_bytes();
    first.extend([0x81, 0x80 | message.len() as u8, 0, 0, 0, 0]);
    first.extend(message.bytes());
    let ways = [plain.into_bytes(), upgrade(&format!("X-API-Key: {WRONG}\r\n")).into_bytes(), first];
    let (mut shown, mut next) = (0, Instant::now());
    for way in ways.iter().cycle() {
        next += pause;
        let left = next.saturating_duration_since(Instant::now());
        if stopped.recv_timeout(left) != Err(RecvTimeoutError::Timeout) {
            break;
        }
        shown += u64::from(connect(at).and_then(|stream| refused(stream, way)).is_ok());
    }
    shown
}

/// Shows a key, and waits until it is said to be wrong.
fn refused(mut stream: TcpStream, request: &[u8]) -> Result<()> {
    stream.write_all(request)?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 1024]);
    loop {
        match stream.read(&mut chunk)? {
            0 => return Err("no refusal".into()),
            n => answer.extend_from_slice(&chunk[..n]),
        }
        if answer.windows(REFUSAL.len()).any(|part| part == REFUSAL) {
            return Ok(());
        }
    }
}

/// Something else on this machine for strangers to talk to; ends with the process.
fn bystander() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(std::result::Result::ok) {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(
                b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 15\r\nConnection: close\r\n\r\nInvalid API Key",
            );
        }
    });
    Ok(address)
}

/// A directory that is removed with the value.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Result<Dir> {
        let path = std::env::temp_dir().join(format!("pinwire-strangers-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Dir(path))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn make_key(options: &Options, dir: &Path) -> Result<String> {
    let made =
        Command::new(&options.daemon).args(["key", "add", "--name", "honest", "--state-dir"]).arg(dir).output()?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
    }
    Ok(String::from_utf8(made.stdout)?.trim().to_owned())
}

/// The daemon under test; killed when dropped.
struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    fn start(options: &Options, dir: &Path) -> Result<Daemon> {
        let mut command = Command::new(&options.daemon);
        command.args(["serve", "--listen", "127.0.0.1:0", "--gpio", "sim", "--auth", "key", "--log-level", "error"]);
        for name in ["PORT", "API_KEY", "USE_TLS", "KEY_FILE", "CERT_FILE"] {
            command.env_remove(name);
        }
        let mut child = command.arg("--state-dir").arg(dir).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe to the daemon")?;
        // Owned from here on, so that every early return below kills it.
        let mut daemon = Daemon { child, address: ([127, 0, 0, 1], 0).into() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim_end().strip_prefix("listening on http://").and_then(|rest| rest.parse().ok());
        daemon.address = address.ok_or_else(|| format!("the daemon said {line:?} instead of where it listens"))?;
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to kill and nothing to say.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
