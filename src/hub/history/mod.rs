//! What was published lately, for those who come back and for newcomers who want the last values. Pure: no threads, no
//! clock.
//!
//! Each topic has a ring of its latest events. Four bounds: events per topic, their age, bytes in all, topics in all;
//! whatever is over a bound, the oldest goes first. A topic's newest event outlives its age (it is the last value), not
//! the other bounds. What was discarded is known exactly (`lost_to`), so nobody is ever told that everything is there
//! when it is not.
//!
//! Topics with bounds of their own ([`History::begin`]) stand apart: nothing else pushes their events out, and they push
//! out nothing else. They have bytes of their own, together.

mod bounds;
mod read;
mod survey;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::cursor::{Cursor, CursorId};
use crate::types::event::Audience;
use crate::types::topic::Pattern;
pub use bounds::{Bounds, Limits, Numbered};
pub use read::{Chunk, Portion};
pub use survey::{Found, PART, Survey};

/// What a slot costs beside its event, about, with its place in the order.
const SLOT_BYTES: usize = 40;

/// Events of a topic without history that are kept while a subscription is about to begin.
const PASSING: usize = 1024;

/// Events that are discarded for their age in one go: after a silence there may be very many.
const AT_ONCE: usize = 256;

/// What a topic costs beside its name and events, about.
const RING_BYTES: usize = 200;

/// See the module's text.
pub struct History {
    limits: Limits,
    /// Topics with bounds of their own, and whose events of earlier runs are here. Of what clients publish.
    kept: Vec<(Pattern, Bounds)>,
    /// And the bytes of all of those, what they are and may be.
    kept_bytes: usize,
    kept_limit: usize,
    kept_topics: usize,
    names: HashMap<Box<str>, u32>,
    rings: Vec<Option<Ring>>,
    free: Vec<u32>,
    /// Every event's place, in the order of offsets; places of discarded events are skipped, and swept at times.
    order: VecDeque<Place>,
    /// The same, before those of `order`: last values beyond their age.
    aged: VecDeque<Place>,
    /// The same of topics with bounds of their own, which are in neither of those.
    held: VecDeque<Place>,
    /// Events here.
    live: usize,
    bytes: usize,
    /// The last offset of any topic that was forgotten, for each audience.
    floor: [u64; Audience::COUNT],
    /// Numbers up to here were given out before this start.
    begun: u64,
    cursors: HashMap<CursorId, Cursor>,
    next_cursor: CursorId,
}

struct Ring {
    name: Box<str>,
    slots: VecDeque<Numbered>,
    /// Offset of the last event that was discarded, 0 if none was.
    lost_to: u64,
    /// Offset of the newest event there was.
    newest: u64,
    /// Whose events are in it, a bit for each.
    audiences: u8,
    bounds: Bounds,
    /// They are its own.
    kept: bool,
    /// Its only event is beyond its age.
    aged: bool,
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    ring: u32,
    /// When it came, in tenths of a second.
    at: u32,
}

impl History {
    pub fn new(limits: Limits) -> History {
        History {
            limits,
            kept: Vec::new(),
            kept_bytes: 0,
            kept_limit: usize::MAX,
            kept_topics: 0,
            names: HashMap::new(),
            rings: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
            aged: VecDeque::new(),
            held: VecDeque::new(),
            live: 0,
            bytes: 0,
            floor: [0; Audience::COUNT],
            begun: 0,
            cursors: HashMap::new(),
            next_cursor: 1,
        }
    }

    /// Begins anew behind `begun`: what it holds keeps its order and is renumbered from there. Returns the last number
    /// used.
    pub fn begin(&mut self, begun: u64, kept: Vec<(Pattern, Bounds)>, now: Duration) -> u64 {
        let mut all: Vec<(Box<str>, Numbered)> = Vec::new();
        for ring in self.rings.drain(..).flatten() {
            all.extend(ring.slots.into_iter().map(|numbered| (ring.name.clone(), numbered)));
        }
        all.sort_by_key(|(_, numbered)| numbered.offset);
        *self = History { begun, kept, kept_limit: self.kept_limit, ..History::new(self.limits) };
        let mut offset = begun;
        for (name, Numbered { event, .. }) in all {
            offset += 1;
            self.push(&name, Numbered { offset, event }, now);
        }
        offset
    }

    /// Bounds the bytes of all topics that have bounds of their own.
    pub fn bound_kept(&mut self, bytes: usize) {
        self.kept_limit = bytes;
    }

    /// Puts in what is known of a topic from before this start, in order. `lost_to` is the offset of its last event
    /// that is not among them, 0 if none is missing.
    pub fn preload(&mut self, topic: &str, lost_to: u64, events: Vec<Numbered>, now: Duration) {
        let audience = events.last().map_or(Audience::Messages, |numbered| numbered.event.audience());
        let at = tenths(now);
        let id = self.ring(topic, audience);
        let kept = self.ring_mut(id).is_some_and(|ring| ring.kept);
        let mut rest = std::mem::take(self.places(kept));
        if let Some(ring) = self.ring_mut(id) {
            // What came since the start is newer.
            let newer = std::mem::take(&mut ring.slots);
            ring.lost_to = lost_to;
            ring.newest = ring.newest.max(events.last().map_or(0, |numbered| numbered.offset));
            let places = events.iter().map(|numbered| Place { offset: numbered.offset, ring: id, at });
            rest.extend(places);
            let (count, bytes) = (events.len(), events.iter().map(weight).sum::<usize>());
            ring.slots.extend(events.into_iter().chain(newer));
            self.live += count;
            *self.bytes_of(kept) += bytes;
        }
        rest.make_contiguous().sort_by_key(|place| place.offset);
        *self.places(kept) = rest;
        self.shorten(id);
        self.squeeze();
    }

    /// Takes in an event, whose offset is larger than all before.
    pub fn push(&mut self, topic: &str, numbered: Numbered, now: Duration) {
        let audience = numbered.event.audience();
        if self.limits.each.count == 0 && self.kept.is_empty() && self.cursors.is_empty() {
            self.floor[audience as usize] = numbered.offset;
            return;
        }
        let id = self.ring(topic, audience);
        let Numbered { offset, .. } = numbered;
        let weight = weight(&numbered);
        let Some(ring) = self.ring_mut(id) else { return };
        ring.newest = offset;
        ring.audiences |= bit(audience);
        ring.slots.push_back(numbered);
        let (was_aged, kept) = (std::mem::take(&mut ring.aged), ring.kept);
        self.live += 1;
        *self.bytes_of(kept) += weight;
        self.places(kept).push_back(Place { offset, ring: id, at: tenths(now) });
        if was_aged {
            self.discard(id);
        }
        self.shorten(id);
        self.expire(now);
        self.squeeze();
    }

    /// Discards what is too old by now, or some of it, if it is much; whether that was all.
    pub fn expire(&mut self, now: Duration) -> bool {
        let now = tenths(now);
        let mut left = AT_ONCE;
        // Different ages may stand behind each other there; then some are kept for longer.
        while let Some(place) = self.held.front().copied() {
            let age = self.live_ring(place).map(|ring| ring.bounds.age.map_or(u32::MAX, tenths));
            match age {
                Some(age) if now.saturating_sub(place.at) <= age => break,
                Some(_) => self.discard(place.ring),
                None => {}
            }
            self.held.pop_front();
            left -= 1;
            if left == 0 {
                return false;
            }
        }
        let Some(age) = self.limits.each.age.map(tenths) else { return true };
        while let Some(place) = self.order.front().copied() {
            if now.saturating_sub(place.at) <= age {
                return true;
            }
            if left == 0 {
                return false;
            }
            left -= 1;
            self.order.pop_front();
            let Some(newest) = self.live_ring(place).map(|ring| ring.newest) else { continue };
            if newest == place.offset {
                if let Some(ring) = self.ring_mut(place.ring) {
                    ring.aged = true;
                }
                self.aged.push_back(place);
            } else {
                self.discard(place.ring);
            }
        }
        true
    }

    fn ring_mut(&mut self, id: u32) -> Option<&mut Ring> {
        self.rings.get_mut(id as usize)?.as_mut()
    }

    /// The ring that still holds the event of this place.
    fn live_ring(&self, place: Place) -> Option<&Ring> {
        self.rings.get(place.ring as usize)?.as_ref().filter(|ring| ring.at(place.offset).is_some())
    }

    /// The topic's ring, made if need be.
    fn ring(&mut self, topic: &str, audience: Audience) -> u32 {
        if let Some(id) = self.names.get(topic) {
            return *id;
        }
        let own = match audience {
            Audience::Messages => self.bounds_of(topic),
            _ => None,
        };
        if own.is_none() && self.names.len() - self.kept_topics >= self.limits.topics.max(1) {
            self.forget_topics();
        }
        let lost_to = if own.is_some() { 0 } else { self.floor[audience as usize].max(self.begun) };
        let ring = Ring {
            name: topic.into(),
            slots: VecDeque::new(),
            lost_to,
            newest: 0,
            audiences: bit(audience),
            bounds: own.unwrap_or(self.limits.each),
            kept: own.is_some(),
            aged: false,
        };
        self.kept_topics += usize::from(own.is_some());
        *self.bytes_of(own.is_some()) += RING_BYTES + topic.len();
        let id = self.free.pop().unwrap_or_else(|| {
            self.rings.push(None);
            (self.rings.len() - 1) as u32
        });
        self.rings[id as usize] = Some(ring);
        self.names.insert(topic.into(), id);
        id
    }

    /// The bounds of a topic that has its own: of several the most.
    fn bounds_of(&self, topic: &str) -> Option<Bounds> {
        let fits = self.kept.iter().filter(|(pattern, _)| pattern.matches(topic)).map(|(_, bounds)| *bounds);
        fits.reduce(|one, other| Bounds {
            count: one.count.max(other.count),
            age: one.age.zip(other.age).map(|(one, other)| one.max(other)),
        })
    }

    fn places(&mut self, kept: bool) -> &mut VecDeque<Place> {
        if kept { &mut self.held } else { &mut self.order }
    }

    fn bytes_of(&mut self, kept: bool) -> &mut usize {
        if kept { &mut self.kept_bytes } else { &mut self.bytes }
    }

    /// Makes room for topics: a sixteenth of them is forgotten, those that were silent for the longest time.
    fn forget_topics(&mut self) {
        let usual = |ring: &Option<Ring>| ring.as_ref().filter(|ring| !ring.kept).map(|ring| ring.newest);
        let mut all: Vec<(u64, u32)> =
            self.rings.iter().zip(0..).filter_map(|(ring, id)| Some((usual(ring)?, id))).collect();
        let Some(last) = (all.len() / 16).max(1).checked_sub(1).filter(|_| !all.is_empty()) else { return };
        all.select_nth_unstable(last);
        for (_, id) in all.into_iter().take(last + 1) {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: u32) {
        while self.ring_mut(id).is_some_and(|ring| !ring.slots.is_empty()) {
            self.discard(id);
        }
        let Some(ring) = self.rings.get_mut(id as usize).and_then(Option::take) else { return };
        for (audience, floor) in self.floor.iter_mut().enumerate() {
            if ring.audiences & 1 << audience != 0 {
                *floor = (*floor).max(ring.lost_to);
            }
        }
        self.bytes -= RING_BYTES + ring.name.len();
        self.names.remove(&ring.name);
        self.free.push(id);
    }

    /// Discards a ring's oldest event.
    fn discard(&mut self, id: u32) {
        let Some(Some(ring)) = self.rings.get_mut(id as usize) else { return };
        let Some(numbered) = ring.slots.pop_front() else { return };
        ring.lost_to = numbered.offset;
        ring.aged = false;
        self.live -= 1;
        let bytes = if ring.kept { &mut self.kept_bytes } else { &mut self.bytes };
        *bytes -= weight(&numbered);
        for cursor in self.cursors.values_mut() {
            cursor.lose(&ring.name, &numbered);
        }
    }

    /// Holds a ring to its count. What is not kept at all is while somebody's subscription is about to begin: it is
    /// brought what came since its answer.
    fn shorten(&mut self, id: u32) {
        let least = if self.cursors.is_empty() { 0 } else { PASSING };
        let most = |ring: &Ring| if ring.bounds.count == 0 { least } else { ring.bounds.count };
        while self.ring_mut(id).is_some_and(|ring| ring.slots.len() > most(ring)) {
            self.discard(id);
        }
    }

    /// Nobody's subscription is about to begin any more.
    fn settle(&mut self) {
        if self.limits.each.count > 0 {
            return;
        }
        for id in 0..self.rings.len() as u32 {
            if self.ring_mut(id).is_some_and(|ring| ring.bounds.count == 0 && !ring.kept) {
                self.forget(id);
            }
        }
    }

    /// Holds all to the bytes, the oldest first, and the order to a length in proportion to what is here.
    fn squeeze(&mut self) {
        while self.bytes > self.limits.bytes {
            match self.aged.pop_front().or_else(|| self.order.pop_front()) {
                Some(place) if self.live_ring(place).is_some() => self.discard(place.ring),
                Some(_) => {}
                None if self.names.len() == self.kept_topics => break,
                None => self.forget_topics(),
            }
        }
        while self.kept_bytes > self.kept_limit {
            match self.held.pop_front() {
                Some(place) if self.live_ring(place).is_some() => self.discard(place.ring),
                Some(_) => {}
                None => break,
            }
        }
        if self.order.len() + self.aged.len() + self.held.len() > 2 * self.live + 1024 {
            let mut all = [&mut self.aged, &mut self.order, &mut self.held].map(std::mem::take);
            all.iter_mut().for_each(|places| places.retain(|place| self.live_ring(*place).is_some()));
            [self.aged, self.order, self.held] = all;
        }
    }
}

impl Ring {
    fn at(&self, offset: u64) -> Option<&Numbered> {
        let index = self.slots.binary_search_by_key(&offset, |numbered| numbered.offset).ok()?;
        self.slots.get(index)
    }
}

fn bit(audience: Audience) -> u8 {
    1 << audience as u8
}

fn weight(numbered: &Numbered) -> usize {
    SLOT_BYTES + numbered.event.weight()
}

/// Since the hub's start, in tenths of a second: thirteen years fit.
fn tenths(time: Duration) -> u32 {
    u32::try_from(time.as_secs() * 10).unwrap_or(u32::MAX).saturating_add(time.subsec_millis() / 100)
}
