//! What other processes do with the lines, as the kernel reports it; our own doings are left out.

use gpiocdev::line::{Info, InfoChangeKind};
use rustix::io::Errno;

use super::refusal;
use super::setting;
use super::state::{State, consumer, is_us};
use crate::types::event::{LineChange, LineChangeKind};
use crate::types::line::{Bias, Direction, Pin};

/// Changes the kernel keeps for a chip's descriptor; it drops what comes beyond without a word.
const KERNEL_CHANGES: usize = 32;

/// The lines as they were last seen.
pub struct Foreign {
    seen: [Option<Seen>; Pin::COUNT],
}

#[derive(Clone, Debug, PartialEq)]
struct Seen {
    holder: Holder,
    direction: Direction,
    bias: Option<Bias>,
    active_low: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Holder {
    Nobody,
    Ours,
    Other(String),
}

impl Foreign {
    pub fn new() -> Foreign {
        Foreign { seen: [const { None }; Pin::COUNT] }
    }

    /// Has the kernel report all changes from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn watch(&mut self, state: &State) -> Result<(), gpiocdev::Error> {
        let Some(board) = &state.board else { return Ok(()) };
        for (pin, offset) in board.pins() {
            let info = board.chip.watch_line_info(offset)?;
            self.seen[index(pin)] = Some(Seen::of(&info, state.is_ours(pin)));
        }
        Ok(())
    }

    /// Reads what the kernel has reported; `false` where the chip is gone.
    pub fn read(&mut self, state: &State, changes: &mut Vec<(Pin, LineChange)>) -> bool {
        let Some(board) = &state.board else { return false };
        let mut count = 0;
        // Somebody who changes lines without end must not keep the reader here.
        while count < KERNEL_CHANGES {
            match board.chip.read_line_info_change_event() {
                Ok(event) => {
                    count += 1;
                    let Some(pin) = board.pin(event.info.offset) else { continue };
                    let after = Seen::of(&event.info, is_us(&event.info.consumer));
                    changes.extend(self.event(pin, event.kind, after).map(|change| (pin, change)));
                }
                Err(error) if refusal::is(&error, Errno::AGAIN) || refusal::is(&error, Errno::INTR) => break,
                Err(_) => return false,
            }
        }
        if count == KERNEL_CHANGES {
            self.catch_up(state, changes);
        }
        true
    }

    /// One report.
    fn event(&mut self, pin: Pin, kind: InfoChangeKind, after: Seen) -> Option<LineChange> {
        let before = self.seen[index(pin)].replace(after.clone());
        // A look at all lines may have been ahead of its reports.
        if kind != InfoChangeKind::Reconfigured && before.as_ref() == Some(&after) {
            return None;
        }
        let was_ours = before.is_some_and(|before| before.holder == Holder::Ours);
        let kind = match kind {
            InfoChangeKind::Requested => LineChangeKind::Requested,
            InfoChangeKind::Released => LineChangeKind::Released,
            InfoChangeKind::Reconfigured => LineChangeKind::Reconfigured,
        };
        let ours = after.holder == Holder::Ours || (was_ours && kind == LineChangeKind::Released);
        (!ours).then(|| after.told(kind))
    }

    /// Reports may have been dropped: looks at all lines, and tells what differs from what was last seen.
    fn catch_up(&mut self, state: &State, changes: &mut Vec<(Pin, LineChange)>) {
        let Some(board) = &state.board else { return };
        for (pin, offset) in board.pins() {
            let Ok(info) = board.chip.line_info(offset) else { continue };
            let after = Seen::of(&info, state.is_ours(pin));
            let before = self.seen[index(pin)].replace(after.clone());
            changes.extend(before.and_then(|before| difference(&before, &after)).map(|change| (pin, change)));
        }
    }
}

impl Seen {
    fn of(info: &Info, ours: bool) -> Seen {
        let holder = match (info.used, ours) {
            (false, _) => Holder::Nobody,
            (true, true) => Holder::Ours,
            (true, false) => Holder::Other(consumer(info.consumer.clone())),
        };
        Seen {
            holder,
            direction: setting::direction(info.direction),
            bias: info.bias.map(setting::bias),
            active_low: info.active_low,
        }
    }

    fn told(&self, kind: LineChangeKind) -> LineChange {
        let consumer = match &self.holder {
            Holder::Other(name) => Some(name.clone()),
            Holder::Nobody | Holder::Ours => None,
        };
        LineChange { kind, consumer, direction: Some(self.direction), bias: self.bias, active_low: self.active_low }
    }
}

fn difference(before: &Seen, after: &Seen) -> Option<LineChange> {
    let kind = match (&before.holder, &after.holder) {
        (_, Holder::Ours) | (Holder::Ours | Holder::Nobody, Holder::Nobody) => return None,
        (Holder::Other(_), Holder::Nobody) => LineChangeKind::Released,
        (Holder::Other(old), Holder::Other(new)) if old == new => {
            if before == after {
                return None;
            }
            LineChangeKind::Reconfigured
        }
        (_, Holder::Other(_)) => LineChangeKind::Requested,
    };
    Some(after.told(kind))
}

fn index(pin: Pin) -> usize {
    usize::from(pin.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: Holder) -> Seen {
        Seen { holder, direction: Direction::Input, bias: None, active_low: false }
    }

    fn other(name: &str) -> Seen {
        seen(Holder::Other(name.to_owned()))
    }

    #[test]
    fn only_what_others_do_is_told() {
        use InfoChangeKind::{Reconfigured, Released, Requested};
        let pin = Pin::new(4).expect("a BCM number below 28");
        let mut foreign = Foreign::new();
        foreign.seen[4] = Some(seen(Holder::Nobody));
        let mut told = |kind, after| foreign.event(pin, kind, after).map(|change| (change.kind, change.consumer));
        assert_eq!(told(Requested, seen(Holder::Ours)), None);
        assert_eq!(told(Reconfigured, seen(Holder::Ours)), None);
        assert_eq!(told(Released, seen(Holder::Nobody)), None);
        assert_eq!(told(Requested, other("gpioset")), Some((LineChangeKind::Requested, Some("gpioset".into()))));
        assert_eq!(told(Reconfigured, other("gpioset")), Some((LineChangeKind::Reconfigured, Some("gpioset".into()))));
        assert_eq!(told(Released, seen(Holder::Nobody)), Some((LineChangeKind::Released, None)));
        assert_eq!(told(Released, seen(Holder::Nobody)), None, "once");
    }

    #[test]
    fn what_was_missed_is_found_by_looking() {
        let kind = |before, after| difference(&before, &after).map(|change| change.kind);
        assert_eq!(kind(seen(Holder::Nobody), other("a")), Some(LineChangeKind::Requested));
        assert_eq!(kind(other("a"), other("b")), Some(LineChangeKind::Requested));
        assert_eq!(kind(seen(Holder::Ours), other("a")), Some(LineChangeKind::Requested));
        assert_eq!(kind(other("a"), seen(Holder::Nobody)), Some(LineChangeKind::Released));
        assert_eq!(kind(other("a"), other("a")), None);
        assert_eq!(kind(other("a"), Seen { active_low: true, ..other("a") }), Some(LineChangeKind::Reconfigured));
        assert_eq!(kind(other("a"), seen(Holder::Ours)), None);
        assert_eq!(kind(seen(Holder::Ours), seen(Holder::Nobody)), None);
    }
}
