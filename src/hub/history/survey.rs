//! What a subscription finds at its beginning: whether everything is there, how much that is, the last values. It asks
//! topic by topic and never event by event, and a part of the topics at a time: whoever waits for the hub waits for one
//! part.

use super::{History, Numbered, Ring, bit};
use crate::hub::cursor::{CursorId, Had, Select};
use crate::hub::member::Filter;
use crate::types::event::Audience;
use crate::types::topic::is_reserved;

/// Topics tried against a pattern, in one part of a survey.
pub const PART: usize = 1024;

/// See the module's text. Its cursor is open from its first part on, so what is discarded between two parts is known.
pub struct Survey {
    /// Behind this event, and up to that.
    since: u64,
    head: u64,
    /// Topics before this place were looked at.
    next: usize,
    found: Found,
}

/// What was looked for, and was found so far.
pub enum Found {
    /// What came, if everything is there; how many of them nothing else has brought the client.
    Missed { all: bool, count: u64 },
    /// The last event of each topic.
    Last(Vec<Numbered>),
    /// It wanted nothing of what came before.
    Nothing,
}

impl Survey {
    /// What came behind `since`, up to `head`, the last offset given out.
    pub fn missed(since: u64, head: u64) -> Survey {
        Survey { since, head, next: 0, found: Found::Missed { all: true, count: 0 } }
    }

    /// What there is up to `head`: the last values, or none of it.
    pub fn newcomer(head: u64, wants_last: bool) -> Survey {
        let found = if wants_last { Found::Last(Vec::new()) } else { Found::Nothing };
        Survey { since: head, head, next: 0, found }
    }

    /// The last offset given out when it began.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// What there was; the last values in the order of offsets.
    pub fn found(self) -> Found {
        let mut found = self.found;
        if let Found::Last(last) = &mut found {
            last.sort_unstable_by_key(|numbered| numbered.offset);
        }
        found
    }

    fn goes_on(&self) -> bool {
        !matches!(self.found, Found::Missed { all: false, .. } | Found::Nothing)
    }

    fn take(&mut self, ring: &Ring, select: &Select, had: &Had) {
        if ring.audiences & select.audiences == 0 {
            return;
        }
        let before = |offset: u64| ring.slots.partition_point(|numbered| numbered.offset <= offset);
        match &mut self.found {
            Found::Missed { all, count } => {
                *all &= self.since >= ring.lost_to;
                let missed = before(self.since)..before(self.head.min(had.behind(&ring.name)));
                *count += match ring.audiences & !select.audiences {
                    _ if missed.is_empty() => 0,
                    0 => missed.len() as u64,
                    _ => ring.slots.range(missed).filter(|numbered| select.hears(numbered)).count() as u64,
                };
            }
            Found::Last(last) => {
                // What came since is brought by the cursor.
                let newest = before(self.head).checked_sub(1).and_then(|index| ring.slots.get(index));
                last.extend(newest.filter(|numbered| select.hears(numbered)).cloned());
            }
            Found::Nothing => {}
        }
    }
}

impl History {
    /// Looks at the next part for a cursor; whether that was the last one. `part`: see [`PART`].
    pub fn survey(&self, id: CursorId, survey: &mut Survey, had: &Had, part: usize) -> bool {
        let Some(cursor) = self.cursors.get(&id) else { return true };
        let select = &cursor.select;
        if let Some(named) = self.named(select) {
            // As many as a client has subscriptions, at most.
            named.for_each(|ring| survey.take(ring, select, had));
        } else {
            let mut looked = 0;
            while survey.goes_on()
                && let Some(ring) = self.rings.get(survey.next)
            {
                if looked >= part {
                    return false;
                }
                survey.next += 1;
                looked += select.filters.len();
                if let Some(ring) = ring.as_ref().filter(|ring| select.selects(&ring.name)) {
                    looked += had.filters + 4;
                    survey.take(ring, select, had);
                }
            }
        }
        // Last of all: what was forgotten meanwhile counts.
        if let Found::Missed { all, .. } = &mut survey.found {
            *all = *all && self.knows_all_since(survey.since, select);
        }
        true
    }

    /// Whether nothing that `select` takes was forgotten with its topic since then.
    fn knows_all_since(&self, since: u64, select: &Select) -> bool {
        let hears = |audiences: u8| audiences & select.audiences != 0;
        let floors = self.floor.iter().enumerate().filter(|(audience, _)| hears(1 << audience));
        let floor = floors.map(|(_, floor)| *floor).fold(self.begun, u64::max);
        // Topics with bounds of their own are never forgotten.
        let behind_kept = |kept: bool| kept || since >= floor;
        select.filters.iter().all(|filter| match filter.exact() {
            Some(name) => match self.names.get(name).and_then(|id| self.rings.get(*id as usize)?.as_ref()) {
                Some(ring) => since >= ring.lost_to || !hears(ring.audiences),
                None => behind_kept(!is_reserved(name) && self.kept.iter().any(|(kept, _)| kept.matches(name))),
            },
            None => behind_kept(self.keeps_all_of(filter, hears(bit(Audience::Facts)))),
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
}
