//! Lines that were taken together: one request of the kernel, one descriptor.

use std::path::Path;

use gpiocdev::line::{EdgeKind, Offset, Values};
use gpiocdev::{Error, Request};
use rustix::io::Errno;

use super::chip::nonblocking;
use super::edges::Track;
use super::refusal;
use super::setting::{self, Role, Setting};
use crate::gpio::lines::RawEdge;
use crate::types::line::{Level, Pin};

/// Who holds the lines, for everybody who asks the kernel.
pub const CONSUMER: &str = "pinwire";

/// Edges the kernel keeps for one request: as many as it allows (`GPIO_V2_LINES_MAX` times 16).
pub const KERNEL_EDGES: u32 = 64 * 16;

/// Edges read at once.
pub const BATCH: usize = 256;

/// A request and its lines.
pub struct Group {
    /// Unique, and what the descriptor is known by in epoll.
    pub id: u64,
    pub request: Request,
    lines: Vec<Line>,
    /// The kernel's number of the last edge, within the request.
    last: u32,
    /// Room for a batch of edges, in the kernel's form.
    buffer: Vec<u64>,
}

struct Line {
    pin: Pin,
    offset: Offset,
    /// What the kernel was told last; an output's level too, since nobody else can set it.
    setting: Setting,
    /// Nobody wants it any more, but the kernel does not take back one line of several.
    parked: bool,
    track: Track,
}

impl Group {
    /// Takes lines, in one kernel call that also configures them.
    ///
    /// # Errors
    /// The kernel's. It has let go of all of them then.
    pub fn take(id: u64, chip: &Path, lines: &[(Pin, Offset, Setting)]) -> Result<Group, Error> {
        let config = setting::config(lines.iter().map(|(_, offset, setting)| (*offset, *setting)));
        let request = Request::from_config(config)
            .on_chip(chip)
            .with_consumer(CONSUMER)
            .with_kernel_event_buffer_size(KERNEL_EDGES)
            .with_user_event_buffer_size(BATCH)
            .request()?;
        nonblocking(&request).map_err(|error| Error::from(std::io::Error::from(error)))?;
        let buffer = vec![0; BATCH * request.edge_event_u64_size()];
        let line = |(pin, offset, setting): &(Pin, Offset, Setting)| Line {
            pin: *pin,
            offset: *offset,
            setting: *setting,
            parked: false,
            track: Track::default(),
        };
        Ok(Group { id, request, lines: lines.iter().map(line).collect(), last: 0, buffer })
    }

    fn line(&self, pin: Pin) -> Option<&Line> {
        self.lines.iter().find(|line| line.pin == pin)
    }

    /// Whether the line is in this request, wanted or not.
    pub fn has(&self, pin: Pin) -> bool {
        self.line(pin).is_some()
    }

    /// The line's setting while somebody wants it.
    pub fn held(&self, pin: Pin) -> Option<Setting> {
        self.line(pin).filter(|line| !line.parked).map(|line| line.setting)
    }

    /// The line's setting, wanted or not.
    pub fn setting(&self, pin: Pin) -> Option<Setting> {
        self.line(pin).map(|line| line.setting)
    }

    pub fn is_deserted(&self) -> bool {
        self.lines.iter().all(|line| line.parked)
    }

    pub fn park(&mut self, pin: Pin, parked: bool) {
        self.lines.iter_mut().filter(|line| line.pin == pin).for_each(|line| line.parked = parked);
    }

    /// All lines' settings, with these changed.
    fn settings_with(&self, changes: &[(Pin, Setting)]) -> Vec<(Offset, Setting)> {
        let setting = |line: &Line| {
            let change = changes.iter().find(|(pin, _)| *pin == line.pin);
            (line.offset, change.map_or(line.setting, |(_, setting)| *setting))
        };
        self.lines.iter().map(setting).collect()
    }

    /// Whether the request can carry these changes.
    pub fn fits(&self, changes: &[(Pin, Setting)]) -> bool {
        let settings: Vec<Setting> = self.settings_with(changes).into_iter().map(|(_, setting)| setting).collect();
        setting::fits(&settings)
    }

    /// Changes lines in one kernel call that repeats the other lines' settings: kernels before 6.10 take what is
    /// not repeated for a wish, and an output that is repeated with its level stays as it is.
    ///
    /// # Errors
    /// The kernel's. It may have changed some lines then.
    pub fn configure(&mut self, changes: &[(Pin, Setting)]) -> Result<(), Error> {
        self.request.reconfigure(&setting::config(self.settings_with(changes)))?;
        for (pin, setting) in changes {
            for line in self.lines.iter_mut().filter(|line| line.pin == *pin) {
                line.setting = *setting;
                line.track.reconfigured();
            }
        }
        Ok(())
    }

    /// Sets outputs, in one kernel call that touches no other line.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&mut self, levels: &[(Pin, Level)]) -> Result<(), Error> {
        let mut values = Values::default();
        for (pin, level) in levels {
            if let Some(line) = self.line(*pin) {
                values.set(line.offset, setting::value(*level));
            }
        }
        self.request.set_values(&values)?;
        for (pin, level) in levels {
            for line in self.lines.iter_mut().filter(|line| line.pin == *pin) {
                line.setting = line.setting.with_level(*level);
            }
        }
        Ok(())
    }

    /// What lines read, in one kernel call.
    ///
    /// # Errors
    /// The kernel's.
    pub fn levels(&self, pins: &[Pin]) -> Result<Vec<Level>, Error> {
        let offsets: Vec<Offset> = pins.iter().filter_map(|pin| self.line(*pin)).map(|line| line.offset).collect();
        let mut values = Values::from_offsets(&offsets);
        self.request.values(&mut values)?;
        Ok(offsets.iter().map(|offset| setting::level(values.get(*offset).unwrap_or_default())).collect())
    }

    /// Lines taken as they are become outputs with the level they read.
    ///
    /// # Errors
    /// The kernel's.
    pub fn drive_as_is(&mut self, wanted: &[(Pin, Setting)]) -> Result<(), Error> {
        let as_is: Vec<Pin> =
            self.lines.iter().filter(|line| line.setting.role == Role::AsIs).map(|line| line.pin).collect();
        if as_is.is_empty() {
            return Ok(());
        }
        let levels = self.levels(&as_is)?;
        let output = |(pin, level): (&Pin, Level)| {
            let wanted = wanted.iter().find(|(other, _)| other == pin)?.1;
            Some((*pin, wanted.with_level(level)))
        };
        let outputs: Vec<(Pin, Setting)> = as_is.iter().zip(levels).filter_map(output).collect();
        self.configure(&outputs)
    }

    /// Appends at most [`BATCH`] edges; says whether there may be more.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&mut self, edges: &mut Vec<RawEdge>) -> Result<bool, Error> {
        let words = match self.request.read_edge_events_into_slice(&mut self.buffer) {
            Ok(words) => words,
            Err(error) if refusal::is(&error, Errno::AGAIN) || refusal::is(&error, Errno::INTR) => return Ok(false),
            Err(error) => return Err(error),
        };
        let first = edges.len();
        let event_words = self.request.edge_event_u64_size();
        for words in self.buffer[..words].chunks_exact(event_words) {
            let event = self.request.edge_event_from_slice(words)?;
            let Some(line) = self.lines.iter_mut().find(|line| line.offset == event.offset) else { continue };
            let level = Level::from_bool(event.kind == EdgeKind::Rising);
            let lost = line.track.lost(event.line_seqno, level, line.setting.edge());
            edges.push(RawEdge {
                pin: line.pin,
                level,
                monotonic_ns: event.timestamp_ns,
                seqno: Some((event.seqno, event.line_seqno)),
                lost,
            });
        }
        self.cross_check(&edges[first..]);
        Ok(words == self.buffer.len())
    }

    /// The request's own numbers count interrupts, the lines' numbers count edges: where there were more of the
    /// former, interrupts were merged. That cannot be told of a line, so it is only logged.
    fn cross_check(&mut self, edges: &[RawEdge]) {
        let Some(newest) = edges.iter().filter_map(|edge| edge.seqno).map(|(request, _)| request).max() else { return };
        let told: u64 = edges.iter().map(|edge| 1 + u64::from(edge.lost)).sum();
        let interrupts = u64::from(newest.wrapping_sub(self.last));
        if self.lines.len() > 1 && self.last < newest && interrupts > told {
            log::debug!("{} interrupts of {} became {told} edges", interrupts, self.request.chip_path().display());
        }
        self.last = self.last.max(newest);
    }
}
