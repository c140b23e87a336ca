//! The keys of the store as the gate knows them, and who is in with which.
//!
//! The store fills the table and tells it when something changed or a moment has come; the table turns out whoever came
//! in with a key that is no longer good. One short lock; nobody is turned out, and nothing is hashed, under it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::types::rights::Rights;

use super::inside::{Inside, Pass};
use super::key::{Digest, KeyId, take_apart};

/// What the gate must know of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: KeyId,
    pub digest: Digest,
    pub expires: Option<SystemTime>,
    pub revoked: bool,
    /// The server whose agent it is for; such a key opens nothing else.
    pub server_id: Option<Arc<str>>,
    pub rights: Arc<Rights>,
}

/// A good key that was shown.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub id: KeyId,
    pub server_id: Option<Arc<str>>,
}

/// Why somebody is turned out; a Close frame's reason.
pub const REVOKED: &str = "API key revoked";
/// See [`REVOKED`].
pub const EXPIRED: &str = "API key expired";

impl Record {
    /// Why it opens nothing at this moment.
    pub fn fault(&self, now: SystemTime) -> Option<&'static str> {
        if self.revoked {
            Some(REVOKED)
        } else if self.expires.is_some_and(|at| at <= now) {
            Some(EXPIRED)
        } else {
            None
        }
    }
}

/// See the module's text.
pub struct Keys {
    inner: Mutex<Inner>,
    /// Called when there is a use to be written down and there was none before.
    on_use: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Inner {
    records: HashMap<KeyId, Record>,
    /// When each was last shown, since the store last asked. Not more than there are keys.
    used: HashMap<KeyId, SystemTime>,
    inside: Inside<KeyId>,
    /// There is or was a key, so nobody is let in without one.
    guarded: bool,
}

impl Keys {
    pub fn new(on_use: impl Fn() + Send + Sync + 'static) -> Arc<Keys> {
        Arc::new(Keys { inner: Mutex::default(), on_use: Box::new(on_use) })
    }

    /// A table that stays empty: there is no store.
    pub fn none() -> Arc<Keys> {
        Keys::new(|| {})
    }

    /// Takes what the store holds now, and turns out whose key is no longer good. `guarded` sticks: neither a revoked
    /// nor a lost key opens the door to everybody.
    pub fn replace(&self, records: Vec<Record>, guarded: bool, now: SystemTime) {
        {
            let mut inner = self.lock();
            // An agent's key opens no door, so it closes none.
            inner.guarded |= guarded || records.iter().any(|record| record.server_id.is_none());
            inner.records = records.into_iter().map(|record| (record.id, record)).collect();
        }
        self.turn_out(now);
    }

    /// Turns out whose key has expired or was revoked; returns how many.
    pub fn turn_out(&self, now: SystemTime) -> usize {
        let out: Vec<_> = {
            let mut inner = self.lock();
            let Inner { records, inside, .. } = &mut *inner;
            inside.take_out(|id| fault(records, *id, now))
        };
        out.iter().for_each(|(turn_out, why)| turn_out(why));
        out.len()
    }

    /// When the next key expires that is still good.
    pub fn next_expiry(&self, now: SystemTime) -> Option<SystemTime> {
        let inner = self.lock();
        inner.records.values().filter(|record| record.fault(now).is_none()).filter_map(|record| record.expires).min()
    }

    /// How many are good now.
    pub fn good(&self, now: SystemTime) -> usize {
        self.lock().records.values().filter(|record| record.fault(now).is_none()).count()
    }

    /// Whether one of those would open the door: an agent's key does not.
    pub fn opens(&self, now: SystemTime) -> bool {
        self.lock().records.values().any(|record| record.server_id.is_none() && record.fault(now).is_none())
    }

    /// Whether there is or was a key.
    pub fn guarded(&self) -> bool {
        self.lock().guarded
    }

    /// What a key allows.
    pub fn rights(&self, id: KeyId) -> Option<Arc<Rights>> {
        self.lock().records.get(&id).map(|record| Arc::clone(&record.rights))
    }

    /// What was used since the last call.
    pub fn take_used(&self) -> Vec<(KeyId, SystemTime)> {
        std::mem::take(&mut self.lock().used).into_iter().collect()
    }

    /// The key that was shown, if it opens the door. A key that is unknown, wrong, revoked or expired takes the same
    /// path as a good one, up to the note that it was used.
    pub(super) fn find(&self, shown: &str, now: SystemTime) -> Option<Found> {
        const NOBODY: Digest = Digest([0; 32]);
        let (id, digest) = take_apart(shown);
        let mut inner = self.lock();
        let record = id.and_then(|id| inner.records.get(&id));
        let same: bool = digest.same(record.map_or(&NOBODY, |record| &record.digest)).into();
        let record = record.filter(|record| same && record.fault(now).is_none())?;
        let found = Found { id: record.id, server_id: record.server_id.clone() };
        let first = inner.used.is_empty();
        inner.used.insert(found.id, now);
        drop(inner);
        if first {
            (self.on_use)();
        }
        Some(found)
    }

    /// The digest of a key that opens its server's door to an agent now.
    pub(super) fn agents_digest(&self, id: KeyId, now: SystemTime) -> Option<Digest> {
        let inner = self.lock();
        let record = inner.records.get(&id).filter(|record| record.server_id.is_some())?;
        record.fault(now).is_none().then_some(record.digest)
    }

    /// Notes that somebody is in with this key, until the pass is dropped. If the key is no longer good it is turned
    /// out at once: nothing between the check and this call is missed.
    pub(super) fn enter(
        self: &Arc<Keys>,
        id: KeyId,
        now: SystemTime,
        turn_out: impl Fn(&'static str) + Send + Sync + 'static,
    ) -> Pass {
        let number = self.lock().inside.enter(id, Arc::new(turn_out));
        self.turn_out(now);
        let own = Arc::clone(self);
        Pass::new(move || own.lock().inside.leave(number))
    }

    /// The lock guards plain values that are whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key that is no longer in the store is as good as revoked.
fn fault(records: &HashMap<KeyId, Record>, id: KeyId, now: SystemTime) -> Option<&'static str> {
    records.get(&id).map_or(Some(REVOKED), |record| record.fault(now))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::super::key::{Minted, mint};
    use super::*;

    fn record(minted: &Minted, expires: Option<SystemTime>) -> Record {
        Record {
            id: minted.id,
            digest: minted.digest,
            expires,
            revoked: false,
            server_id: None,
            rights: Arc::new(Rights::all()),
        }
    }

    #[test]
    fn a_key_opens_until_it_expires_or_is_revoked() {
        let (keys, now, minted) = (Keys::none(), SystemTime::UNIX_EPOCH, mint().expect("random"));
        assert!(!keys.guarded() && keys.find(&minted.text, now).is_none());
        let id = |shown: &str, at| keys.find(shown, at).map(|found| found.id);
        let at = now + Duration::from_secs(9);
        keys.replace(vec![record(&minted, Some(at))], false, now);
        assert!(keys.guarded());
        assert_eq!((id(&minted.text, now), keys.good(now), keys.next_expiry(now)), (Some(minted.id), 1, Some(at)));
        assert_eq!((id(&minted.text, at), keys.good(at), keys.next_expiry(at)), (None, 0, None));
        let other = mint().expect("random");
        let forged = format!("pw_{}.{}", minted.id, other.text.split('.').nth(1).expect("a secret"));
        for wrong in [forged.as_str(), &other.text, "", &minted.text[1..], &minted.text[..minted.text.len() - 1]] {
            assert_eq!(id(wrong, now), None, "{wrong}");
        }
        keys.replace(vec![Record { revoked: true, ..record(&minted, None) }], false, now);
        assert_eq!((id(&minted.text, now), keys.good(now)), (None, 0));
        keys.replace(Vec::new(), false, now);
        assert!(keys.guarded(), "no key is left, and still nobody comes in without one");
    }

    #[test]
    fn whoever_is_in_is_turned_out_once_and_told_why() {
        let (keys, now, minted) = (Keys::none(), SystemTime::UNIX_EPOCH, mint().expect("random"));
        let at = now + Duration::from_secs(1);
        let (sender, told) = channel();
        let enter = |now| {
            let sender = sender.clone();
            keys.enter(minted.id, now, move |why| sender.send(why).expect("somebody listens"))
        };
        keys.replace(vec![record(&minted, Some(at))], false, now);
        let (_in, left) = (enter(now), enter(now));
        drop(left);
        assert_eq!((keys.turn_out(now), keys.turn_out(at), keys.turn_out(at)), (0, 1, 0));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [EXPIRED]);
        let _late = enter(at);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [EXPIRED], "too late already");
        let _in = enter(now);
        keys.replace(Vec::new(), false, now);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [REVOKED]);
    }

    #[test]
    fn uses_are_collected_and_announced_once() {
        let (sender, nudges) = channel();
        let keys = Keys::new(move || sender.send(()).expect("somebody listens"));
        let (now, minted) = (SystemTime::UNIX_EPOCH, mint().expect("random"));
        keys.replace(vec![record(&minted, None)], false, now);
        for _ in 0..3 {
            assert!(keys.find(&minted.text, now).is_some());
        }
        assert_eq!((nudges.try_iter().count(), keys.take_used()), (1, vec![(minted.id, now)]));
        assert!(keys.find(&minted.text, now).is_some());
        assert_eq!(nudges.try_iter().count(), 1);
    }
}
