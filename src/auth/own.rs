//! The configured key, which a reload may replace: whoever came in with the one before is turned out then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::inside::{Inside, Pass, TurnOut};
use super::keys::REVOKED;

/// Which of the configured keys somebody came in with, counted from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edition(u32);

/// See the module's text.
pub(super) struct OwnKey {
    held: RwLock<Held>,
    inside: Arc<Mutex<Inside<Edition>>>,
}

struct Held {
    key: Option<String>,
    edition: Edition,
}

impl OwnKey {
    pub fn new(key: Option<String>) -> OwnKey {
        OwnKey { held: RwLock::new(Held { key, edition: Edition::default() }), inside: Arc::default() }
    }

    /// The edition whose key this is, as `same` finds out.
    pub fn recognise(&self, same: impl FnOnce(&str) -> bool) -> Option<Edition> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.key.as_deref().is_some_and(same).then_some(held.edition)
    }

    pub fn is_current(&self, edition: Edition) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).edition == edition
    }

    /// Takes another key, or none. Returns how many were turned out; the same key changes nothing.
    pub fn replace(&self, key: Option<&str>) -> usize {
        {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            if held.key.as_deref() == key {
                return 0;
            }
            *held = Held { key: key.map(str::to_owned), edition: Edition(held.edition.0.wrapping_add(1)) };
        }
        self.turn_out()
    }

    /// Notes that somebody is in, until the pass is dropped. Who came too late is turned out at once.
    pub fn enter(&self, edition: Edition, turn_out: Arc<TurnOut>) -> Pass {
        let number = lock(&self.inside).enter(edition, turn_out);
        self.turn_out();
        let inside = Arc::clone(&self.inside);
        Pass::new(move || lock(&inside).leave(number))
    }

    fn turn_out(&self) -> usize {
        let out = lock(&self.inside).take_out(|edition| (!self.is_current(*edition)).then_some(REVOKED));
        out.iter().for_each(|(turn_out, why)| turn_out(why));
        out.len()
    }
}

/// The lock guards plain values that are whole between any two statements.
fn lock(inside: &Mutex<Inside<Edition>>) -> MutexGuard<'_, Inside<Edition>> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn another_key_turns_out_who_came_with_the_one_before_also_if_it_was_about_to() {
        let own = OwnKey::new(Some("a".into()));
        let first = own.recognise(|key| key == "a").expect("the key");
        let (sender, told) = channel();
        let enter = |edition| {
            let sender = sender.clone();
            own.enter(edition, Arc::new(move |why| sender.send(why).expect("somebody listens")))
        };
        let (_in, left) = (enter(first), enter(first));
        drop(left);
        assert_eq!((own.replace(Some("a")), own.replace(Some("b")), own.replace(Some("b"))), (0, 1, 0));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [REVOKED]);
        let _late = enter(first);
        assert_eq!((told.try_iter().count(), own.is_current(first)), (1, false));
        let second = own.recognise(|key| key == "b").expect("the key");
        let _in = enter(second);
        assert_eq!((told.try_iter().count(), own.replace(None)), (0, 1));
        assert_eq!(own.recognise(|_| true), None);
    }
}
