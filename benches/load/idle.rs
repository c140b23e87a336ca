//! Idle: what the daemon costs when nothing happens, alone and with many connections that say nothing.

use std::time::Duration;

use crate::Result;
use crate::client::{Client, Role};
use crate::frames::client_text;
use crate::options::Options;
use crate::procfs;
use crate::server::Server;
use crate::table::{Row, Target};

/// What follows a start or a burst of connections is over after this.
const SETTLE: Duration = Duration::from_secs(1);

const MOST_RSS_KIB: f64 = 6.0 * 1024.0;
const MOST_KIB_PER_CONNECTION: f64 = 20.0;
const MOST_WAKE_UPS_PER_S: f64 = 2.0;

/// Measures the daemon alone; a bare server has nothing to be compared with here.
pub fn measure(options: &Options) -> Result<Vec<Row>> {
    let mut daemon = Server::daemon(options)?;
    daemon.settle(SETTLE)?;
    let alone = procfs::rss_kib(daemon.pid())?;
    let (wake_ups, cpu) = wake_ups(&mut daemon, options.idle_seconds)?;

    let mut clients = Client::open_many(&daemon, options.connections, |_| Role::Caller)?;
    daemon.settle(SETTLE)?;
    let silent = procfs::rss_kib(daemon.pid())?;

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
    let wake_up_target = Target::at_most(wake_ups, MOST_WAKE_UPS_PER_S, "/s");
    Ok(vec![
        row("idle, RSS".to_owned(), format!("{alone:.0} KiB"), Target::at_most(alone, MOST_RSS_KIB, "KiB")),
        row(format!("idle, wake-ups within {within:?}"), format!("{wake_ups:.1}/s"), wake_up_target),
        row(format!("idle, CPU within {within:?}"), format!("{:.2} ms", cpu.as_secs_f64() * 1e3), Target::none()),
        per_connection("", silent),
        per_connection(", one request each", spoken),
    ])
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
