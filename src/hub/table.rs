//! Who wants what. Pure: no threads, no bytes sent, no clock.
//!
//! Names without wildcards are one hash look-up, whatever dialect asked for them; patterns are a [`Trie`]. Subscribers
//! sit in numbered slots: what a send needs to know of one is a few bytes in a row of their own, and a number says in
//! which route it was met last, so that overlapping patterns of one subscriber are one delivery.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use super::member::{Filter, Member, MemberId, Presence, Slow};
use super::trie::Trie;
use crate::conn::Conn;
use crate::types::event::{Audience, Dialect};

/// Forms in which an event may be wanted: every dialect, with its position and without.
pub const FORMS: usize = Dialect::ALL.len() * 2;

/// A form's number.
pub fn form(dialect: Dialect, positions: bool) -> usize {
    dialect as usize * 2 + usize::from(positions)
}

/// See the module's text.
#[derive(Default)]
pub struct Table {
    /// What is needed for each delivery, and apart from it what is not.
    ready: Vec<Option<Ready>>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    ids: HashMap<MemberId, u32>,
    exact: HashMap<Box<str>, Vec<u32>>,
    trie: Trie,
    /// Number of the last route.
    route: u32,
    /// Subscriptions in all.
    subscriptions: usize,
}

/// What a delivery needs of a subscriber.
pub struct Ready {
    pub conn: Arc<Conn>,
    pub id: MemberId,
    met: u32,
    hears: u8,
    pub form: u8,
    pub slow: Slow,
    /// Events are being dropped for it, and it has yet to be told.
    pub lagging: bool,
}

/// The rest.
pub struct Entry {
    pub dialect: Dialect,
    name: String,
    since: SystemTime,
    filters: BTreeMap<Key, Held>,
    pub lag: Lag,
}

/// Events that were dropped for a subscriber.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    /// Not yet told.
    pub count: u64,
    pub first: u64,
    pub last: u64,
    /// Told.
    pub told: u64,
}

impl Lag {
    /// Counts a run of dropped events.
    pub fn add(&mut self, count: u64, first: u64, last: u64) {
        if self.count == 0 {
            self.first = first;
        }
        self.count += count;
        self.last = last;
    }
}

/// A filter's name: PiCloud's event `a.*` is not the pattern.
type Key = (bool, Box<str>);

struct Held {
    filter: Filter,
    /// What it selects has been delivered from here on.
    from: u64,
}

fn key(filter: &Filter) -> Key {
    match filter.exact() {
        Some(name) => (false, name.into()),
        None => (true, filter.as_str().into()),
    }
}

impl Table {
    /// How many subscribers there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// How many subscriptions they have.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// Takes in a subscriber without its patterns.
    pub fn join(&mut self, id: MemberId, member: &Member) {
        let ready = Ready {
            conn: Arc::clone(&member.conn),
            id,
            met: 0,
            hears: hears(member.dialect),
            form: form(member.dialect, member.positions) as u8,
            slow: member.slow,
            lagging: false,
        };
        let entry = Entry {
            dialect: member.dialect,
            name: member.name.clone(),
            since: member.since,
            filters: BTreeMap::new(),
            lag: Lag::default(),
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.ready.push(None);
            self.entries.push(None);
            (self.ready.len() - 1) as u32
        });
        self.ready[slot as usize] = Some(ready);
        self.entries[slot as usize] = Some(entry);
        self.ids.insert(id, slot);
    }

    /// `from` is the offset after which everything the filter selects will have been delivered.
    pub fn subscribe(&mut self, id: MemberId, filter: Filter, from: u64) -> bool {
        let Some((slot, entry)) = self.entry(id) else { return false };
        let key = key(&filter);
        if entry.filters.contains_key(&key) {
            return false;
        }
        entry.filters.insert(key, Held { filter: filter.clone(), from });
        self.subscriptions += 1;
        match (filter.exact(), &filter) {
            (Some(name), _) => match self.exact.get_mut(name) {
                Some(slots) => slots.push(slot),
                None => drop(self.exact.insert(name.into(), vec![slot])),
            },
            (None, Filter::Pattern(pattern)) => self.trie.insert(pattern, slot),
            (None, Filter::Exact(_)) => {}
        }
        true
    }

    pub fn unsubscribe(&mut self, id: MemberId, filter: &Filter) -> bool {
        let Some((slot, entry)) = self.entry(id) else { return false };
        let Some(held) = entry.filters.remove(&key(filter)) else { return false };
        self.take_out(slot, &held.filter);
        true
    }

    pub fn unsubscribe_all(&mut self, id: MemberId) {
        let Some((slot, entry)) = self.entry(id) else { return };
        for held in std::mem::take(&mut entry.filters).into_values() {
            self.take_out(slot, &held.filter);
        }
    }

    /// Takes a subscriber out; who it was.
    pub fn leave(&mut self, id: MemberId) -> Option<Presence> {
        let left = self.member(id).map(|(ready, entry)| presence(ready, entry))?;
        self.unsubscribe_all(id);
        let slot = self.ids.remove(&id)?;
        self.ready[slot as usize] = None;
        self.entries[slot as usize] = None;
        self.free.push(slot);
        Some(left)
    }

    /// From now on its events carry their position.
    pub fn with_positions(&mut self, id: MemberId) {
        let Some((ready, entry)) = self.member(id) else { return };
        ready.form = form(entry.dialect, true) as u8;
    }

    /// Collects who gets an event of this topic, each once; returns the forms they want, a bit for each.
    pub fn route(&mut self, topic: &str, audience: Audience, slots: &mut Vec<u32>) -> u32 {
        self.route = self.route.wrapping_add(1);
        if self.route == 0 {
            // Marks of four billion routes ago must not count.
            self.ready.iter_mut().flatten().for_each(|ready| ready.met = 0);
            self.route = 1;
        }
        let (route, ready, hear) = (self.route, &mut self.ready, bit(audience));
        let mut forms = 0;
        let mut meet = |slot: u32| {
            if let Some(Some(ready)) = ready.get_mut(slot as usize)
                && ready.met != route
                && ready.hears & hear != 0
            {
                ready.met = route;
                forms |= 1 << ready.form;
                slots.push(slot);
            }
        };
        if let Some(exact) = self.exact.get(topic) {
            exact.iter().for_each(|slot| meet(*slot));
        }
        self.trie.visit(topic, meet);
        forms
    }

    /// A subscriber on a route.
    pub fn ready(&mut self, slot: u32) -> Option<&mut Ready> {
        self.ready.get_mut(slot as usize)?.as_mut()
    }

    /// The same, with what is kept apart.
    pub fn both(&mut self, slot: u32) -> Option<(&mut Ready, &mut Entry)> {
        Some((self.ready.get_mut(slot as usize)?.as_mut()?, self.entries.get_mut(slot as usize)?.as_mut()?))
    }

    /// A subscriber by its number.
    pub fn member(&mut self, id: MemberId) -> Option<(&mut Ready, &mut Entry)> {
        let slot = *self.ids.get(&id)?;
        self.both(slot)
    }

    /// Whether it hears such events at all.
    pub fn hears(dialect: Dialect, audience: Audience) -> bool {
        hears(dialect) & bit(audience) != 0
    }

    /// Behind which offset the filters of this subscriber have brought it every event of a topic; `u64::MAX`: none has.
    pub fn had_behind(&self, id: MemberId, topic: &str) -> u64 {
        let Some(entry) = self.ids.get(&id).and_then(|slot| self.entries.get(*slot as usize)?.as_ref()) else {
            return u64::MAX;
        };
        let froms = entry.filters.values().filter(|held| held.filter.selects(topic)).map(|held| held.from);
        // What was dropped was not brought; nor, to be sure, anything before it.
        froms.min().map_or(u64::MAX, |from| from.max(entry.lag.last))
    }

    /// How many filters it has.
    pub fn filters_of(&self, id: MemberId) -> usize {
        let entry = self.ids.get(&id).and_then(|slot| self.entries.get(*slot as usize)?.as_ref());
        entry.map_or(0, |entry| entry.filters.len())
    }

    pub fn presence(&self) -> impl Iterator<Item = Presence> {
        self.ready
            .iter()
            .zip(&self.entries)
            .filter_map(|(ready, entry)| Some(presence(ready.as_ref()?, entry.as_ref()?)))
    }

    /// Whether nobody has left anything behind.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.exact.is_empty() && self.trie.is_empty() && self.subscriptions == 0
    }

    fn entry(&mut self, id: MemberId) -> Option<(u32, &mut Entry)> {
        let slot = *self.ids.get(&id)?;
        Some((slot, self.entries.get_mut(slot as usize)?.as_mut()?))
    }

    fn take_out(&mut self, slot: u32, filter: &Filter) {
        self.subscriptions -= 1;
        match (filter.exact(), filter) {
            (Some(name), _) => {
                let Some(slots) = self.exact.get_mut(name) else { return };
                slots.retain(|other| *other != slot);
                if slots.is_empty() {
                    self.exact.remove(name);
                }
            }
            (None, Filter::Pattern(pattern)) => self.trie.remove(pattern, slot),
            (None, Filter::Exact(_)) => {}
        }
    }
}

fn bit(audience: Audience) -> u8 {
    1 << audience as u8
}

/// Clients' own messages do not go to `/ws`: it carries facts only.
fn hears(dialect: Dialect) -> u8 {
    match dialect {
        Dialect::Picloud | Dialect::Endrpi => bit(Audience::Facts) | bit(Audience::Messages),
        Dialect::Events | Dialect::Code => bit(Audience::Facts),
        Dialect::Page => bit(Audience::Pages),
    }
}

/// A subscriber as others may see it.
pub fn presence(ready: &Ready, entry: &Entry) -> Presence {
    let mut subscriptions: Vec<String> = entry.filters.values().map(|held| held.filter.as_str().to_owned()).collect();
    subscriptions.sort_unstable();
    Presence {
        id: ready.id,
        name: entry.name.clone(),
        peer: ready.conn.peer(),
        since: entry.since,
        dialect: entry.dialect,
        subscriptions,
        backlog: ready.conn.waiting(),
        lagged: entry.lag.told + entry.lag.count,
    }
}
