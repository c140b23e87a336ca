//! The table of servers: in memory, and written through to the store.

use super::seat::Seated;
use super::watchers::Goodbye;
use super::*;
use crate::store::ServerNumber;
use crate::types::fleet::{Health, ServerStatus};

/// What its owner says of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub host: Option<String>,
    pub port: Option<u16>,
    /// A JSON object of the owner's own, as written.
    pub metadata: Option<Box<str>>,
}

/// One server.
pub(super) struct Entry {
    pub id: Arc<str>,
    pub number: ServerNumber,
    changing: Mutex<()>,
    state: Mutex<State>,
}

pub(super) struct State {
    pub server: Server,
    pub latest: Option<Arc<Sample>>,
    pub seated: Option<Seated>,
    /// How far each stream has been taken in, the latest first. What is older than a few runs is asked of the store.
    pub streams: Vec<(Arc<str>, u64)>,
    pub removed: bool,
    /// Who is to hear that it was removed.
    pub watchers: HashMap<u64, Goodbye>,
}

/// A server that is being made.
struct Adding<'a> {
    all: &'a AtomicUsize,
    others: usize,
}

impl Adding<'_> {
    fn begin(all: &AtomicUsize) -> Adding<'_> {
        Adding { all, others: all.fetch_add(1, Ordering::AcqRel) }
    }
}

impl Drop for Adding<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Entry {
    pub fn new(number: ServerNumber, server: Server) -> Arc<Entry> {
        let id = server.id.as_str().into();
        let state =
            State { server, latest: None, seated: None, streams: Vec::new(), removed: false, watchers: HashMap::new() };
        Arc::new(Entry { id, number, changing: Mutex::default(), state: Mutex::new(state) })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// As others see it now.
    pub fn shown(&self) -> Server {
        let status = match &self.seated {
            Some(seated) if !seated.silent => ServerStatus::Online,
            _ if self.server.last_seen.is_some() => ServerStatus::Offline,
            _ => ServerStatus::Unknown,
        };
        Server { status, ..self.server.clone() }
    }
}

impl Fleet {
    /// All servers, the oldest first.
    pub fn servers(&self) -> Vec<Server> {
        let mut all: Vec<Server> = self.entries().iter().map(|entry| self.with_health(entry.lock().shown())).collect();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    pub fn server(&self, id: &str) -> Option<Server> {
        let server = self.entry(id)?.lock().shown();
        Some(self.with_health(server))
    }

    pub(super) fn entry(&self, id: &str) -> Option<Arc<Entry>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Takes in what the store has.
    pub(super) fn load(&self) {
        let kept = self.store.servers().unwrap_or_else(|error| {
            log::error!("the fleet's servers cannot be read: {error}");
            Vec::new()
        });
        for (_, server) in &kept {
            self.alerts.status(&server.id, &server.name, server.status);
        }
        let entries = kept.into_iter().map(|(number, server)| Entry::new(number, server));
        let entries = entries.map(|entry| (Arc::clone(&entry.id), entry));
        self.servers.write().unwrap_or_else(PoisonError::into_inner).extend(entries);
    }

    /// Writes when servers were last heard of.
    pub(super) fn note_seen(&self) {
        let seen = self.entries().into_iter().filter_map(|entry| Some((entry.number, entry.lock().server.last_seen?)));
        let seen: Vec<_> = seen.collect();
        if !seen.is_empty()
            && let Err(error) = self.store.note_seen(seen)
        {
            log::warn!("when servers were last heard of is not kept: {error}");
        }
    }

    /// Makes a server. `owner` is a user's id; `None`: it belongs to the administrators.
    ///
    /// # Errors
    /// There are too many, or the store's.
    pub fn add(&self, owner: Option<String>, profile: Profile) -> Result<Server, FleetError> {
        // Those that are being made count: the store takes its time.
        let adding = Adding::begin(&self.adding);
        let there = self.servers.read().unwrap_or_else(PoisonError::into_inner).len();
        if there + adding.others >= self.limits.servers {
            return Err(FleetError::Full(self.limits.servers));
        }
        let now = clock::wall_millis();
        let server = Server {
            id: crate::rt::random::uuid()?,
            owner,
            name: profile.name,
            host: profile.host,
            port: profile.port,
            metadata: profile.metadata,
            status: ServerStatus::Unknown,
            health: Health::Healthy,
            last_seen: None,
            created_at: now,
            updated_at: now,
        };
        let number = self.store.add_server(&server)?;
        let entry = Entry::new(number, server.clone());
        self.servers.write().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(&entry.id), entry);
        self.tell(&server, &Change::Added);
        Ok(server)
    }

    /// The server that is the hub's own machine; made under this name where there is none. It belongs to the
    /// administrators.
    ///
    /// # Errors
    /// As [`Fleet::add`].
    pub fn own_server(&self, name: &str) -> Result<Server, FleetError> {
        let known = self.store.own_server()?;
        let found = self.entries().into_iter().find(|entry| Some(entry.number) == known);
        let server = match found {
            Some(entry) => entry.lock().shown(),
            None => {
                let server = self.add(None, Profile { name: name.to_owned(), ..Profile::default() })?;
                if let Some(entry) = self.entry(&server.id) {
                    self.store.note_own_server(entry.number)?;
                }
                server
            }
        };
        self.alerts.set_own_server(&server.id, &server.name);
        Ok(server)
    }

    /// Lets its owner say something else of a server. `None`: there is no such server.
    ///
    /// # Errors
    /// The store's; nothing has changed then.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Profile)) -> Result<Option<Server>, FleetError> {
        let Some(entry) = self.entry(id) else { return Ok(None) };
        // One change at a time, without the lock under which records come in: the disk may take a while.
        let changing = entry.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = entry.lock().server.clone();
        let Server { name, host, port, metadata, .. } = before.clone();
        let mut profile = Profile { name: name.clone(), host, port, metadata };
        change(&mut profile);
        let Profile { name: new, host, port, metadata } = profile;
        let after = Server { name: new, host, port, metadata, updated_at: clock::wall_millis(), ..before };
        self.store.change_server(entry.number, &after)?;
        let server = {
            let mut state = entry.lock();
            let last_seen = state.server.last_seen;
            state.server = Server { last_seen, ..after };
            state.shown()
        };
        drop(changing);
        let server = self.with_health(server);
        self.tell(&server, &Change::Changed { name });
        Ok(Some(server))
    }

    fn with_health(&self, server: Server) -> Server {
        Server { health: self.alerts.health(&server.id), ..server }
    }

    /// Removes a server, its agent's seat and everything kept of it. `false`: there was none.
    ///
    /// # Errors
    /// The store's; nothing has changed then.
    pub fn remove(&self, id: &str) -> Result<bool, FleetError> {
        let Some(entry) = self.entry(id) else { return Ok(false) };
        let _changing = entry.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing more is taken in from here on, so that nothing is left behind.
        entry.lock().removed = true;
        if let Err(error) = self.store.remove_server(entry.number, id) {
            entry.lock().removed = false;
            return Err(error.into());
        }
        if self.servers.write().unwrap_or_else(PoisonError::into_inner).remove(id).is_none() {
            return Ok(false);
        }
        let (server, seated, watchers) = {
            let mut state = entry.lock();
            (state.shown(), state.seated.take(), std::mem::take(&mut state.watchers))
        };
        watchers.into_values().for_each(|goodbye| goodbye());
        if let Some(seated) = seated {
            seated.link.removed();
            self.end_orders(seated.number);
        }
        self.store.begin_anew(id);
        self.alerts.removed(id);
        self.tell(&server, &Change::Removed);
        Ok(true)
    }

    /// Its latest sample, if there is one.
    pub fn latest(&self, id: &str) -> Option<Arc<Sample>> {
        self.entry(id)?.lock().latest.clone()
    }

    /// Calls `f` with the latest sample under the lock under which samples are published: whoever joins the hub in it
    /// misses none and gets none twice. `None`: no such server.
    pub fn with_latest<T>(&self, id: &str, f: impl FnOnce(Option<&Arc<Sample>>) -> T) -> Option<T> {
        let entry = self.entry(id)?;
        let state = entry.lock();
        Some(f(state.latest.as_ref()))
    }
}
