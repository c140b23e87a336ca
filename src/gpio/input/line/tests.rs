//! What a line tells of its edges, at made-up times.

use super::*;
use crate::types::line::Pin;

const MS: u64 = 1_000_000;

fn plain() -> Treatment {
    Treatment { edge: Edge::Both, debounce: Duration::ZERO, limit: 50 }
}

fn debounced() -> Treatment {
    Treatment { debounce: Duration::from_millis(5), ..plain() }
}

fn raw(level: Level, at: u64) -> RawEdge {
    let pin = Pin::new(17).expect("a line of the header");
    RawEdge { pin, level, monotonic_ns: at, seqno: Some((7, 3)), lost: 0 }
}

/// A line and what it has told to somebody who has room, or not.
struct Rig {
    line: LineInput,
    room: bool,
    told: Vec<Told>,
}

impl Rig {
    fn new(treatment: Treatment) -> Rig {
        Rig { line: LineInput::new(treatment, Some(Level::Low)), room: true, told: Vec::new() }
    }

    fn with(&mut self, act: impl FnOnce(&mut LineInput, &mut dyn FnMut(Told) -> bool)) {
        let Rig { line, room, told } = self;
        let mut post = |event| {
            if *room {
                told.push(event);
            }
            *room
        };
        act(line, &mut post);
    }

    fn edge(&mut self, edge: RawEdge) {
        self.with(|line, mut post| line.edge(&edge, edge.monotonic_ns, &mut post));
    }

    fn tick(&mut self, now: u64) {
        self.with(|line, mut post| line.tick(now, &mut post));
    }

    /// What has been told since the last call: level, count, lost, the stamp in milliseconds.
    fn take(&mut self) -> Vec<(Level, u32, u32, u64)> {
        let short = |t: Told| (t.level, t.edges.count, t.edges.lost, t.edges.monotonic_ns / MS);
        std::mem::take(&mut self.told).into_iter().map(short).collect()
    }
}

use Level::{High, Low};

#[test]
fn each_edge_is_told_with_what_the_kernel_said_of_it() {
    let mut rig = Rig::new(plain());
    rig.edge(raw(High, 5 * MS));
    let edges = Edges { count: 1, period: None, lost: 0, monotonic_ns: 5 * MS, seqno: Some((7, 3)) };
    assert_eq!(rig.told, [Told { level: High, edges }]);
    assert_eq!(rig.line.next_due(), None, "nothing waits");
    assert_eq!(rig.line.counters(), EdgeCounters { rising: 1, ..EdgeCounters::default() });
}

#[test]
fn what_the_kernel_lost_comes_with_the_next_edge_that_counts() {
    let mut rig = Rig::new(Treatment { edge: Edge::Rising, ..plain() });
    rig.edge(RawEdge { lost: 4, ..raw(Low, 10 * MS) });
    assert_eq!(rig.take(), [], "a falling edge is none of this line's");
    rig.edge(raw(High, 11 * MS));
    assert_eq!(rig.take(), [(High, 1, 4, 11)]);
    assert_eq!(rig.line.next_due(), None);
    assert_eq!(rig.line.counters(), EdgeCounters { rising: 1, lost: 4, ..EdgeCounters::default() });
}

#[test]
fn a_loss_that_no_edge_follows_is_told_by_itself() {
    let mut rig = Rig::new(Treatment { edge: Edge::Falling, ..plain() });
    rig.edge(RawEdge { lost: 3, ..raw(High, 10 * MS) });
    assert_eq!(rig.line.next_due(), Some(30 * MS));
    rig.tick(29 * MS);
    assert_eq!(rig.take(), []);
    rig.tick(30 * MS);
    assert_eq!(rig.take(), [(High, 0, 3, 0)]);
    assert_eq!(rig.line.next_due(), None);
}

#[test]
fn beyond_the_limit_one_event_stands_for_the_rest_of_the_window() {
    let mut rig = Rig::new(Treatment { limit: 3, ..plain() });
    for step in 0..10 {
        rig.edge(raw(Level::from_bool(step % 2 == 0), (100 + step) * MS));
    }
    assert_eq!(rig.take(), [(High, 1, 0, 100), (Low, 1, 0, 101), (High, 1, 0, 102)]);
    assert_eq!(rig.line.next_due(), Some(200 * MS));
    rig.tick(199 * MS);
    assert_eq!(rig.take(), []);
    rig.tick(200 * MS);
    assert_eq!(rig.told[0].edges.period, Some(WINDOW));
    assert_eq!(rig.take(), [(Low, 7, 0, 109)]);
    assert_eq!((rig.line.next_due(), rig.line.counters().summarised), (None, 7));

    // The next window begins with the next edge, and an edge ends it where no tick came in between.
    for at in [250, 251, 252, 253, 351] {
        rig.edge(raw(High, at * MS));
    }
    assert_eq!(
        rig.take(),
        [(High, 1, 0, 250), (High, 1, 0, 251), (High, 1, 0, 252), (High, 1, 0, 253), (High, 1, 0, 351)]
    );
    assert_eq!(rig.line.counters().summarised, 8, "one of them was a summary of one edge");
}

#[test]
fn without_a_limit_every_edge_is_told() {
    let mut rig = Rig::new(Treatment { limit: 0, ..plain() });
    (0..1000).for_each(|step| rig.edge(raw(Level::from_bool(step % 2 == 0), step)));
    assert_eq!(rig.take().len(), 1000);
    assert_eq!(rig.line.next_due(), None);
}

#[test]
fn edges_that_find_no_room_are_told_as_lost() {
    let mut rig = Rig::new(Treatment { limit: 3, ..plain() });
    rig.room = false;
    (0..5).for_each(|step| rig.edge(raw(Level::from_bool(step % 2 == 0), step * MS)));
    rig.tick(22 * MS);
    rig.tick(100 * MS);
    assert_eq!(rig.line.next_due(), Some(120 * MS), "tried again, again and again");
    rig.room = true;
    rig.tick(120 * MS);
    assert_eq!(rig.take(), [(High, 0, 5, 4)], "three single ones and a summary of two");
    assert_eq!(rig.line.next_due(), None);
    // The daemon itself has seen them all.
    let expected = EdgeCounters { rising: 3, falling: 2, lost: 0, summarised: 0 };
    assert_eq!(rig.line.counters(), expected);

    rig.room = false;
    rig.edge(raw(High, 300 * MS));
    rig.room = true;
    rig.edge(raw(Low, 301 * MS));
    assert_eq!(rig.take(), [(Low, 1, 1, 301)], "the next edge tells it at once");
}

#[test]
fn only_a_level_that_holds_is_reported() {
    let mut rig = Rig::new(debounced());
    for (level, at) in [(High, 10), (Low, 11), (High, 12), (Low, 13), (High, 14)] {
        rig.edge(raw(level, at * MS));
    }
    assert_eq!(rig.line.next_due(), Some(19 * MS), "each bounce starts the time again");
    rig.tick(19 * MS);
    assert_eq!(rig.take(), [(High, 1, 0, 19)]);
    assert_eq!(rig.line.counters(), EdgeCounters { rising: 1, ..EdgeCounters::default() });
    for (level, at) in [(Low, 30), (High, 31)] {
        rig.edge(raw(level, at * MS));
    }
    rig.tick(40 * MS);
    assert_eq!((rig.take(), rig.line.next_due()), (vec![], None), "a short pulse is nothing");
}

#[test]
fn an_edge_after_a_long_silence_finds_the_last_one_settled() {
    let mut rig = Rig::new(debounced());
    rig.edge(raw(High, 10 * MS));
    rig.edge(raw(Low, 100 * MS));
    rig.tick(105 * MS);
    assert_eq!(rig.take(), [(High, 1, 0, 15), (Low, 1, 0, 105)], "even where no tick came in time");
}

#[test]
fn the_direction_counts_after_the_debouncing() {
    let mut rig = Rig::new(Treatment { edge: Edge::Falling, ..debounced() });
    rig.edge(raw(High, 10 * MS));
    rig.tick(15 * MS);
    assert_eq!(rig.take(), []);
    rig.edge(raw(Low, 20 * MS));
    rig.tick(25 * MS);
    assert_eq!(rig.take(), [(Low, 1, 0, 25)]);
}

#[test]
fn a_lost_bounce_is_no_loss_but_whatever_may_have_held_is() {
    let mut rig = Rig::new(debounced());
    rig.edge(raw(High, 10 * MS));
    rig.edge(RawEdge { lost: 2, ..raw(High, 12 * MS) });
    rig.tick(17 * MS);
    assert_eq!(rig.take(), [(High, 1, 0, 17)]);
    // Somebody let go and pressed again, and only the end of it was seen.
    rig.edge(RawEdge { lost: 1, ..raw(High, 900 * MS) });
    rig.tick(905 * MS);
    rig.tick(920 * MS);
    assert_eq!(rig.take(), [(High, 0, 1, 17)]);
    assert_eq!(rig.line.next_due(), None);
}

#[test]
fn a_restart_tells_what_was_counted_and_forgets_what_did_not_hold() {
    let mut rig = Rig::new(Treatment { limit: 1, ..plain() });
    (0..4).for_each(|step| rig.edge(raw(Level::from_bool(step % 2 == 0), (100 + step) * MS)));
    rig.take();
    rig.with(|line, mut post| line.restart(debounced(), Some(Low), 140 * MS, &mut post));
    assert_eq!(rig.told[0].edges.period, Some(Duration::from_millis(40)));
    assert_eq!(rig.take(), [(Low, 3, 0, 103)]);
    rig.edge(raw(High, 150 * MS));
    rig.with(|line, mut post| line.restart(plain(), Some(Low), 151 * MS, &mut post));
    assert_eq!(rig.line.next_due(), None);
    assert_eq!(rig.line.counters(), EdgeCounters { rising: 2, falling: 2, lost: 0, summarised: 3 });
}

#[test]
fn a_stamp_from_the_future_does_not_silence_the_line() {
    let mut rig = Rig::new(Treatment { limit: 1, ..plain() });
    rig.with(|line, mut post| line.edge(&raw(High, u64::MAX), 10 * MS, &mut post));
    rig.edge(raw(Low, 111 * MS));
    rig.edge(raw(High, 112 * MS));
    assert_eq!(rig.take().len(), 2);
    assert_eq!(rig.line.next_due(), Some(211 * MS));
}

/// Numbers that look random and are the same every time (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn nothing_is_hidden_whatever_happens() {
    for seed in 1..=300 {
        let mut numbers = Numbers(seed * 0x9E37_79B9);
        let edge = [Edge::Both, Edge::Rising, Edge::Falling, Edge::None][numbers.below(4) as usize];
        let treatment = Treatment { edge, limit: numbers.below(6) as usize, ..plain() };
        let mut rig = Rig::new(treatment);
        let (mut now, mut happened, mut counted) = (0, 0, 0);
        for _ in 0..500 {
            now += [0, 1, 500, MS, 7 * MS, 40 * MS, 250 * MS][numbers.below(7) as usize];
            rig.room = numbers.below(4) > 0;
            match numbers.below(12) {
                0 => rig.tick(now),
                1 => rig.with(|line, mut post| line.restart(treatment, None, now, &mut post)),
                more => {
                    // Some stamps are older than the time: the thread was late.
                    let at = now.saturating_sub(numbers.below(3) * 30 * MS);
                    let lost = if more == 2 { numbers.below(1000) as u32 } else { 0 };
                    let level = Level::from_bool(numbers.below(2) == 0);
                    let edge = RawEdge { lost, ..raw(level, at) };
                    rig.with(|line, mut post| line.edge(&edge, now, &mut post));
                    counted += u64::from(treatment.edge.includes(level));
                    happened += u64::from(treatment.edge.includes(level)) + u64::from(lost);
                }
            }
        }
        rig.room = true;
        let mut ticks = 0;
        while let Some(due) = rig.line.next_due() {
            rig.tick(due.max(now));
            ticks += 1;
            assert!(ticks < 10, "seed {seed}: it never comes to rest");
        }
        let told: u64 = rig.told.iter().map(|t| u64::from(t.edges.count) + u64::from(t.edges.lost)).sum();
        assert_eq!(told, happened, "seed {seed}, {treatment:?}");
        let counters = rig.line.counters();
        assert_eq!(counters.rising + counters.falling, counted, "seed {seed}");
        assert_eq!(counters.lost, happened - counted, "seed {seed}: each edge is counted once");
        let summarised = |t: &&Told| t.edges.period.is_some();
        let summarised: u64 = rig.told.iter().filter(summarised).map(|t| u64::from(t.edges.count)).sum();
        assert_eq!(counters.summarised, summarised, "seed {seed}");
    }
}
