//! What a cursor brings.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use super::{History, Numbered, Place, Ring};
use crate::hub::cursor::{Cursor, CursorId, Had, Select};

/// Some of the events a cursor has before it.
#[derive(Debug, Default)]
pub struct Chunk {
    pub events: Vec<Numbered>,
    /// There is nothing behind them.
    pub is_last: bool,
}

/// How much of what a cursor has before it is wanted at once.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// Events.
    pub most: usize,
    /// Their bytes, about.
    pub bytes: usize,
    /// What may be looked at for them.
    pub look: usize,
}

impl History {
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

    /// The next events for a cursor, without those it `had`. It stands behind them then.
    pub fn pull(&mut self, id: CursorId, portion: Portion, had: &Had) -> Chunk {
        let mut chunk = Chunk { events: Vec::new(), is_last: true };
        let Some(cursor) = self.cursors.get(&id) else { return chunk };
        let mut taken = 0;
        let visit = |numbered: &Numbered| {
            let weight = numbered.event.weight();
            if chunk.events.len() == portion.most || (taken > 0 && taken + weight > portion.bytes) {
                chunk.is_last = false;
                return false;
            }
            taken += weight;
            chunk.events.push(numbered.clone());
            true
        };
        let reached = match self.named(&cursor.select) {
            Some(named) => {
                merge_after(cursor.at, &cursor.select, named, had, visit);
                None
            }
            None => self.each_after(cursor.at, &cursor.select, portion.look, had, visit),
        };
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
        had: &Had,
        mut visit: impl FnMut(&Numbered) -> bool,
    ) -> Option<u64> {
        // Up to where a ring's events are wanted: asked once. 0 where its topic is not selected.
        let mut wanted: Vec<Option<u64>> = vec![None; self.rings.len()];
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
            looked += 1;
            let to = *wanted[place.ring as usize].get_or_insert_with(|| {
                looked += select.filters.len() + had.filters;
                if select.selects(&ring.name) { had.behind(&ring.name) } else { 0 }
            });
            if place.offset <= to
                && let Some(numbered) = ring.at(place.offset)
                && select.hears(numbered)
                && !visit(numbered)
            {
                return None;
            }
            if looked >= look {
                return Some(place.offset);
            }
        }
        None
    }

    /// Each selected ring, once, where all that is selected is names.
    pub(super) fn named<'a>(&'a self, select: &'a Select) -> Option<impl Iterator<Item = &'a Ring>> {
        let names: Option<BTreeSet<&str>> = select.filters.iter().map(|filter| filter.exact()).collect();
        let ring = |name: &str| self.rings.get(*self.names.get(name)? as usize)?.as_ref();
        Some(names?.into_iter().filter_map(ring))
    }
}

/// The same for names alone: their rings are merged, and nothing else is looked at.
fn merge_after<'a>(
    after: u64,
    select: &Select,
    named: impl Iterator<Item = &'a Ring>,
    had: &Had,
    mut visit: impl FnMut(&Numbered) -> bool,
) {
    let mut heads: BinaryHeap<_> = named
        .enumerate()
        .filter_map(|(n, ring)| {
            let index = ring.slots.partition_point(|numbered| numbered.offset <= after);
            Some((Reverse(ring.slots.get(index)?.offset), n, index, had.behind(&ring.name), RingRef(ring)))
        })
        .collect();
    while let Some((Reverse(offset), n, index, to, RingRef(ring))) = heads.pop() {
        let Some(numbered) = ring.slots.get(index).filter(|_| offset <= to) else { continue };
        if select.hears(numbered) && !visit(numbered) {
            return;
        }
        if let Some(next) = ring.slots.get(index + 1) {
            heads.push((Reverse(next.offset), n, index + 1, to, RingRef(ring)));
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
