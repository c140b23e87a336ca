//! What a resume costs those who wait for the lock: an answer's work does not grow with what was missed.

use std::net::TcpStream;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::live::hub;
use super::*;

/// The processor's time of this thread; others on the machine do not count.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

struct Measured {
    hub: Arc<Hub>,
    id: MemberId,
    /// Nobody reads it: an answer is asked for, and nothing brought.
    _client: TcpStream,
}

/// A hub with so many events of each of so many topics, and somebody who comes back.
fn measured(topics: usize, each: usize) -> Measured {
    let history = config::History { count: each, bytes: 256 << 20, topics: 2 * topics, ..config::History::default() };
    let (hub, _) = hub(history);
    let shared = shared(1 << 20);
    for _ in 0..each {
        for topic in 0..topics {
            hub.publish(message(&format!("a.{topic}"), "x"));
        }
    }
    hub.drain();
    let (conn, client) = pair(&shared);
    let id = hub.join(Member { positions: true, ..Member::new(&conn, Dialect::Endrpi) });
    Measured { hub, id, _client: client }
}

/// The least an answer takes, of several.
fn answer(at: &Measured, filter: &str, missed: u64) -> Duration {
    let tries = (0..5).map(|_| {
        let wish = Wish { since: Some(Position { offset: 0, ..at.hub.position() }), last: false };
        let before = spent();
        let (answer, replay) = at.hub.resume(at.id, vec![pattern(filter)], wish).expect("room");
        let took = spent() - before;
        assert_eq!((answer.recovered, answer.missed), (Some(true), missed), "{filter}");
        drop(replay);
        took
    });
    tries.min().expect("several")
}

#[test]
fn an_answer_costs_no_more_for_having_missed_more() {
    let (few, many) = (measured(100, 10), measured(100, 1000));
    for (filter, topics) in [("a.7", 1), ("a.*", 100), ("**", 100)] {
        let (little, much) = (answer(&few, filter, topics * 10), answer(&many, filter, topics * 1000));
        eprintln!("{filter}: {little:?} for {}, {much:?} for {}", topics * 10, topics * 1000);
        // A hundred times as many. It finds its place in each topic, which takes a few steps more.
        assert!(much < 4 * little + Duration::from_micros(200), "{filter}: {little:?}, then {much:?}");
    }
    for measured in [few, many] {
        measured.hub.stop(Duration::from_secs(20));
    }
}
