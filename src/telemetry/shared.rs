//! Readings that are shared while they are young.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::types::reading::Reading;

/// A source and the newest reading taken from it.
///
/// The lock guards only that reading; it is not held while the source is asked, so a slow source delays nobody
/// who asks for something else, and of two threads that find the reading too old both take one, which costs
/// less than making one wait for the other.
pub struct Shared<T, S> {
    source: S,
    max_age: Duration,
    newest: Mutex<Option<Taken<T>>>,
}

struct Taken<T> {
    /// When its taking began, so that a value is never younger than it says.
    at: Instant,
    reading: Reading<T>,
}

impl<T: Clone, S> Shared<T, S> {
    /// Readings from `source`, each shared for `max_age` (zero: never).
    pub fn new(max_age: Duration, source: S) -> Shared<T, S> {
        Shared { source, max_age, newest: Mutex::new(None) }
    }

    /// The newest reading if it is younger than the limit at `now`, else one taken with `take`. Reasons for
    /// having none are shared like values, and logged when they appear or change, not each time.
    pub fn get(&self, now: Instant, take: impl FnOnce(&S) -> Reading<T>) -> Reading<T> {
        if let Some(newest) = &*self.newest.lock().unwrap_or_else(PoisonError::into_inner)
            && now.saturating_duration_since(newest.at) < self.max_age
        {
            return newest.reading.clone();
        }
        let reading = take(&self.source);
        self.keep(now, reading.clone());
        reading
    }

    fn keep(&self, at: Instant, reading: Reading<T>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.as_ref().is_some_and(|newest| newest.at > at) {
            return;
        }
        let known = newest.as_ref().and_then(|newest| newest.reading.as_ref().err());
        if let Err(missing) = &reading
            && known != Some(missing)
        {
            log::debug!("{missing}");
        }
        *newest = Some(Taken { at, reading });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::types::reading::Missing;

    const MAX_AGE: Duration = Duration::from_millis(100);

    fn counting(shared: &Shared<u32, Cell<u32>>, now: Instant) -> Reading<u32> {
        shared.get(now, |count| {
            count.set(count.get() + 1);
            Ok(count.get())
        })
    }

    #[test]
    fn a_reading_is_shared_until_it_is_too_old() {
        let shared = Shared::new(MAX_AGE, Cell::new(0));
        let start = Instant::now();
        assert_eq!(counting(&shared, start), Ok(1));
        assert_eq!(counting(&shared, start + Duration::from_millis(99)), Ok(1));
        assert_eq!(counting(&shared, start + MAX_AGE), Ok(2));
    }

    #[test]
    fn a_limit_of_zero_shares_nothing() {
        let shared = Shared::new(Duration::ZERO, Cell::new(0));
        let now = Instant::now();
        assert_eq!(counting(&shared, now), Ok(1));
        assert_eq!(counting(&shared, now), Ok(2));
    }

    #[test]
    fn a_failure_is_not_shared_longer_than_a_value() {
        let shared = Shared::new(MAX_AGE, Cell::new(0));
        let start = Instant::now();
        assert_eq!(shared.get(start, |_| Err(Missing::Query("x"))), Err(Missing::Query("x")));
        assert_eq!(counting(&shared, start + Duration::from_millis(1)), Err(Missing::Query("x")));
        assert_eq!(counting(&shared, start + MAX_AGE), Ok(1));
    }

    #[test]
    fn a_reading_that_took_long_does_not_replace_a_newer_one() {
        let shared: Shared<u32, ()> = Shared::new(MAX_AGE, ());
        let start = Instant::now();
        let newer = start + Duration::from_secs(1);
        assert_eq!(shared.get(start, |_| shared.get(newer, |_| Ok(2)).map(|_| 1)), Ok(1));
        assert_eq!(shared.get(newer, |_| Ok(3)), Ok(2));
    }
}
