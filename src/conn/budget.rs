//! One number for all connections: the bytes that wait for slow peers.
//!
//! Per-connection bounds alone do not protect a small machine: a hundred stalled peers at their bound are
//! still a hundred times that bound. Whoever would take more than is left is cut first.

use crate::rt::sync::{AtomicUsize, Ordering};

/// A shared byte budget.
pub struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub fn new(limit: usize) -> Budget {
        Budget { used: AtomicUsize::new(0), limit }
    }

    /// Takes `bytes` out of the budget; `false` when fewer are left.
    pub fn take(&self, bytes: usize) -> bool {
        let taken = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// Takes `bytes` whether they are left or not: the rest of a write of which the kernel took a part, without
    /// which the stream would be broken. One such rest per connection; the next write finds the budget used up.
    pub fn overdraw(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives `bytes` back.
    pub fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether less than a quarter is left.
    pub fn is_tight(&self) -> bool {
        self.used() > self.limit - self.limit / 4
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_what_it_has_and_no_more() {
        let budget = Budget::new(10);
        assert!(budget.take(6));
        assert!(!budget.take(5));
        assert!(budget.take(4));
        budget.overdraw(5);
        assert!(!budget.take(1));
        budget.give(15);
        assert_eq!(budget.used(), 0);
        assert!(!budget.take(usize::MAX));
    }
}
