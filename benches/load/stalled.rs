//! Stalled subscribers: fifty that do not read stand beside a hundred that do, who shall not notice.

use std::net::TcpStream;
use std::time::Instant;

use crate::Result;
use crate::client::{Client, Role};
use crate::fan_out::{FanOut, Shape};
use crate::options::Options;
use crate::pairs::Spread;
use crate::procfs;
use crate::publisher::Via;
use crate::server::Server;
use crate::table::{Row, Target};

const STALLED: usize = 50;
const HONEST: Shape = Shape { subscribers: 100, publishers: 1, window: 1 };

/// A stalled client's own buffer is full after this little.
const RECEIVE_BUFFER: usize = 4096;
/// Until the stalled ones' buffers in the kernel are full: some 64 KiB each, in events of 128 bytes.
const FILL: u64 = 4_000;

const MOST_TIMES: f64 = 1.2;
/// The daemon's budget for everything that waits.
const BUDGET_KIB: f64 = 16.0 * 1024.0;

/// Measures the honest ones' latency on a daemon with stalled ones against one without.
pub fn measure(options: &Options) -> Result<Vec<Row>> {
    let [with, without] = [Server::daemon(options)?, Server::daemon(options)?];
    let mut beside = FanOut::connect(&with, HONEST, Via::Socket)?;
    let mut alone = FanOut::connect(&without, HONEST, Via::Socket)?;
    let before = procfs::rss_kib(with.pid())?;
    let stalled = (0..STALLED).map(|_| stall(&with)).collect::<Result<Vec<_>>>()?;
    for _ in 0..FILL {
        beside.timed(|_| {})?;
    }
    let mut p99s = [Vec::new(), Vec::new()];
    for round in 1..=options.pairs {
        for (place, fan_out) in [&mut beside, &mut alone].into_iter().enumerate() {
            p99s[place].push(p99(options, fan_out)?);
        }
        let last = round as usize - 1;
        println!("stalled, round {round} of {}: p99 {:.3}", options.pairs, p99s[0][last] / p99s[1][last]);
    }
    let grown = procfs::rss_kib(with.pid())? - before;
    drop(stalled);
    let median = |place: usize| Spread::of(p99s[place].iter().copied()).median;
    let ratio = Spread::of(p99s[0].iter().zip(&p99s[1]).map(|(with, without)| with / without));
    let name = format!("{STALLED} stalled beside {} honest: their p99", HONEST.subscribers);
    let latency = Row {
        work: name,
        daemon: format!("{:.0} µs", median(0)),
        reference: format!("{:.0} µs", median(1)),
        ratio: ratio.to_string(),
        target: Target::at_most(ratio.median, MOST_TIMES, "×"),
        ..Row::default()
    };
    let memory = Row {
        work: "… memory for the stalled ones".to_owned(),
        daemon: format!("{grown:.0} KiB"),
        target: Target::at_most(grown, BUDGET_KIB, "KiB"),
        ..Row::default()
    };
    Ok(vec![latency, memory])
}

/// A client that has come for the event and never reads; it loses events and stays.
fn stall(server: &Server) -> Result<Client> {
    let client = Client::open(server, Role::Spectator)?;
    let stream: &TcpStream = client.stream();
    rustix::net::sockopt::set_socket_recv_buffer_size(stream, RECEIVE_BUFFER)?;
    Ok(client)
}

/// In microseconds.
fn p99(options: &Options, fan_out: &mut FanOut) -> Result<f64> {
    let mut times = Vec::new();
    let until = Instant::now() + options.seconds;
    while Instant::now() < until {
        fan_out.timed(|time| times.push(time))?;
    }
    times.sort_unstable();
    let at = times.len() * 99 / 100;
    Ok(times.get(at).ok_or("no deliveries")?.as_secs_f64() * 1e6)
}
