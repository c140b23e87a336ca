//! The whole hub, publishers, and subscribers who read slowly: what each got, and what it was told it has lost.

use std::time::Duration;

use shuttle::thread;

use crate::config;
use crate::conn::CLOSE_SLOW;
use crate::explore::Tests;
use crate::hub::{Encode, Filter, Hub, Member, Settings, Slow};
use crate::line::{Came, Reading, nothing_is_left, pair, shared};
use crate::rt::sync::Arc;
use crate::types::event::{Body, Dialect, Event};
use crate::types::topic::Pattern;

pub const TESTS: Tests = &[
    ("who_was_dropped_for_is_told_of_it_next_although_nobody_publishes_any_more", who_was_dropped_for_is_told_next),
    ("who_is_cut_got_everything_up_to_there_and_the_others_everything", who_is_cut_got_everything_up_to_there),
];

const EVENTS: u64 = 4;

fn hub(slow_events: Slow) -> Arc<Hub> {
    let encode = Encode {
        event: |dialect, _, position, out| {
            let offset = position.map_or(0, |position| position.offset);
            out.extend(format!("E{} {offset}\n", whose(dialect)).bytes());
        },
        lagged: |dialect, lagged, out| {
            out.extend(format!("L{} {} {} {}\n", whose(dialect), lagged.count, lagged.first, lagged.last).bytes());
        },
    };
    Hub::start(encode, &Settings { history: config::History::default(), slow_events }).expect("a thread")
}

/// The first or the second subscriber of a connection, which may be two.
fn whose(dialect: Dialect) -> usize {
    usize::from(dialect != BOTH[0])
}

const BOTH: [Dialect; 2] = [Dialect::Endrpi, Dialect::Picloud];

/// Neighbours have different topics: those of one go out together.
fn event(n: u64) -> Event {
    let event = if n.is_multiple_of(2) { "door.a" } else { "door.b" };
    let body = Body::Published { event: event.into(), data: "x".into(), action: None, created_at: None };
    Event { at: crate::rt::clock::wall(), body }
}

fn doors() -> Filter {
    Filter::Pattern(Pattern::new("door.*").expect("a pattern"))
}

/// Both publish half of the events.
fn publishers(hub: &Arc<Hub>) -> [thread::JoinHandle<()>; 2] {
    [0, 1].map(|_| {
        let hub = Arc::clone(hub);
        thread::spawn(move || {
            for n in 0..EVENTS / 2 {
                hub.publish(event(n));
                hub.combine();
            }
        })
    })
}

/// Follows each subscriber's numbers: one after the other, and every gap told before what comes behind it.
fn follow(next: &mut [u64; 2], came: &Came) {
    let Came::Line(line) = came else { panic!("{came:?} behind {next:?}") };
    let words: Vec<u64> = line[1..].split(' ').map(|word| word.parse().expect("a number")).collect();
    let next = &mut next[words[0] as usize];
    *next = match (line.as_bytes()[0], &words[1..]) {
        (b'E', [offset]) if offset == next => *next + 1,
        (b'L', [count, first, last]) if first == next && last - first + 1 == *count => last + 1,
        _ => panic!("{line} where {next} was next"),
    }
}

/// It reads until it knows of every event, and nobody publishes or subscribes behind them: were it forgotten, it would wait.
/// It is two subscribers, as `/ws` may be: both want to hear of room, which they are told of one after the other.
fn who_was_dropped_for_is_told_next() {
    let (hub, shared) = (hub(Slow::Drop), shared(9, 1000));
    let (conn, peer) = pair(&shared, 5);
    let ids = BOTH.map(|dialect| {
        let id = hub.join(Member { positions: true, slow: Slow::Drop, ..Member::new(&conn, dialect) });
        hub.subscribe(id, doors()).expect("room");
        id
    });
    hub.drain();
    let before = hub.position().offset;
    let publishers = publishers(&hub);
    let mut reading = Reading::new(peer, 4);
    let mut next = [before + 1; 2];
    while next != [before + EVENTS + 1; 2] {
        follow(&mut next, &reading.next());
    }
    publishers.into_iter().for_each(|publisher| publisher.join().expect("a publisher"));
    ids.into_iter().for_each(|id| hub.leave(id));
    hub.drain();
    hub.stop(Duration::from_secs(1));
    drop((hub, conn));
    nothing_is_left(&shared);
}

/// One reads nothing until all is published, another is quick.
fn who_is_cut_got_everything_up_to_there() {
    let (hub, shared) = (hub(Slow::Cut), shared(6, 1000));
    let [(slow, slow_peer), (quick, quick_peer)] = [pair(&shared, 5), pair(&shared, 100)];
    let ids = [&slow, &quick].map(|conn| {
        let id = hub.join(Member { positions: true, ..Member::new(conn, BOTH[0]) });
        hub.subscribe(id, doors()).expect("room");
        id
    });
    hub.drain();
    let before = hub.position().offset;
    let publishers = publishers(&hub);
    let mut reading = Reading::new(quick_peer, 100);
    let mut next = [before + 1; 2];
    (0..EVENTS).for_each(|_| follow(&mut next, &reading.next()));
    publishers.into_iter().for_each(|publisher| publisher.join().expect("a publisher"));
    let mut reading = Reading::new(slow_peer, 4);
    let mut next = [before + 1; 2];
    // Unless they came to it in so few sends that there was room.
    while next[0] <= before + EVENTS {
        match reading.next() {
            Came::Close(code) => {
                assert_eq!(code, CLOSE_SLOW);
                break;
            }
            came => follow(&mut next, &came),
        }
    }
    ids.into_iter().for_each(|id| hub.leave(id));
    hub.drain();
    hub.stop(Duration::from_secs(1));
    drop((hub, slow, quick));
    nothing_is_left(&shared);
}
