//! The store bench: what it costs to keep a fleet's samples, and to look at them.
//!
//! It fills a database as so many servers would that send a sample every 5 s, with times of its own, so that hours pass in
//! seconds; by the library, as the hub does it.
//!
//! ```text
//! cargo bench --bench store                              200 servers, a day of history, about a minute
//! cargo bench --bench store -- --servers 20 --dir /mnt   fewer, on another disk
//! cargo bench --bench store -- --acks                    how many publishes a second are acknowledged, nothing else
//! ```
//!
//! Exit code: 0 however slow it is, 1 if it could not be measured, 2 for bad usage.
#![deny(unsafe_code)]

mod acks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use pinwire::config;
use pinwire::store::{FLUSH_AT, Kept, KeptWhat, Store};
use pinwire::types::fleet::{DeviceEvent, Health, Point, Server, ServerStatus, Stamp};

/// Anything that stops the bench.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How often a server sends a sample.
const INTERVAL: Duration = Duration::from_secs(5);

/// No single batch may take longer.
const LIMIT: Duration = Duration::from_secs(60);

/// The bench as a whole ends its filling after this, and says how far it has come.
const BUDGET: Duration = Duration::from_secs(240);

#[derive(Parser)]
#[command(name = "store", about = "Measures the store: batches, history, growth")]
struct Options {
    /// Servers that send samples
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    servers: u32,
    /// Hours of samples
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(2..=168))]
    hours: u32,
    /// Below this directory, on the disk that is to be measured [default: the system's for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only the rates of publishes that are answered
    #[arg(long)]
    acks: bool,
    /// Cargo says so under `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // `cargo bench` passes --bench; `cargo test --benches` does not, and must not start a measurement.
    if !std::env::args().any(|arg| arg == "--bench") || std::env::args().any(|arg| arg == "--test") {
        println!("store: measures only under `cargo bench --bench store`; nothing done");
        return ExitCode::SUCCESS;
    }
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    let base = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = base.join(format!("pinwire-store-bench-{}", std::process::id()));
    let outcome = std::fs::create_dir_all(&dir).map_err(Into::into).and_then(|()| match options.acks {
        true => acks::measure(&dir),
        false => measure(&options, &dir),
    });
    if let Err(error) = std::fs::remove_dir_all(&dir) {
        println!("{} stays: {error}", dir.display());
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A store on the disk with its servers, and word of what is kept.
struct Bench {
    store: Store,
    dir: PathBuf,
    ids: Vec<Arc<str>>,
    kept: std::sync::mpsc::Receiver<(String, u64)>,
    seq: u64,
}

fn measure(options: &Options, dir: &Path) -> Result<()> {
    let mut bench = Bench::new(options.servers, dir)?;
    println!("{} servers, one sample each per {INTERVAL:?}; {}", options.servers, dir.display());
    bench.batches()?;
    bench.fill(options.hours)?;
    bench.histories()?;
    let begun = Instant::now();
    bench.store.stop(LIMIT);
    let stopped = begun.elapsed();
    drop(bench);
    let begun = Instant::now();
    let store = Store::start(Some(dir))?;
    println!("end of the store: {stopped:.1?}; start, with what is checked then: {:.1?}", begun.elapsed());
    store.stop(LIMIT);
    Ok(())
}

impl Bench {
    fn new(servers: u32, dir: &Path) -> Result<Bench> {
        // Batches are written when they are full.
        let settings = config::Store { flush_interval: LIMIT * 15, ..config::Store::default() };
        let store = Store::start_with(Some(dir), &settings)?;
        let mut ids = Vec::new();
        for number in 0..servers {
            let id = format!("00000000-0000-4000-8000-{number:012}");
            store.add_server(&server(&id))?;
            ids.push(Arc::from(id));
        }
        let (sender, kept) = channel();
        store.on_kept(move |_, stream, seq| drop(sender.send((stream.to_owned(), seq))));
        Ok(Bench { store, dir: dir.to_owned(), ids, kept, seq: 0 })
    }

    /// Waits until everything that was kept so far is written.
    fn settle(&mut self) -> Result<()> {
        let at = SystemTime::UNIX_EPOCH;
        self.seq += 1;
        // The queue is written when it is full; what is numbered last is told last.
        for _ in 0..FLUSH_AT - 1 {
            let event = Arc::new(DeviceEvent { topic: "filler".into(), at, data: "{}".into() });
            self.store.keep(Kept { server_id: "nobody".into(), stamp: None, what: KeptWhat::Event(event) });
        }
        let event = Arc::new(DeviceEvent { topic: "mark".into(), at, data: "{}".into() });
        let stamp = Stamp { stream: "mark".into(), seq: self.seq, boot_id: None, monotonic_ns: None, clock: None };
        let server_id = Arc::clone(&self.ids[0]);
        self.store.keep(Kept { server_id, stamp: Some(stamp), what: KeptWhat::Event(event) });
        let mark = ("mark".to_owned(), self.seq);
        while self.kept.recv_timeout(LIMIT)? != mark {}
        Ok(())
    }

    /// Full batches of samples without and with numbers, and of events.
    fn batches(&mut self) -> Result<()> {
        const BATCHES: usize = 10;
        let now = SystemTime::now();
        for (name, numbered, events) in
            [("samples", false, false), ("numbered samples", true, false), ("numbered events", true, true)]
        {
            let rows = BATCHES * FLUSH_AT;
            let begun = Instant::now();
            for row in 0..rows {
                let server = row % self.ids.len();
                let round = (row / self.ids.len()) as u64;
                let stamp = numbered.then(|| Stamp {
                    stream: format!("{name}-{server}").into(),
                    seq: round + 1,
                    boot_id: None,
                    monotonic_ns: None,
                    clock: None,
                });
                let at = now - INTERVAL * u32::try_from(round % 600)?;
                let what = if events {
                    let data = r#"{"pin":17,"state":"high","edges":1}"#.into();
                    KeptWhat::Event(Arc::new(DeviceEvent { topic: "gpio.state.changed".into(), at, data }))
                } else {
                    KeptWhat::Point(point(at, row))
                };
                self.store.keep(Kept { server_id: Arc::clone(&self.ids[server]), stamp, what });
            }
            self.settle()?;
            let took = begun.elapsed();
            println!("{name}: {:.0} rows/s, written and synchronised", rows as f64 / took.as_secs_f64());
        }
        Ok(())
    }

    /// Hours of samples, the oldest first, and how the files grow with the last of them.
    fn fill(&mut self, hours: u32) -> Result<()> {
        let end = SystemTime::now();
        let per_hour = 3600 / u32::try_from(INTERVAL.as_secs())?;
        let begun = Instant::now();
        let mut sizes = vec![self.bytes()?];
        let mut written = 0;
        for hour in (0..hours).rev() {
            let before = written_bytes()?;
            for sample in (0..per_hour).rev() {
                let at = end - Duration::from_secs(3600) * hour - INTERVAL * sample;
                for (n, id) in self.ids.iter().enumerate() {
                    let what = KeptWhat::Point(point(at, n + sample as usize));
                    self.store.keep(Kept { server_id: Arc::clone(id), stamp: None, what });
                }
                // The queue is bounded; a fleet in real time is far from filling it.
                if sample % 40 == 0 {
                    self.settle()?;
                }
            }
            sizes.push(self.bytes()?);
            written = written_bytes()?.saturating_sub(before);
            if begun.elapsed() > BUDGET {
                println!("no more than {} of {hours} hours were filled within {BUDGET:?}", hours - hour);
                break;
            }
        }
        let took = begun.elapsed();
        let filled = sizes.len() - 1;
        let samples = self.ids.len() * per_hour as usize * filled;
        let mib = |bytes: f64| bytes / 1048576.0;
        let grown = |hours: &[u64]| match hours {
            [first, .., last] => mib(*last as f64 - *first as f64) / (hours.len() - 1) as f64,
            _ => 0.0,
        };
        println!("{filled} hours of samples: {:.0} samples/s", samples as f64 / took.as_secs_f64());
        println!(
            "growth: {:.1} MiB with the hour that is kept in points of 5 s, {:.2} MiB per hour before it, in points of 1 and \
             15 min; the files have {:.1} MiB",
            grown(&sizes[filled - 1..]),
            grown(&sizes[..filled]),
            mib(sizes[filled] as f64)
        );
        println!("written to the disk for the last hour: {:.1} MiB", mib(written as f64));
        Ok(())
    }

    fn histories(&self) -> Result<()> {
        let now = SystemTime::now();
        for (name, back) in [("hour", 3600), ("day", 86400), ("month", 30 * 86400)] {
            let mut took = Vec::new();
            let mut points = 0;
            for id in self.ids.iter().cycle().take(50) {
                let begun = Instant::now();
                points = self.store.history(id, now - Duration::from_secs(back), now, 1440)?.len();
                took.push(begun.elapsed());
            }
            took.sort_unstable();
            println!(
                "history of a {name} of one server: {points} points, {:.2?} (median of {}), {:.2?} at most",
                took[took.len() / 2],
                took.len(),
                took[took.len() - 1]
            );
        }
        Ok(())
    }

    /// Of the database and what SQLite has beside it.
    fn bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.dir)? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    }
}

/// Bytes this process has had written, as the kernel counts; zero on a file system in memory.
fn written_bytes() -> Result<u64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("no write_bytes in /proc/self/io")?.parse()?)
}

fn point(at: SystemTime, n: usize) -> Point {
    let part = (n % 997) as f64 / 9.97;
    Point {
        at,
        samples: 1,
        cpu_percent: Some(part),
        memory_percent: Some(100.0 - part),
        disk_percent: Some(61.23),
        temperature_celsius: Some(40.0 + part / 5.0),
        load_1m: Some(part / 25.0),
        bytes_sent: Some(1_000_000 + n as u64 * 1000),
        bytes_received: Some(9_000_000 + n as u64 * 3000),
    }
}

fn server(id: &str) -> Server {
    let at = SystemTime::now();
    Server {
        id: id.into(),
        owner: None,
        name: id.into(),
        host: None,
        port: None,
        metadata: None,
        status: ServerStatus::Unknown,
        health: Health::Healthy,
        last_seen: None,
        created_at: at,
        updated_at: at,
    }
}
