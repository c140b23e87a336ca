//! Leases: a line belongs to one client for as long as that client says it lives, and no longer.
//!
//! A lease that is not renewed in time, or whose holder's connection has ended, enters its grace: the lines keep
//! their levels, others still may not touch them, and whoever knows the lease's id may renew it. After the grace the
//! lines have to be safe.

use std::sync::Arc;
use std::time::Instant;

use super::engine::may_write;
use super::lines::GpioError;
use super::output::whole_millis;
use crate::types::caller::{Caller, CallerId};
use crate::types::line::Pin;
use crate::types::output::{Lease, LeaseWish};

/// All leases. A line is in one of them at most, so there are never more than lines.
#[derive(Default)]
pub struct Leases {
    all: Vec<Granted>,
}

struct Granted {
    lease: Lease,
    holder: Option<CallerId>,
    name: Arc<str>,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    Live { until: Instant },
    Grace { until: Instant, reason: &'static str },
}

/// A lease that is over; its lines have to be safe now.
pub struct Expired {
    pub lease: Lease,
    pub holder: Arc<str>,
    pub reason: &'static str,
}

const NOT_RENEWED: &str = "not renewed";
const HOLDER_GONE: &str = "holder gone";

impl Leases {
    /// Whether the caller may write these lines.
    ///
    /// # Errors
    /// [`GpioError::Leased`] for the first that is somebody else's.
    pub fn check(&self, pins: impl Iterator<Item = Pin>, caller: &Caller, now: Instant) -> Result<(), GpioError> {
        for pin in pins {
            if let Some(granted) = self.of(pin)
                && (granted.holder.is_none() || granted.holder != caller.id)
            {
                return Err(granted.conflict(pin, now));
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`GpioError::Leased`] for the first line that is in a lease already, also in one of the caller's own.
    pub fn grant(&mut self, caller: &Caller, wish: &LeaseWish, now: Instant) -> Result<Lease, GpioError> {
        for pin in &wish.pins {
            if let Some(granted) = self.of(*pin) {
                if granted.holder.is_some() && granted.holder == caller.id {
                    let why = format!("it is in your own lease '{}'; renew or release that one", granted.lease.id);
                    return Err(GpioError::Rule { pin: *pin, why });
                }
                return Err(granted.conflict(*pin, now));
            }
        }
        let lease =
            Lease { id: super::id::fresh("lease"), pins: wish.pins.clone(), lease: wish.lease, grace: wish.grace };
        let name = wish.holder.as_deref().map_or_else(|| Arc::clone(&caller.name), Arc::from);
        let phase = Phase::Live { until: now + wish.lease };
        self.all.push(Granted { lease: lease.clone(), holder: caller.id, name, phase });
        Ok(lease)
    }

    /// # Errors
    /// [`GpioError::NoSuch`] where it is over.
    pub fn renew(&mut self, caller: &Caller, id: &str, now: Instant) -> Result<Lease, GpioError> {
        let granted = self.all.iter_mut().find(|granted| granted.lease.id == id).ok_or_else(|| no_such(id))?;
        may_write(caller, &granted.lease.pins)?;
        granted.holder = caller.id;
        granted.phase = Phase::Live { until: now + granted.lease.lease };
        Ok(granted.lease.clone())
    }

    /// # Errors
    /// [`GpioError::NoSuch`] where it is over, [`GpioError::Lacks`].
    pub fn release(&mut self, caller: &Caller, id: &str) -> Result<(), GpioError> {
        let place = self.all.iter().position(|granted| granted.lease.id == id).ok_or_else(|| no_such(id))?;
        may_write(caller, &self.all[place].lease.pins)?;
        self.all.swap_remove(place);
        Ok(())
    }

    /// A holder's connection has ended: its leases enter their grace.
    pub fn gone(&mut self, caller: CallerId, now: Instant) {
        for granted in self.all.iter_mut().filter(|granted| granted.holder == Some(caller)) {
            granted.holder = None;
            if let Phase::Live { .. } = granted.phase {
                granted.phase = Phase::Grace { until: now + granted.lease.grace, reason: HOLDER_GONE };
            }
        }
    }

    /// Takes out what is over.
    pub fn due(&mut self, now: Instant) -> Vec<Expired> {
        let mut expired = Vec::new();
        self.all.retain_mut(|granted| {
            if let Phase::Live { until } = granted.phase
                && until <= now
            {
                granted.phase = Phase::Grace { until: until + granted.lease.grace, reason: NOT_RENEWED };
            }
            let Phase::Grace { until, reason } = granted.phase else { return true };
            if until > now {
                return true;
            }
            expired.push(Expired { lease: granted.lease.clone(), holder: Arc::clone(&granted.name), reason });
            false
        });
        expired
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.all.iter().map(|granted| granted.phase.until()).min()
    }

    /// Who leases a line.
    pub fn holder(&self, pin: Pin) -> Option<Arc<str>> {
        self.of(pin).map(|granted| Arc::clone(&granted.name))
    }

    fn of(&self, pin: Pin) -> Option<&Granted> {
        self.all.iter().find(|granted| granted.lease.pins.contains(&pin))
    }
}

impl Granted {
    fn conflict(&self, pin: Pin, now: Instant) -> GpioError {
        let end = match self.phase {
            Phase::Live { until } => until + self.lease.grace,
            Phase::Grace { until, .. } => until,
        };
        let left = whole_millis(end.saturating_duration_since(now));
        let left = humantime::format_duration(left).to_string();
        GpioError::Leased { pin, holder: self.name.to_string(), left }
    }
}

impl Phase {
    fn until(self) -> Instant {
        match self {
            Phase::Live { until } | Phase::Grace { until, .. } => until,
        }
    }
}

fn no_such(id: &str) -> GpioError {
    GpioError::NoSuch { what: "lease", id: id.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::clock;
    use std::time::Duration;

    const LEASE: Duration = Duration::from_secs(5);
    const GRACE: Duration = Duration::from_secs(1);

    fn pin(bcm: u8) -> Pin {
        Pin::new(bcm).expect("a BCM number below 28")
    }

    fn caller(id: u64) -> Caller {
        Caller { id: Some(CallerId(id)), name: format!("client {id}").into(), rights: None }
    }

    fn granted(now: Instant) -> (Leases, Lease) {
        let mut leases = Leases::default();
        let wish = LeaseWish { pins: vec![pin(17)], lease: LEASE, grace: GRACE, holder: None };
        let lease = leases.grant(&caller(1), &wish, now).expect("nobody has it");
        (leases, lease)
    }

    #[test]
    fn others_are_told_who_has_the_line_and_for_how_long() {
        let now = clock::now();
        let (mut leases, lease) = granted(now);
        let check = |leases: &Leases, who| leases.check([pin(4), pin(17)].into_iter(), &caller(who), now);
        assert_eq!(check(&leases, 1), Ok(()));
        let conflict = GpioError::Leased { pin: pin(17), holder: "client 1".into(), left: "6s".into() };
        assert_eq!(check(&leases, 2), Err(conflict.clone()));
        assert!(conflict.to_string().contains("conflict: leased by client 1"), "{conflict}");
        let anonymous = Caller { id: None, name: "http".into(), rights: None };
        assert!(leases.check([pin(17)].into_iter(), &anonymous, now).is_err());
        leases.release(&caller(1), &lease.id).expect("it is there");
        assert_eq!(check(&leases, 2), Ok(()));
        assert!(leases.release(&caller(1), &lease.id).is_err() && leases.renew(&caller(1), &lease.id, now).is_err());
    }

    #[test]
    fn a_lease_ends_after_its_time_and_its_grace_unless_it_is_renewed() {
        let now = clock::now();
        let (mut leases, lease) = granted(now);
        assert_eq!(leases.next_due(), Some(now + LEASE));
        assert!(leases.due(now + LEASE).is_empty());
        assert_eq!(leases.next_due(), Some(now + LEASE + GRACE));
        leases.renew(&caller(1), &lease.id, now + LEASE).expect("within the grace");
        assert!(leases.due(now + LEASE + GRACE).is_empty());
        let end = now + 2 * LEASE + GRACE;
        assert!(leases.due(end - Duration::from_millis(1)).is_empty());
        let expired = leases.due(end);
        assert_eq!((expired[0].lease.id.as_str(), expired[0].reason), (lease.id.as_str(), "not renewed"));
        assert_eq!((leases.next_due(), leases.holder(pin(17))), (None, None));
    }

    #[test]
    fn a_vanished_holder_has_its_grace_and_may_come_back_as_another_connection() {
        let now = clock::now();
        let (mut leases, lease) = granted(now);
        leases.gone(CallerId(1), now);
        assert_eq!(leases.next_due(), Some(now + GRACE));
        assert!(leases.check([pin(17)].into_iter(), &caller(2), now).is_err(), "the grace is not for others");
        leases.renew(&caller(2), &lease.id, now).expect("within the grace");
        assert_eq!(leases.check([pin(17)].into_iter(), &caller(2), now), Ok(()));
        leases.gone(CallerId(1), now);
        assert_eq!(leases.next_due(), Some(now + LEASE), "the old connection means nothing any more");
        leases.gone(CallerId(2), now);
        assert_eq!(leases.due(now + GRACE)[0].reason, "holder gone");
    }
}
