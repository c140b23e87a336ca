//! How fast a day of history is: an agent that was away for a day, and then what a page asks for.

use std::time::{Duration, Instant, SystemTime};

use pinwire::types::fleet::Protocol;
use pinwire::types::fleet::{Cpu, Sample, Space};
use pinwire::wire::chatops::client;
use serde_json::Value;

use crate::agents::Agent;
use crate::hub::Hub;
use crate::sample::median;
use crate::{INTERVAL, Result};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ASKED: usize = 20;

/// Until a day of samples is written.
const WRITTEN_LIMIT: Duration = Duration::from_secs(180);

pub fn measure(hub: &Hub) -> Result<()> {
    let mut agent = Agent::connect(hub, "away")?;
    let count = DAY.as_secs() / INTERVAL.as_secs();
    let now = SystemTime::now();
    let begun = Instant::now();
    for number in 1..=count {
        agent.send(spooled(agent.server_id(), now, number, count)?)?;
        if number % 500 == 0 {
            while agent.acknowledged < number {
                agent.wait(begun + WRITTEN_LIMIT)?;
                agent.take()?;
            }
        }
    }
    while agent.stored < count {
        if begun.elapsed() > WRITTEN_LIMIT {
            return Err(format!("only {} of {count} samples were written in {WRITTEN_LIMIT:?}", agent.stored).into());
        }
        agent.wait(begun + WRITTEN_LIMIT)?;
        agent.take()?;
    }
    let taken = begun.elapsed();
    println!("\na day of one server, {count} samples at once after it was away: written after {taken:.1?}");
    let mut times = Vec::new();
    let mut points = 0;
    for _ in 0..ASKED {
        let begun = Instant::now();
        let history = hub.ask("GET", &format!("/metrics/{}/history", agent.server_id()), &Value::Null)?;
        times.push(begun.elapsed());
        points = history.as_array().map_or(0, Vec::len);
    }
    let slowest = times.iter().max().copied().unwrap_or_default();
    println!(
        "  history of the day, {points} points   {:.1?} (median of {ASKED}), {slowest:.1?} at most",
        median(&mut times)
    );
    Ok(())
}

/// A sample that was kept while the hub was away, with its number.
fn spooled(server_id: &str, now: SystemTime, number: u64, count: u64) -> Result<String> {
    let age = INTERVAL * u32::try_from(count - number)?;
    let sample = Sample {
        at: now.checked_sub(age),
        cpu: Cpu { percent: Some((number % 100) as f64), ..Cpu::default() },
        memory: Space { percent: Some(40.0), ..Space::default() },
        temperature_celsius: Some(48.3),
        load: Some([0.1, 0.2, 0.3]),
        ..Sample::default()
    };
    let mut out = Vec::new();
    client::metrics(&mut out, Protocol::Code, server_id, &sample);
    let text = String::from_utf8(out)?;
    // Beside the sample's members, in the message itself.
    let message = text.strip_suffix('}').ok_or("no object")?;
    let stream = "6f1c2a52-6a3e-4f0e-9d9b-3f0a1f0f6f01";
    let monotonic = number * 5_000_000_000;
    Ok(format!(
        r#"{message},"stream":"{stream}","seq":{number},"boot_id":"{stream}","monotonic_ns":{monotonic},"clock":"synchronised"}}"#
    ))
}
