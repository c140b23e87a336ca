//! Who is in, with what, and how each is turned out when that is no longer good.

use std::collections::HashMap;
use std::sync::Arc;

/// Ends what came in; must not wait.
pub(super) type TurnOut = dyn Fn(&'static str) + Send + Sync;

/// See the module's text.
pub(super) struct Inside<T> {
    by_number: HashMap<u64, (T, Arc<TurnOut>)>,
    next: u64,
}

impl<T> Default for Inside<T> {
    fn default() -> Inside<T> {
        Inside { by_number: HashMap::new(), next: 0 }
    }
}

impl<T> Inside<T> {
    /// Notes who came in; the number is for [`Inside::leave`].
    pub fn enter(&mut self, with: T, turn_out: Arc<TurnOut>) -> u64 {
        self.next += 1;
        self.by_number.insert(self.next, (with, turn_out));
        self.next
    }

    pub fn leave(&mut self, number: u64) {
        self.by_number.remove(&number);
    }

    /// Takes out whose ticket has a fault. To be called, each with its reason, without any lock.
    pub fn take_out(&mut self, fault: impl Fn(&T) -> Option<&'static str>) -> Vec<(Arc<TurnOut>, &'static str)> {
        let faults: Vec<_> =
            self.by_number.iter().filter_map(|(number, (with, _))| Some((*number, fault(with)?))).collect();
        faults.into_iter().filter_map(|(number, why)| Some((self.by_number.remove(&number)?.1, why))).collect()
    }
}

/// Somebody is in, until this is dropped.
pub struct Pass(Option<Box<dyn FnOnce() + Send>>);

impl Pass {
    pub(super) fn new(leave: impl FnOnce() + Send + 'static) -> Pass {
        Pass(Some(Box::new(leave)))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(leave) = self.0.take() {
            leave();
        }
    }
}
