//! The whole hub with real connections: clients that come, are cut at any moment, come back and ask for what they have
//! missed, while others publish as fast as they can. Whatever order all that happens in, each client ends with every event
//! once and in order, but for those it was told of.

use std::io::Read;
use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;

/// One line per frame: `E offset topic`, `L count first last`.
fn encode() -> Encode {
    let event = |_: Dialect, event: &Event, position: Option<Position>, out: &mut Vec<u8>| {
        let offset = position.map_or_else(|| "-".to_owned(), |position| position.offset.to_string());
        let Body::Published { data, .. } = &event.body else { return };
        out.extend(format!("E {offset} {} {data}\n", event.topic()).bytes());
    };
    let lagged = |_: Dialect, lagged: &Lagged, out: &mut Vec<u8>| {
        out.extend(format!("L {} {} {}\n", lagged.count, lagged.first, lagged.last).bytes());
    };
    Encode { event, lagged }
}

/// A hub, and the topics of all events there were: the first has the offset 1.
pub fn hub(history: config::History) -> (Arc<Hub>, Arc<Mutex<Vec<String>>>) {
    let hub = Hub::start(encode(), &Settings { history, slow_events: Slow::Drop }).expect("a thread");
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&log);
    hub.tap(Box::new(move |event| told.lock().expect("alive").push(event.topic().to_owned())));
    (hub, log)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Event(u64),
    Lagged { count: u64, first: u64, last: u64 },
}

/// The whole lines; what is cut in the middle is nothing, nor what comes after it.
pub fn lines(bytes: &[u8]) -> Vec<Line> {
    let text = String::from_utf8_lossy(bytes);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        match *words {
            ["E", offset, _, _] => Some(Line::Event(offset.parse().ok()?)),
            ["L", count, first, last] => {
                Some(Line::Lagged { count: count.parse().ok()?, first: first.parse().ok()?, last: last.parse().ok()? })
            }
            _ => None,
        }
    };
    whole.lines().map_while(parse).collect()
}

/// What a session does with a replay: see `session::Line::replay`.
pub fn run(hub: &Hub, conn: &Arc<Conn>, mut replay: Replay) -> bool {
    let mut replies = Vec::new();
    loop {
        let pulled = replay.pull(&mut replies);
        if !replies.is_empty() && conn.reply(&replies).is_err() {
            return false;
        }
        replies.clear();
        hub.combine();
        if pulled == Pulled::Live {
            return true;
        }
    }
}

/// One connection's part of a client's story.
struct Visit {
    answer: Answer,
    since: Option<Position>,
    /// The last number there was when it was asked for.
    head: u64,
    lines: Vec<Line>,
}

fn visit(
    hub: &Arc<Hub>,
    shared: &Arc<Shared>,
    rng: &mut Rng,
    filters: &[Filter],
    since: Option<Position>,
    end: &AtomicUsize,
) -> Visit {
    let (conn, mut client) = pair(shared);
    rustix::net::sockopt::set_socket_send_buffer_size(conn.socket(), 4096).expect("a small buffer");
    // It reads in pieces of any size, now and then not at all for a while.
    let mut reading = Rng::new(rng.below(1_000_000) as u64);
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut piece = vec![0; 1 + reading.below(8192)];
        loop {
            match client.read(&mut piece) {
                Ok(0) | Err(_) => return bytes,
                Ok(n) => bytes.extend_from_slice(&piece[..n]),
            }
            if reading.one_in(40) {
                (0..reading.below(300)).for_each(|_| thread::yield_now());
            }
        }
    });
    let id = hub.join(Member { positions: true, ..Member::new(&conn, Dialect::Endrpi) });
    let (answer, replay) = hub.resume(id, filters.to_vec(), Wish { since, last: false }).expect("room");
    let head = hub.position().offset;
    let dropped = rng.one_in(8);
    if dropped {
        drop(replay);
    } else if run(hub, &conn, replay) {
        let until = hub.position().offset + rng.below(400) as u64;
        while hub.position().offset < until && end.load(Ordering::Relaxed) > 0 {
            hub.combine();
            thread::yield_now();
        }
    }
    if end.load(Ordering::Relaxed) > 0 {
        // Cut in the middle of whatever is on its way.
        conn.end();
    } else {
        while conn.waiting() > 0 {
            thread::yield_now();
        }
        conn.socket().shutdown(std::net::Shutdown::Write).expect("the end");
    }
    hub.leave(id);
    hub.combine();
    Visit { answer, since, head, lines: lines(&reader.join().expect("a reader")) }
}

/// Everything a client has a right to: each wanted event once and in order, or told as lost.
fn check(visits: &[Visit], log: &[String], filters: &[Filter], exact: bool) -> (usize, u64) {
    // How many are wanted up to each offset.
    let mut sums = vec![0];
    for topic in log {
        let is_wanted = filters.iter().any(|filter| filter.selects(topic));
        sums.push(sums[sums.len() - 1] + u64::from(is_wanted));
    }
    let wanted = |after: u64, to: u64| sums[to.max(after) as usize] - sums[after as usize];
    let (mut recovered, mut told) = (0, 0);
    for visit in visits {
        let mut at = match (visit.since, visit.answer.recovered) {
            (None, said) => {
                assert_eq!(said, None);
                visit.answer.position.offset
            }
            (Some(since), Some(true)) => {
                assert_eq!(visit.answer.position, since);
                recovered += 1;
                since.offset
            }
            (Some(since), Some(false)) => {
                // Honest: there was something to lose.
                assert!(!exact || wanted(since.offset, visit.head) > 0, "nothing was lost since {since}");
                visit.answer.position.offset
            }
            (Some(_), None) => panic!("not said whether it is recovered"),
        };
        let mut lost = 0;
        for line in &visit.lines {
            match *line {
                Line::Event(offset) => {
                    assert!(offset > at, "{offset} after {at}");
                    assert!(filters.iter().any(|filter| filter.selects(&log[offset as usize - 1])));
                    assert_eq!(wanted(at, offset - 1), lost, "between {at} and {offset}");
                    (at, lost) = (offset, 0);
                }
                Line::Lagged { count, first, last } => {
                    assert!(first > at && last >= first && wanted(first - 1, last) >= count);
                    lost += count;
                    told += count;
                }
            }
        }
    }
    (recovered, told)
}

fn last_seen(visits: &[Visit]) -> Option<Position> {
    let visit = visits.last()?;
    let mut seen = visit.answer.position;
    for line in &visit.lines {
        seen.offset = match line {
            Line::Event(offset) => *offset,
            // It does not want what it was told is lost.
            Line::Lagged { last, .. } => *last,
        };
    }
    Some(seen)
}

#[test]
fn who_is_cut_and_comes_back_has_everything_once_and_in_order() {
    const PUBLISHERS: usize = 4;
    const VISITS: usize = 80;
    const MOST: usize = 100_000;
    with_seeds(4, |rng| {
        let history = config::History {
            count: rng.pick(&[0, 30, 1000]),
            bytes: rng.pick(&[100_000, 8 << 20]),
            topics: 100,
            ..config::History::default()
        };
        let exact = history.count > 0 && history.bytes > 1 << 20;
        let (hub, log) = hub(history);
        let shared = shared(16 * 1024);
        let publishing = Arc::new(AtomicUsize::new(PUBLISHERS));
        let visits = Arc::new(AtomicUsize::new(0));
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|n| {
                let (hub, publishing, visits) = (Arc::clone(&hub), Arc::clone(&publishing), Arc::clone(&visits));
                let mut rng = Rng::new(rng.below(1_000_000) as u64);
                thread::spawn(move || {
                    for _ in 0..MOST {
                        if visits.load(Ordering::Relaxed) >= VISITS {
                            break;
                        }
                        let topic = format!("{}.{}", rng.pick(&["a", "b", "c.d"]), rng.below(6));
                        hub.publish(message(&topic, &"x".repeat(1 + rng.below(400))));
                        if rng.one_in(1 + n) {
                            hub.combine();
                        }
                        if rng.one_in(3) {
                            thread::yield_now();
                        }
                    }
                    hub.combine();
                    publishing.fetch_sub(1, Ordering::Relaxed);
                })
            })
            .collect();
        let clients: Vec<_> = (0..6)
            .map(|n| {
                let (hub, shared, publishing) = (Arc::clone(&hub), Arc::clone(&shared), Arc::clone(&publishing));
                let done = Arc::clone(&visits);
                let mut rng = Rng::new(rng.below(1_000_000) as u64);
                thread::spawn(move || {
                    let all =
                        [pattern("**"), pattern("a.*"), pattern("c.**"), pattern("b.3"), Filter::Exact("a.1".into())];
                    let filters: Vec<_> = (0..=n % 3).map(|_| rng.pick(&all)).collect();
                    let mut visits: Vec<Visit> = Vec::new();
                    loop {
                        let is_last = publishing.load(Ordering::Relaxed) == 0;
                        let since = last_seen(&visits).filter(|_| !rng.one_in(10));
                        visits.push(visit(&hub, &shared, &mut rng, &filters, since, &publishing));
                        done.fetch_add(1, Ordering::Relaxed);
                        if is_last {
                            return (filters, visits);
                        }
                    }
                })
            })
            .collect();
        publishers.into_iter().for_each(|thread| thread.join().expect("a publisher"));
        let (mut recovered, mut told, mut visits_in_all) = (0, 0, 0);
        for client in clients {
            let (filters, visits) = client.join().expect("a client");
            hub.drain();
            let log = log.lock().expect("alive").clone();
            let (r, t) = check(&visits, &log, &filters, exact);
            (recovered, told, visits_in_all) = (recovered + r, told + t, visits_in_all + visits.len());
        }
        eprintln!(
            "{} events, {visits_in_all} visits, {recovered} recovered, {told} events told as lost",
            log.lock().expect("alive").len()
        );
        assert!(hub.hand.with(|core| core.table.is_empty()));
        assert_eq!(hub.subscriptions.load(Ordering::Relaxed), 0, "room for subscriptions that is not given back");
        hub.stop(Duration::from_secs(20));
    });
}
