//! One server, and everything that is watched of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::rules;
use super::watch::{Patience, Says, Step, Watch};
use crate::rt::random;
use crate::store::KeptAlert;
use crate::types::fleet::{Alert, AlertCause, AlertChange, AlertKind, Sample, Severity, Threshold};

/// The firmware's flag comes and goes with the load: this long without it, and the alert is resolved.
const VOLTAGE_SETTLE: Duration = Duration::from_secs(60);

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Instant,
    pub wall: SystemTime,
}

/// An alert that was raised, acknowledged or resolved.
#[derive(Debug)]
pub struct Change {
    pub change: AlertChange,
    pub server_name: Arc<str>,
    pub alert: Arc<Alert>,
}

/// A server and what is watched of it.
#[derive(Default)]
pub struct Watched {
    pub name: Arc<str>,
    pub rules: Vec<(Threshold, Case)>,
    pub built_in: Vec<(BuiltIn, Case)>,
    /// When its byte counters were last read, and what they said.
    pub counted: Option<(Instant, u64)>,
}

/// What is watched without a threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltIn {
    pub cause: AlertCause,
    pub subject: Option<Box<str>>,
    pub severity: Severity,
}

/// A condition, and its alert while that is open or must not be raised again.
#[derive(Default)]
pub struct Case {
    pub watch: Watch,
    pub alert: Option<KeptAlert>,
}

/// What a case is about.
pub enum About<'a> {
    /// A threshold, by its id.
    Threshold(&'a str),
    BuiltIn(AlertCause, Option<Box<str>>),
}

/// What an alert says when it is raised.
pub struct Words {
    pub kind: AlertKind,
    pub severity: Severity,
    pub message: String,
    pub threshold: Option<f64>,
    pub value: Option<f64>,
}

/// Where news are collected.
pub struct Desk<'a> {
    pub at: Moment,
    pub server_id: &'a str,
    pub server_name: &'a Arc<str>,
    pub changes: Vec<Change>,
    pub rows: Vec<KeptAlert>,
}

impl Watched {
    pub fn cases(&mut self) -> impl Iterator<Item = &mut Case> {
        let built_in = self.built_in.iter_mut().map(|(_, case)| case);
        self.rules.iter_mut().map(|(_, case)| case).chain(built_in)
    }

    pub fn open_alerts(&self) -> impl Iterator<Item = &Alert> {
        let built_in = self.built_in.iter().map(|(_, case)| case);
        self.rules.iter().map(|(_, case)| case).chain(built_in).filter_map(Case::open)
    }

    pub fn case(&mut self, built_in: BuiltIn) -> &mut Case {
        let at = self.built_in.iter().position(|(known, _)| *known == built_in).unwrap_or_else(|| {
            self.built_in.push((built_in, Case::default()));
            self.built_in.len() - 1
        });
        &mut self.built_in[at].1
    }

    pub fn built_in(
        &mut self,
        desk: &mut Desk<'_>,
        built_in: BuiltIn,
        says: Says,
        patience: Patience,
        words: impl FnOnce() -> (String, Option<f64>, Option<f64>),
    ) {
        let (cause, severity, subject) = (built_in.cause, built_in.severity, built_in.subject.clone());
        let kind = if cause == AlertCause::DiskFull { AlertKind::Disk } else { AlertKind::Service };
        self.case(built_in).step(desk, says, patience, About::BuiltIn(cause, subject), || {
            let (message, threshold, value) = words();
            Words { kind, severity, message, threshold, value }
        });
    }

    pub fn offline(&mut self, desk: &mut Desk<'_>, is_offline: bool, hold: Duration) {
        let built_in = BuiltIn { cause: AlertCause::Offline, subject: None, severity: Severity::Critical };
        let says = if is_offline { Says::Holds } else { Says::Gone };
        let name = desk.server_name;
        self.built_in(desk, built_in, says, Patience { hold, ..Patience::default() }, || {
            let text = format!("The agent of {name} has been offline for {}", humantime::format_duration(hold));
            (text, None, None)
        });
    }

    pub fn under_voltage(&mut self, desk: &mut Desk<'_>, is_low: bool) {
        let built_in = BuiltIn { cause: AlertCause::UnderVoltage, subject: None, severity: Severity::Critical };
        let says = if is_low { Says::Holds } else { Says::Gone };
        let patience = Patience { settle: VOLTAGE_SETTLE, ..Patience::default() };
        self.built_in(desk, built_in, says, patience, || {
            ("Under-voltage: the power supply is too weak".to_owned(), None, None)
        });
    }

    pub fn clock(&mut self, desk: &mut Desk<'_>, synchronised: bool, hold: Duration) {
        let built_in = BuiltIn { cause: AlertCause::ClockNotSynchronised, subject: None, severity: Severity::Warning };
        let says = if synchronised { Says::Gone } else { Says::Holds };
        self.built_in(desk, built_in, says, Patience { hold, ..Patience::default() }, || {
            let text = format!("The clock has not been synchronised for {}", humantime::format_duration(hold));
            (text, None, None)
        });
    }

    pub fn disks(&mut self, desk: &mut Desk<'_>, sample: &Sample, limits: [f64; 2]) {
        let Some(disks) = &sample.disks else { return };
        const LEVELS: [Severity; 2] = [Severity::Warning, Severity::Critical];
        let of = |path: &str, severity| BuiltIn { cause: AlertCause::DiskFull, subject: Some(path.into()), severity };
        for disk in disks {
            let Some(percent) = rules::fullness(disk) else { continue };
            let critical = of(&disk.path, Severity::Critical);
            let was_critical = self.built_in.iter().any(|(known, case)| *known == critical && !case.watch.is_idle());
            let says = rules::disk_says(percent, limits, was_critical);
            for ((severity, limit), says) in LEVELS.into_iter().zip(limits).zip(says) {
                self.built_in(desk, of(&disk.path, severity), says, Patience::default(), || {
                    (rules::disk_message(&disk.path, percent, limit), Some(limit), Some(percent))
                });
            }
        }
        // A disk that was taken away is not full any more.
        for (built_in, case) in &mut self.built_in {
            let is_away = built_in.cause == AlertCause::DiskFull
                && !disks.iter().any(|disk| built_in.subject.as_deref() == Some(&disk.path));
            if is_away {
                case.close(desk);
            }
        }
    }

    /// Bytes per second over all interfaces: as the agent says, or as its counters do since the sample before.
    pub fn network(&mut self, sample: &Sample, now: Instant) -> Option<f64> {
        let counted = rules::bytes(sample).map(|bytes| (now, bytes));
        let before = std::mem::replace(&mut self.counted, counted);
        rules::rate(sample).or_else(|| {
            let ((then, before), (now, after)) = (before?, counted?);
            rules::rate_between(before, after, now.saturating_duration_since(then))
        })
    }

    /// What has held for a while has to begin anew; but for being offline, which is just what holds.
    pub fn interrupt(&mut self) {
        self.rules.iter_mut().for_each(|(_, case)| case.watch.interrupt());
        let others = self.built_in.iter_mut().filter(|(built_in, _)| built_in.cause != AlertCause::Offline);
        others.for_each(|(_, case)| case.watch.interrupt());
    }

    pub fn offline_due(&self, hold: Duration) -> Option<Instant> {
        let mut offline = self.built_in.iter().filter(|(built_in, _)| built_in.cause == AlertCause::Offline);
        offline.find_map(|(_, case)| case.watch.due(hold))
    }

    pub fn tidy(&mut self) {
        self.built_in.retain(|(_, case)| !case.watch.is_idle());
    }
}

impl Case {
    pub fn open(&self) -> Option<&Alert> {
        self.alert.as_ref().map(|kept| &kept.alert).filter(|alert| alert.resolved_at.is_none())
    }

    /// `about`: the threshold it is the case of, or what is watched without one.
    pub fn step(
        &mut self,
        desk: &mut Desk<'_>,
        says: Says,
        patience: Patience,
        about: About<'_>,
        words: impl FnOnce() -> Words,
    ) {
        match self.watch.step(desk.at.now, says, patience) {
            Step::Raise => {
                let id = match random::uuid() {
                    Ok(id) => id,
                    Err(error) => return log::error!("no alert without a random number: {error}"),
                };
                let Words { kind, severity, message, threshold, value } = words();
                let (threshold_id, cause, subject) = match about {
                    About::Threshold(id) => (Some(id.to_owned()), None, None),
                    About::BuiltIn(cause, subject) => (None, Some(cause), subject),
                };
                let alert = Alert {
                    id,
                    server_id: desk.server_id.to_owned(),
                    cause,
                    threshold_id,
                    kind,
                    severity,
                    message,
                    threshold,
                    current_value: value,
                    created_at: desk.at.wall,
                    acknowledged_at: None,
                    resolved_at: None,
                };
                let kept = KeptAlert { alert, subject, muted: false };
                desk.tell(AlertChange::Created, &kept);
                self.alert = Some(kept);
            }
            Step::Resolve => self.close(desk),
            Step::Nothing if self.alert.as_ref().is_some_and(|kept| kept.muted) && !self.watch.is_muted() => {
                self.close(desk);
            }
            Step::Nothing => {}
        }
    }

    /// Ends it: an open alert is resolved, and one that was resolved by hand does not keep others back any more.
    pub fn close(&mut self, desk: &mut Desk<'_>) {
        self.watch = Watch::default();
        let Some(mut kept) = self.alert.take() else { return };
        if kept.alert.resolved_at.is_none() {
            kept.alert.resolved_at = Some(desk.at.wall);
            desk.tell(AlertChange::Resolved, &kept);
        } else {
            kept.muted = false;
            desk.rows.push(kept);
        }
    }
}

impl Desk<'_> {
    fn tell(&mut self, change: AlertChange, kept: &KeptAlert) {
        self.rows.push(kept.clone());
        let (server_name, alert) = (Arc::clone(self.server_name), Arc::new(kept.alert.clone()));
        self.changes.push(Change { change, server_name, alert });
    }
}
