//! Idle: what the daemon costs when nothing happens, alone and with many connections that say nothing.

use std::time::{Duration, Instant};

use crate::Result;
use crate::client::{BUFFER_BYTES, Client, Role};
use crate::frames::{PONG, client_text};
use crate::options::Options;
use crate::procfs;
use crate::ready::Ready;
use crate::server::Server;
use crate::table::{Row, Target};

/// What follows a start or a burst of connections is over after this.
const SETTLE: Duration = Duration::from_secs(1);

const MOST_RSS_KIB: f64 = 6.0 * 1024.0;
const MOST_KIB_PER_CONNECTION: f64 = 16.0;
const MOST_WAKE_UPS_PER_S: f64 = 2.0;

/// A connection that says nothing is pinged within this.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// A burst is what comes within so short a time, and shall be no more than so much of all connections.
const MOMENT: Duration = Duration::from_millis(100);
const MOST_PERCENT_AT_ONCE: f64 = 5.0;

/// Measures the daemon alone; a bare server has nothing to be compared with here.
pub fn measure(options: &Options) -> Result<Vec<Row>> {
    let mut daemon = Server::daemon_with(options, "")?;
    daemon.settle(SETTLE)?;
    let alone = procfs::rss_kib(daemon.pid())?;
    // Not every kernel says it.
    let own = procfs::own_kib(daemon.pid()).map_or_else(|_| "unknown".to_owned(), |kib| format!("{kib:.0} KiB"));
    let (wake_ups, cpu) = wake_ups(&mut daemon, options.idle_seconds)?;

    let mut clients = Client::open_many(&daemon, options.connections, |_| Role::Caller)?;
    daemon.settle(SETTLE)?;
    let silent = procfs::rss_kib(daemon.pid())?;
    let (wake_ups_full, _) = self::wake_ups(&mut daemon, options.idle_seconds)?;
    let burst = burst(&mut clients)?;

    let request = client_text(r#"{"action":"READ_MEMORY"}"#);
    for client in &mut clients {
        client.send(&request)?;
        client.receive_text()?;
    }
    daemon.settle(SETTLE)?;
    let spoken = procfs::rss_kib(daemon.pid())?;

    let each = |rss: f64| (rss - alone) / clients.len() as f64;
    let per_connection = |work: &str, rss: f64| {
        let work = format!("idle, RSS per connection of {}{work}", clients.len());
        row(work, format!("{:.1} KiB", each(rss)), Target::at_most(each(rss), MOST_KIB_PER_CONNECTION, "KiB"))
    };
    let within = options.idle_seconds;
    let wake_ups_row = |work: String, wake_ups: f64| {
        row(work, format!("{wake_ups:.1}/s"), Target::at_most(wake_ups, MOST_WAKE_UPS_PER_S, "/s"))
    };
    let many = clients.len();
    Ok(vec![
        row("idle, RSS".to_owned(), format!("{alone:.0} KiB"), Target::at_most(alone, MOST_RSS_KIB, "KiB")),
        row("idle, of it the daemon's own, not pages of files".to_owned(), own, Target::none()),
        wake_ups_row(format!("idle, wake-ups within {within:?}"), wake_ups),
        row(format!("idle, CPU within {within:?}"), format!("{:.2} ms", cpu.as_secs_f64() * 1e3), Target::none()),
        per_connection("", silent),
        wake_ups_row(format!("idle, wake-ups with {many} connections, between their pings"), wake_ups_full),
        row(
            format!("idle, most pings within {MOMENT:?}, of {many} that came together"),
            format!("{burst:.1} %"),
            Target::at_most(burst, MOST_PERCENT_AT_ONCE, "%"),
        ),
        per_connection(", one request each", spoken),
    ])
}

/// Answers pings until each connection has had one, and says how many percent of all came at once.
fn burst(clients: &mut [Client]) -> Result<f64> {
    let mut ready = Ready::watch(clients)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let start = Instant::now();
    let until = start + KEEP_ALIVE + KEEP_ALIVE / 4;
    let mut moments = vec![0_usize; until.duration_since(start).div_duration_f64(MOMENT) as usize + 2];
    while Instant::now() < until {
        for &number in ready.wait_until(until)? {
            clients[number].receive_ready(&mut buffer)?;
            clients[number].send(&PONG)?;
            let moment = start.elapsed().div_duration_f64(MOMENT) as usize;
            if let Some(count) = moments.get_mut(moment) {
                *count += 1;
            }
        }
    }
    let most = moments.into_iter().max().unwrap_or_default();
    Ok(100.0 * most as f64 / clients.len() as f64)
}

/// Wake-ups per second and CPU time of the daemon while `time` passes.
fn wake_ups(daemon: &mut Server, time: Duration) -> Result<(f64, Duration)> {
    let switches = procfs::context_switches(daemon.pid())?;
    let cpu = procfs::cpu_time(daemon.pid())?;
    daemon.settle(time)?;
    let switches = procfs::context_switches(daemon.pid())?.saturating_sub(switches);
    let cpu = procfs::cpu_time(daemon.pid())?.saturating_sub(cpu);
    Ok((switches as f64 / time.as_secs_f64(), cpu))
}

fn row(work: String, daemon: String, target: Target) -> Row {
    Row { work, daemon, target, ..Row::default() }
}
