//! How far somebody who comes back has been brought, and what of the rest was lost meanwhile.

use super::Filter;
use super::history::Numbered;
use crate::types::event::{Audience, Dialect};

/// A cursor's number.
pub type CursorId = u64;

/// Which events are wanted.
pub struct Select {
    pub filters: Vec<Filter>,
    /// A bit for each audience that is heard.
    pub audiences: u8,
}

impl Select {
    pub fn new(filters: Vec<Filter>, dialect: Dialect) -> Select {
        let heard = Audience::ALL.into_iter().filter(|audience| super::table::Table::hears(dialect, *audience));
        Select { filters, audiences: heard.fold(0, |bits, audience| bits | 1 << audience as u8) }
    }

    pub fn selects(&self, topic: &str) -> bool {
        self.filters.iter().any(|filter| filter.selects(topic))
    }

    pub fn hears(&self, numbered: &Numbered) -> bool {
        self.audiences & 1 << numbered.event.audience() as u8 != 0
    }
}

/// What a subscriber's other filters bring it.
pub struct Had<'a> {
    /// How many there are; none are not asked.
    pub filters: usize,
    /// Behind which offset they have brought it everything of a topic, or `u64::MAX`.
    pub behind: &'a dyn Fn(&str) -> u64,
}

impl Had<'_> {
    pub fn behind(&self, topic: &str) -> u64 {
        if self.filters == 0 { u64::MAX } else { (self.behind)(topic) }
    }
}

/// See the module's text.
pub struct Cursor {
    /// Where it began.
    pub since: u64,
    /// Everything up to here was brought, or looked at.
    pub at: u64,
    pub select: Select,
    lost: Lost,
}

/// What was discarded before it was brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    pub count: u64,
    pub first: u64,
    pub last: u64,
}

impl Cursor {
    pub fn new(at: u64, select: Select) -> Cursor {
        Cursor { since: at, at, select, lost: Lost::default() }
    }

    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// Begins anew, behind `at`.
    pub fn restart(&mut self, at: u64) {
        (self.since, self.at, self.lost) = (at, at, Lost::default());
    }

    /// An event was discarded.
    pub fn lose(&mut self, topic: &str, numbered: &Numbered) {
        if numbered.offset <= self.at || !self.select.hears(numbered) || !self.select.selects(topic) {
            return;
        }
        self.lost.add(numbered.offset);
    }
}

impl Lost {
    /// Events are discarded in the order of their topics' offsets, not of all.
    pub fn add(&mut self, offset: u64) {
        self.first = if self.count == 0 { offset } else { self.first.min(offset) };
        self.last = self.last.max(offset);
        self.count += 1;
    }

    /// Both together.
    pub fn and(self, other: Lost) -> Lost {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { other } else { self };
        }
        let (count, first) = (self.count + other.count, self.first.min(other.first));
        Lost { count, first, last: self.last.max(other.last) }
    }
}
