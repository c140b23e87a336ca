//! Who wants what. Pure: no threads, no sockets touched, no clock.
//!
//! Exact names are PiCloud's, and a hash look-up. Patterns are grouped: subscribers with the same dialect and the
//! same set of patterns are one group, so that a thousand `/ws` clients without a filter cost one match.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Filter, Member, MemberId, Presence};
use crate::conn::Conn;
use crate::types::event::{Audience, Dialect};
use crate::types::topic::Pattern;

type Targets = Vec<(MemberId, Arc<Conn>)>;

/// See the module's text.
#[derive(Default)]
pub struct Table {
    members: HashMap<MemberId, Entry>,
    exact: HashMap<Box<str>, Targets>,
    groups: Vec<Group>,
}

struct Entry {
    conn: Arc<Conn>,
    dialect: Dialect,
    name: String,
    since: std::time::SystemTime,
    exact: BTreeSet<Box<str>>,
    patterns: BTreeSet<Box<str>>,
}

struct Group {
    dialect: Dialect,
    key: BTreeSet<Box<str>>,
    patterns: Vec<Pattern>,
    members: Targets,
}

/// Everyone an event goes to.
pub struct Route<'a> {
    lists: Vec<(Dialect, &'a Targets)>,
}

impl Route<'_> {
    /// Each dialect somebody on the route wants, once.
    pub fn dialects(&self) -> impl Iterator<Item = Dialect> {
        Dialect::ALL.into_iter().filter(|dialect| self.lists.iter().any(|(wanted, _)| wanted == dialect))
    }

    pub fn for_each(&self, mut visit: impl FnMut(Dialect, &Arc<Conn>)) {
        for (dialect, targets) in &self.lists {
            for (_, conn) in targets.iter() {
                visit(*dialect, conn);
            }
        }
    }
}

impl Table {
    /// How many subscribers there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn join(&mut self, id: MemberId, member: &mut Member) {
        let entry = Entry {
            conn: Arc::clone(&member.conn),
            dialect: member.dialect,
            name: std::mem::take(&mut member.name),
            since: member.since,
            exact: BTreeSet::new(),
            patterns: BTreeSet::new(),
        };
        self.members.insert(id, entry);
    }

    pub fn subscribe(&mut self, id: MemberId, filter: &mut Filter) {
        let Some(entry) = self.members.get_mut(&id) else { return };
        match filter {
            Filter::Exact(name) => {
                if entry.exact.insert(name.clone()) {
                    let target = (id, Arc::clone(&entry.conn));
                    self.exact.entry(name.clone()).or_default().push(target);
                }
            }
            Filter::Pattern(pattern) => {
                let mut patterns = entry.patterns.clone();
                if patterns.insert(pattern.as_str().into()) {
                    self.regroup(id, patterns);
                }
            }
        }
    }

    pub fn unsubscribe(&mut self, id: MemberId, filter: &mut Filter) {
        let Some(entry) = self.members.get_mut(&id) else { return };
        match filter {
            Filter::Exact(name) => {
                if entry.exact.remove(name) {
                    self.drop_exact(id, name);
                }
            }
            Filter::Pattern(pattern) => {
                let mut patterns = entry.patterns.clone();
                if patterns.remove(pattern.as_str()) {
                    self.regroup(id, patterns);
                }
            }
        }
    }

    pub fn unsubscribe_all(&mut self, id: MemberId) {
        let Some(entry) = self.members.get_mut(&id) else { return };
        for name in std::mem::take(&mut entry.exact) {
            self.drop_exact(id, &name);
        }
        self.regroup(id, BTreeSet::new());
    }

    pub fn leave(&mut self, id: MemberId) {
        self.unsubscribe_all(id);
        self.members.remove(&id);
    }

    /// Who gets an event of this topic. Clients' own messages do not go to `/ws`: it carries facts only.
    pub fn route(&self, topic: &str, audience: Audience) -> Route<'_> {
        let hears = |dialect| match audience {
            Audience::Facts => dialect != Dialect::Page,
            Audience::Messages => dialect == Dialect::Endrpi,
            Audience::Pages => dialect == Dialect::Page,
        };
        let groups =
            self.groups.iter().filter(|group| hears(group.dialect) && group.patterns.iter().any(|p| p.matches(topic)));
        let exact =
            self.exact.get(topic).filter(|_| audience != Audience::Pages).map(|targets| (Dialect::Picloud, targets));
        Route { lists: exact.into_iter().chain(groups.map(|group| (group.dialect, &group.members))).collect() }
    }

    pub fn presence(&self) -> impl Iterator<Item = Presence> {
        self.members.iter().filter(|(_, entry)| entry.dialect == Dialect::Picloud).map(|(id, entry)| Presence {
            id: *id,
            name: entry.name.clone(),
            peer: entry.conn.peer(),
            since: entry.since,
            events: entry.exact.iter().map(|name| name.to_string()).collect(),
        })
    }

    fn drop_exact(&mut self, id: MemberId, name: &str) {
        if let Some(targets) = self.exact.get_mut(name) {
            targets.retain(|(member, _)| *member != id);
            if targets.is_empty() {
                self.exact.remove(name);
            }
        }
    }

    /// Moves a member from the group of its old pattern set to that of the new one.
    fn regroup(&mut self, id: MemberId, patterns: BTreeSet<Box<str>>) {
        let Some(entry) = self.members.get_mut(&id) else { return };
        if let Some(at) = self.groups.iter().position(|g| g.dialect == entry.dialect && g.key == entry.patterns) {
            self.groups[at].members.retain(|(member, _)| *member != id);
            if self.groups[at].members.is_empty() {
                self.groups.swap_remove(at);
            }
        }
        entry.patterns = patterns;
        if entry.patterns.is_empty() {
            return;
        }
        let target = (id, Arc::clone(&entry.conn));
        match self.groups.iter_mut().find(|g| g.dialect == entry.dialect && g.key == entry.patterns) {
            Some(group) => group.members.push(target),
            None => self.groups.push(Group {
                dialect: entry.dialect,
                key: entry.patterns.clone(),
                // Every text in the set came from a valid pattern.
                patterns: entry.patterns.iter().filter_map(|text| Pattern::new(text).ok()).collect(),
                members: vec![target],
            }),
        }
    }
}
