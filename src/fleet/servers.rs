//! The table of servers: in memory, and written through to the store.

use super::seat::Seated;
use super::*;
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
    state: Mutex<State>,
}

pub(super) struct State {
    pub server: Server,
    pub latest: Option<Arc<Sample>>,
    pub seated: Option<Seated>,
    /// How far each stream has been taken in, the latest first. What is older than a few runs is asked of the store.
    pub streams: Vec<(Arc<str>, u64)>,
    pub removed: bool,
}

impl Entry {
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
        let mut all: Vec<Server> = self.entries().iter().map(|entry| entry.lock().shown()).collect();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    pub fn server(&self, id: &str) -> Option<Server> {
        Some(self.entry(id)?.lock().shown())
    }

    pub(super) fn entry(&self, id: &str) -> Option<Arc<Entry>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Makes a server. `owner` is a user's id; `None`: it belongs to the administrators.
    pub fn add(&self, owner: Option<String>, profile: Profile) -> Result<Server, FleetError> {
        let now = clock::wall();
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
        let id: Arc<str> = server.id.as_str().into();
        let state = State { server: server.clone(), latest: None, seated: None, streams: Vec::new(), removed: false };
        let entry = Arc::new(Entry { id: Arc::clone(&id), state: Mutex::new(state) });
        self.servers.write().unwrap_or_else(PoisonError::into_inner).insert(id, entry);
        self.tell(&server, &Change::Added);
        Ok(server)
    }

    /// Lets its owner say something else of a server. `None`: there is no such server.
    ///
    /// # Errors
    /// The store's; nothing has changed then.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Profile)) -> Result<Option<Server>, FleetError> {
        let Some(entry) = self.entry(id) else { return Ok(None) };
        let (server, name) = {
            let mut state = entry.lock();
            let Server { name, host, port, metadata, .. } = state.server.clone();
            let mut profile = Profile { name: name.clone(), host, port, metadata };
            change(&mut profile);
            let Profile { name: new, host, port, metadata } = profile;
            state.server =
                Server { name: new, host, port, metadata, updated_at: clock::wall(), ..state.server.clone() };
            (state.shown(), name)
        };
        self.tell(&server, &Change::Changed { name });
        Ok(Some(server))
    }

    /// Removes a server, its agent's seat and everything kept of it. `false`: there was none.
    ///
    /// # Errors
    /// The store's; nothing has changed then.
    pub fn remove(&self, id: &str) -> Result<bool, FleetError> {
        let Some(entry) = self.servers.write().unwrap_or_else(PoisonError::into_inner).remove(id) else {
            return Ok(false);
        };
        let (server, seated) = {
            let mut state = entry.lock();
            state.removed = true;
            (state.shown(), state.seated.take())
        };
        if let Some(seated) = seated {
            seated.link.removed();
            self.end_orders(seated.number);
        }
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
