//! One line's edges: what is told, when, and what becomes of what could not be told. No clock, no lock.
//!
//! All times are nanoseconds of CLOCK_MONOTONIC. Whatever a call has to tell goes to its `post`, which says whether
//! there was room for it.

use std::time::Duration;

use super::super::lines::RawEdge;
use crate::types::event::Edges;
use crate::types::line::{Edge, Level};
use crate::types::output::EdgeCounters;

/// The span in which a line's first edges are told one by one and the others as a number.
pub const WINDOW: Duration = Duration::from_millis(100);

/// How long a loss waits for an event that carries it before it is told by itself, and how often that is tried.
pub const RETRY: Duration = Duration::from_millis(20);

/// An event about a line, all but its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub level: Level,
    pub edges: Edges,
}

/// How a line's edges are treated.
#[derive(Clone, Copy, Debug)]
pub struct Treatment {
    /// Edges that are none of these are not the line's.
    pub edge: Edge,
    /// How long a level must hold before it counts; zero where the backend sees to it, or nobody wants it.
    pub debounce: Duration,
    /// Edges told one by one within [`WINDOW`]; 0 for all.
    pub limit: usize,
}

/// What there is to know between two edges. Every edge that came, and every one known to be lost before, ends up in
/// the `count` or the `lost` of exactly one event that got through, or still waits here.
pub struct LineInput {
    treatment: Treatment,
    counters: EdgeCounters,
    /// As last known, debounced.
    level: Option<Level>,
    /// A level that has not held long enough yet.
    waiting: Option<Waiting>,
    window: Window,
    /// The last edge that counted.
    last: Mark,
    /// Lost edges nobody has been told of, and when that is tried next.
    untold: u64,
    retry_at: Option<u64>,
}

#[derive(Clone, Copy)]
struct Waiting {
    level: Level,
    due: u64,
    seqno: Option<(u32, u32)>,
}

/// The current or, if its end has passed, the last one.
#[derive(Clone, Copy, Default)]
struct Window {
    end: u64,
    told: usize,
    beyond: u32,
}

#[derive(Clone, Copy)]
struct Mark {
    level: Level,
    at: u64,
    seqno: Option<(u32, u32)>,
}

impl LineInput {
    pub fn new(treatment: Treatment, level: Option<Level>) -> LineInput {
        LineInput {
            treatment,
            counters: EdgeCounters::default(),
            level,
            waiting: None,
            window: Window::default(),
            last: Mark { level: level.unwrap_or(Level::Low), at: 0, seqno: None },
            untold: 0,
            retry_at: None,
        }
    }

    pub fn counters(&self) -> EdgeCounters {
        self.counters
    }

    /// What counts from the next window on.
    pub fn set_limit(&mut self, limit: usize) {
        self.treatment.limit = limit;
    }

    /// Takes in an edge.
    pub fn edge(&mut self, edge: &RawEdge, now: u64, post: &mut impl FnMut(Told) -> bool) {
        if self.treatment.debounce.is_zero() {
            self.lose(edge.lost, now);
            let mark = Mark { level: edge.level, at: edge.monotonic_ns, seqno: edge.seqno };
            self.report(mark, now, post);
            return;
        }
        self.settle(edge.monotonic_ns, now, post);
        // Edges lost within the debounce time were bounces: no level between them has held.
        if self.waiting.is_none() {
            self.lose(edge.lost, now);
        }
        // As the kernel's debouncer does: each edge starts the time again.
        let due = edge.monotonic_ns.saturating_add(nanos(self.treatment.debounce));
        self.waiting = Some(Waiting { level: edge.level, due, seqno: edge.seqno });
    }

    /// When [`LineInput::tick`] has something to do; `None` while nothing waits.
    pub fn next_due(&self) -> Option<u64> {
        let window = (self.window.beyond > 0).then_some(self.window.end);
        [self.waiting.map(|waiting| waiting.due), window, self.retry_at].into_iter().flatten().min()
    }

    /// Tells what is due.
    pub fn tick(&mut self, now: u64, post: &mut impl FnMut(Told) -> bool) {
        self.settle(now, now, post);
        if now >= self.window.end {
            self.summarise(WINDOW, now, post);
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            let level = self.level.unwrap_or(self.last.level);
            self.tell(level, 0, None, now, post);
        }
    }

    /// Starts anew, with another treatment and level. Nothing of what has been counted is dropped; a level that has
    /// not held long enough is.
    pub fn restart(
        &mut self,
        treatment: Treatment,
        level: Option<Level>,
        now: u64,
        post: &mut impl FnMut(Told) -> bool,
    ) {
        let begun = self.window.end.saturating_sub(nanos(WINDOW));
        let open = Duration::from_nanos(now.saturating_sub(begun)).min(WINDOW);
        self.summarise(open, now, post);
        self.treatment = treatment;
        self.level = level;
        self.waiting = None;
        self.window = Window::default();
    }

    /// The level a line was taken with, unless an edge has told already.
    pub fn know(&mut self, level: Level) {
        self.level.get_or_insert(level);
    }

    pub fn reset_counters(&mut self) {
        self.counters = EdgeCounters::default();
    }

    /// Reports a level that has held long enough at `time`, unless it is the one the line had before: then the
    /// contact has only bounced. Stamped with the end of the debounce time, as by the kernel's own debouncer
    /// (drivers/gpio/gpiolib-cdev.c, debounce_work_func).
    fn settle(&mut self, time: u64, now: u64, post: &mut impl FnMut(Told) -> bool) {
        if let Some(Waiting { level, due, seqno }) = self.waiting
            && due <= time
        {
            self.waiting = None;
            if self.level != Some(level) {
                self.report(Mark { level, at: due, seqno }, now, post);
            }
        }
    }

    fn report(&mut self, mark: Mark, now: u64, post: &mut impl FnMut(Told) -> bool) {
        self.level = Some(mark.level);
        if !self.treatment.edge.includes(mark.level) {
            return;
        }
        if self.treatment.limit > 0 && mark.at >= self.window.end {
            self.summarise(WINDOW, now, post);
            // A stamp from the future must not keep the window open for ever.
            self.window = Window { end: mark.at.min(now).saturating_add(nanos(WINDOW)), told: 0, beyond: 0 };
        }
        match mark.level {
            Level::High => self.counters.rising += 1,
            Level::Low => self.counters.falling += 1,
        }
        self.last = mark;
        if self.treatment.limit == 0 || self.window.told < self.treatment.limit {
            self.window.told += 1;
            self.tell(mark.level, 1, None, now, post);
        } else {
            self.window.beyond = self.window.beyond.saturating_add(1);
        }
    }

    /// Tells of the edges beyond the limit, if there are any.
    fn summarise(&mut self, period: Duration, now: u64, post: &mut impl FnMut(Told) -> bool) {
        let count = std::mem::take(&mut self.window.beyond);
        if count > 0 && self.tell(self.last.level, count, Some(period), now, post) {
            self.counters.summarised += u64::from(count);
        }
    }

    /// Posts an event that stands for `count` edges and all untold losses; where there is no room, its edges are
    /// lost as well.
    fn tell(
        &mut self,
        level: Level,
        count: u32,
        period: Option<Duration>,
        now: u64,
        post: &mut impl FnMut(Told) -> bool,
    ) -> bool {
        let lost = u32::try_from(self.untold).unwrap_or(u32::MAX);
        let edges = Edges { count, period, lost, monotonic_ns: self.last.at, seqno: self.last.seqno };
        let told = post(Told { level, edges });
        if told {
            self.untold -= u64::from(lost);
        } else {
            // Lost to whoever listens; the counters have them already.
            self.untold = self.untold.saturating_add(u64::from(count));
        }
        self.retry_at = (self.untold > 0).then(|| now.saturating_add(nanos(RETRY)));
        told
    }

    fn lose(&mut self, lost: u32, now: u64) {
        if lost > 0 {
            self.untold = self.untold.saturating_add(u64::from(lost));
            self.counters.lost += u64::from(lost);
            self.retry_at.get_or_insert(now.saturating_add(nanos(RETRY)));
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
