//! The seam between the daemon and whatever holds the lines: the character device, sysfs, or a simulation.
//!
//! A backend takes lines as it is told, says what they are without taking them, and reports edges to a
//! [`Watcher`]. Who may do what, safe states, leases and rate limits are not its business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::types::event::LineChange;
use crate::types::line::{Bias, Edge, Level, LineState, Pin};
use crate::types::rights::Lacks;

/// What every backend can do. One caller at a time; no call may wait for anything but the line itself.
pub trait Lines: Send {
    /// The backend's name in the configuration.
    fn name(&self) -> &'static str;

    /// Whether the lines exist in memory only.
    fn simulated(&self) -> bool;

    /// What a line is now. Looking never changes it and never takes it. A held line is read, whoever else holds a
    /// line is named.
    ///
    /// # Errors
    /// [`GpioError::Unsupported`] where the board has no such line.
    fn inspect(&mut self, pin: Pin) -> Result<LineState, GpioError>;

    /// Takes the lines that are not held yet and makes every one what is said, or changes none of them: in one
    /// kernel call where all are held together, or none is held. Holding a line again as it is held already does
    /// nothing to it; where only its level differs, only that is set, without a glitch. The caller names no line
    /// twice.
    ///
    /// # Errors
    /// Why the first line that stands in the way cannot be had.
    fn hold(&mut self, lines: &[(Pin, Hold)]) -> Result<(), GpioError>;

    /// Lets lines go; what they are then is the kernel's decision. Lines that are not held are no error.
    fn release(&mut self, pins: &[Pin]);

    /// Drives an input from outside, as a button would.
    ///
    /// # Errors
    /// [`GpioError::NotSimulated`] from every backend whose lines are real, [`GpioError::SimulatedOutput`] where
    /// the daemon itself drives the line.
    fn simulate(&mut self, pin: Pin, _level: Level) -> Result<(), GpioError> {
        Err(GpioError::NotSimulated { pin, backend: self.name() })
    }

    /// Whether a change of an input's level is reported to the watcher: then a write that changes it by the way
    /// (by its bias) must not be reported a second time.
    fn reports_edges(&self, pin: Pin) -> bool;

    /// Whether it goes on watching while an input is held in another way: if not, nobody else sees what its level
    /// does by that.
    fn watches_through(&self, _from: &Hold, _to: &Hold) -> bool {
        true
    }

    /// Whether it debounces by itself; if not, the watcher has to.
    fn debounces(&self) -> bool;

    /// Starts the thread that waits for edges.
    ///
    /// # Errors
    /// The system's refusal to give a thread or a descriptor.
    fn watch(&mut self, watcher: Arc<dyn Watcher>) -> std::io::Result<()>;

    /// Wakes that thread, which then tells the watcher that it has come round; `None` where there is no such thread.
    fn bell(&self) -> Option<Bell> {
        None
    }

    /// Ends that thread, within `limit`. Held lines stay held.
    fn stop(&mut self, limit: Duration);
}

/// Wakes a thread, and never waits.
pub type Bell = Box<dyn Fn() + Send + Sync>;

/// A holder whose name the kernel does not say.
pub const NAMELESS: &str = "kernel";

/// How a line is held. Levels are after `active_low`: high is "on".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub active_low: bool,
    /// `None` leaves it as it is.
    pub bias: Option<Bias>,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Input {
        edge: Edge,
        debounce: Duration,
    },
    Output {
        level: Level,
    },
    /// An output with the level the line has: an output's own, or what an input reads.
    OutputAsIs,
}

/// Who is told of what the lines do. Called by the backend's own thread, never with the lines locked.
pub trait Watcher: Send + Sync {
    /// Edges in the order in which the kernel numbered them.
    fn edges(&self, edges: &[RawEdge]);

    /// Another process took, released or reconfigured a line.
    fn line_changed(&self, pin: Pin, change: LineChange);

    /// The chip is gone, and with it every held line.
    fn chip_lost(&self, why: &str);

    /// The chip is there again; no line is held.
    fn chip_returned(&self);

    /// When [`Watcher::tick`] wants to be called at the latest, if nothing happens before.
    fn next_tick(&self) -> Option<Instant>;

    fn tick(&self, now: Instant);

    /// The thread has done what there was to do and waits again next.
    fn came_round(&self) {}
}

/// One edge as the kernel reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawEdge {
    pub pin: Pin,
    /// The level after it, and after `active_low`.
    pub level: Level,
    /// CLOCK_MONOTONIC at the edge, in nanoseconds.
    pub monotonic_ns: u64,
    /// The kernel's numbers, within the request and within the line.
    pub seqno: Option<(u32, u32)>,
    /// Edges of this line that are known to have been lost just before this one.
    pub lost: u32,
}

/// Why a line could not be read or set. The texts reach Endrpi clients as they are and start as Endrpi's do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpioError {
    /// The configured backend cannot be used here.
    #[error("Failed to start GPIO backend `{backend}`: {why}")]
    NoBackend { backend: &'static str, why: String },
    /// The board lacks the line.
    #[error("Failed to read unsupported pin `{pin}`")]
    Unsupported { pin: Pin },
    /// GPIO2 and GPIO3 carry the I²C bus's resistors.
    #[error("Failed to update pin `{pin}`: its pull-up is fixed on the board; use pull \"UP\" or another pin")]
    FixedPullUp { pin: Pin },
    /// One update wants a line to be two things.
    #[error("Failed to update pin `{pin}`: it has two different settings in one update; name it once")]
    Conflict { pin: Pin },
    /// A simulated input needs an input.
    #[error("Failed to simulate an input on pin `{pin}`: it is an output; set its io to \"INPUT\" first")]
    SimulatedOutput { pin: Pin },
    /// A simulated input needs the simulation.
    #[error(
        "Failed to simulate an input on pin `{pin}`: backend `{backend}` drives real pins; \
         set gpio.backend to \"sim\" to simulate"
    )]
    NotSimulated { pin: Pin, backend: &'static str },
    /// The configuration keeps clients away from the line.
    #[error("Failed to update pin `{pin}`: clients may not touch it; gpio.allow and gpio.deny decide that")]
    Denied { pin: Pin },
    /// The caller's key does not allow it.
    #[error(transparent)]
    Lacks(#[from] Lacks),
    /// Somebody else holds the line: the kernel, or another process.
    #[error("Failed to update pin `{pin}`: line {} is held by '{consumer}'; end that first", pin.number())]
    Held { pin: Pin, consumer: String },
    /// Another client's lease covers the line.
    #[error("Failed to update pin `{pin}`: conflict: leased by {holder} for {left} more; wait, or ask it to let go")]
    Leased { pin: Pin, holder: String, left: String },
    /// The output's own rules forbid it now (interlock, minimum off-time).
    #[error("Failed to update pin `{pin}`: {why}")]
    Rule { pin: Pin, why: String },
    /// What was asked cannot be done with this line or backend.
    #[error("Failed to update pin `{pin}`: {why}")]
    Refused { pin: Pin, why: String },
    /// No such lease or sequence (any more).
    #[error("There is no {what} '{id}': it has ended, or it never was")]
    NoSuch { what: &'static str, id: String },
    /// A parameter is out of its range.
    #[error("Received message with invalid '{field}' field: {why}")]
    Invalid { field: &'static str, why: String },
    /// The daemon is on its way down, and the lines are safe.
    #[error("Failed to update pin `{pin}`: the daemon is shutting down")]
    ShuttingDown { pin: Pin },
    /// The chip has gone away.
    #[error("Failed to reach pin `{pin}`: the GPIO chip is gone ({why}); the daemon looks for it every second")]
    ChipGone { pin: Pin, why: String },
    /// The kernel said no.
    #[error("Failed to {doing} pin `{pin}`: {why}")]
    System { pin: Pin, doing: &'static str, why: String },
}

impl GpioError {
    /// Whether the request was wrong or came at the wrong moment, rather than the line failing.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            GpioError::NoBackend { .. }
                | GpioError::Unsupported { .. }
                | GpioError::ChipGone { .. }
                | GpioError::System { .. }
        )
    }
}
