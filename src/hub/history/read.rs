//! What of the history somebody gets: whether everything is there, the last values, and what a cursor brings.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use super::{History, Numbered, Place, Ring, bit};
use crate::hub::cursor::{Cursor, CursorId, Select};
use crate::hub::member::Filter;
use crate::types::event::Audience;
use crate::types::topic::is_reserved;

/// Places in the order that were looked at in one pull, at most.
const LOOK: usize = 8192;

/// Some of the events a cursor has before it.
#[derive(Debug, Default)]
pub struct Chunk {
    pub events: Vec<Numbered>,
    /// There is nothing behind them.
    pub is_last: bool,
}

impl History {
    /// Whether everything that `select` takes and that came after `since` is here. `head` is the last offset given out.
    pub fn has_all_since(&self, since: u64, head: u64, select: &Select) -> bool {
        let hears = |audiences: u8| audiences & select.audiences != 0;
        let floor = |begun: u64| {
            let floors = self.floor.iter().enumerate().filter(|(audience, _)| hears(1 << audience));
            floors.map(|(_, floor)| *floor).fold(begun, u64::max)
        };
        // Topics with bounds of their own are never forgotten.
        let behind_kept = |kept: bool| kept || since >= floor(self.begun);
        since <= head
            && select.filters.iter().all(|filter| match filter.exact() {
                Some(name) => match self.names.get(name).and_then(|id| self.rings.get(*id as usize)?.as_ref()) {
                    Some(ring) => since >= ring.lost_to || !hears(ring.audiences),
                    None => behind_kept(!is_reserved(name) && self.kept.iter().any(|(kept, _)| kept.matches(name))),
                },
                None => {
                    let selected = |ring: &&Ring| hears(ring.audiences) && filter.selects(&ring.name);
                    behind_kept(self.keeps_all_of(filter, hears(bit(Audience::Facts))))
                        && self.rings.iter().flatten().filter(selected).all(|ring| since >= ring.lost_to)
                }
            })
    }

    /// Facts, whose names begin with a reserved level, are never kept.
    fn keeps_all_of(&self, filter: &Filter, hears_facts: bool) -> bool {
        let text = filter.as_str();
        if hears_facts && (text.starts_with('*') || is_reserved(text)) {
            return false;
        }
        match filter {
            Filter::Pattern(pattern) => self.kept.iter().any(|(kept, _)| kept.covers(pattern)),
            Filter::Exact(_) => false,
        }
    }

    /// The last event of each topic that `select` takes, in the order of offsets.
    pub fn last(&self, select: &Select) -> Vec<Numbered> {
        let mut last: Vec<Numbered> = self
            .candidates(select)
            .filter_map(|ring| ring.slots.back())
            .filter(|numbered| select.hears(numbered))
            .cloned()
            .collect();
        last.sort_unstable_by_key(|numbered| numbered.offset);
        last
    }

    /// Opens a cursor behind `since`; what it would still have to bring and is discarded before it is counted.
    pub fn open(&mut self, since: u64, select: Select) -> CursorId {
        let id = self.next_cursor;
        self.next_cursor += 1;
        self.cursors.insert(id, Cursor::new(since, select));
        id
    }

    pub fn close(&mut self, id: CursorId) {
        self.cursors.remove(&id);
        if self.cursors.is_empty() {
            self.settle();
        }
    }

    pub fn cursor(&mut self, id: CursorId) -> Option<&mut Cursor> {
        self.cursors.get_mut(&id)
    }

    /// How many events a cursor has before it, of those that `had` does not name.
    pub fn count(&self, id: CursorId, mut had: impl FnMut(&Numbered) -> bool) -> u64 {
        let Some(cursor) = self.cursors.get(&id) else { return 0 };
        let mut count = 0;
        self.each_after(cursor.at, &cursor.select, usize::MAX, |numbered| {
            count += u64::from(!had(numbered));
            true
        });
        count
    }

    /// The next events for a cursor, at most `most` and about `bytes`. It stands behind them then.
    pub fn pull(&mut self, id: CursorId, most: usize, bytes: usize, mut had: impl FnMut(&Numbered) -> bool) -> Chunk {
        let Some(cursor) = self.cursors.get(&id) else { return Chunk { events: Vec::new(), is_last: true } };
        let mut chunk = Chunk { events: Vec::new(), is_last: true };
        let mut taken = 0;
        let reached = self.each_after(cursor.at, &cursor.select, LOOK, |numbered| {
            if chunk.events.len() == most || (taken > 0 && taken + numbered.event.weight() > bytes) {
                chunk.is_last = false;
                return false;
            }
            if !had(numbered) {
                taken += numbered.event.weight();
                chunk.events.push(numbered.clone());
            }
            true
        });
        chunk.is_last &= reached.is_none();
        let last = chunk.events.last().map(|numbered| numbered.offset);
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.at = cursor.at.max(reached.unwrap_or(0)).max(last.unwrap_or(0));
        }
        chunk
    }

    /// Visits what `select` takes behind `after`, in order, until `visit` has had enough. Returns the offset behind
    /// which it did not look, if it stopped for having looked at much.
    fn each_after(
        &self,
        after: u64,
        select: &Select,
        look: usize,
        mut visit: impl FnMut(&Numbered) -> bool,
    ) -> Option<u64> {
        if select.filters.iter().all(|filter| filter.exact().is_some()) {
            self.merge_after(after, select, visit);
            return None;
        }
        // Whether a ring's topic is selected: asked once.
        let mut wanted: Vec<Option<bool>> = vec![None; self.rings.len()];
        let mut looked = 0;
        let from = |places: &VecDeque<Place>| places.partition_point(|place| place.offset <= after);
        let mut usual = self.aged.range(from(&self.aged)..).chain(self.order.range(from(&self.order)..)).peekable();
        let mut held = self.held.range(from(&self.held)..).peekable();
        let places = std::iter::from_fn(|| match (usual.peek(), held.peek()) {
            (Some(one), Some(other)) if other.offset < one.offset => held.next(),
            (Some(_), _) => usual.next(),
            (None, _) => held.next(),
        });
        for place in places {
            let Some(Some(ring)) = self.rings.get(place.ring as usize) else { continue };
            let wanted = &mut wanted[place.ring as usize];
            if *wanted.get_or_insert_with(|| select.selects(&ring.name))
                && let Some(numbered) = ring.at(place.offset)
                && select.hears(numbered)
                && !visit(numbered)
            {
                return None;
            }
            looked += 1;
            if looked >= look {
                return Some(place.offset);
            }
        }
        None
    }

    /// The same for names alone: their rings are merged, and nothing else is looked at.
    fn merge_after(&self, after: u64, select: &Select, mut visit: impl FnMut(&Numbered) -> bool) {
        let mut heads: BinaryHeap<_> = self
            .candidates(select)
            .enumerate()
            .filter_map(|(n, ring)| {
                let index = ring.slots.partition_point(|numbered| numbered.offset <= after);
                Some((Reverse(ring.slots.get(index)?.offset), n, index, RingRef(ring)))
            })
            .collect();
        while let Some((_, n, index, RingRef(ring))) = heads.pop() {
            let Some(numbered) = ring.slots.get(index) else { continue };
            if select.hears(numbered) && !visit(numbered) {
                return;
            }
            if let Some(next) = ring.slots.get(index + 1) {
                heads.push((Reverse(next.offset), n, index + 1, RingRef(ring)));
            }
        }
    }

    /// Each selected ring, once.
    fn candidates<'a>(&'a self, select: &'a Select) -> Box<dyn Iterator<Item = &'a Ring> + 'a> {
        let ring = |id: &u32| self.rings.get(*id as usize)?.as_ref();
        let names: Option<BTreeSet<&str>> = select.filters.iter().map(|f| f.exact()).collect();
        match names {
            Some(names) => Box::new(names.into_iter().filter_map(move |name| self.names.get(name).and_then(ring))),
            None => Box::new(self.rings.iter().flatten().filter(|ring| select.selects(&ring.name))),
        }
    }
}

/// A ring in the heap of a merge, where only the offsets count.
struct RingRef<'a>(&'a Ring);

impl PartialEq for RingRef<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for RingRef<'_> {}

impl PartialOrd for RingRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RingRef<'_> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}
