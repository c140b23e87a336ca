//! The seam between the daemon and whatever holds the lines: a simulation now, kernel interfaces later.

use crate::types::line::{Level, LineSetting, LineState, Pin};

/// What every backend can do. One caller at a time; no call may wait for anything but the line itself.
pub trait Lines: Send {
    /// The backend's name in the configuration.
    fn name(&self) -> &'static str;

    /// Whether the lines exist in memory only.
    fn simulated(&self) -> bool;

    /// What a line is now. Looking never changes it.
    ///
    /// # Errors
    /// [`GpioError::Unsupported`] where the board has no such line.
    fn inspect(&mut self, pin: Pin) -> Result<LineState, GpioError>;

    /// Makes every line what its setting says, or changes none of them. The caller has validated the settings
    /// and names no line twice.
    ///
    /// # Errors
    /// [`GpioError::Unsupported`] where the board has no such line.
    fn apply(&mut self, settings: &[(Pin, LineSetting)]) -> Result<(), GpioError>;

    /// Drives an input from outside, as a button would.
    ///
    /// # Errors
    /// [`GpioError::NotSimulated`] from every backend whose lines are real, [`GpioError::SimulatedOutput`] where
    /// the daemon itself drives the line.
    fn simulate(&mut self, pin: Pin, _level: Level) -> Result<(), GpioError> {
        Err(GpioError::NotSimulated { pin, backend: self.name() })
    }
}

/// Why a line could not be read or set. The texts reach Endrpi clients as they are and start as Endrpi's do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpioError {
    /// The configuration asks for a backend that this version does not have.
    #[error(
        "Failed to start GPIO backend `{backend}`: this version only has the simulated backend; \
         set gpio.backend to \"auto\" or \"sim\""
    )]
    NoSuchBackend { backend: &'static str },
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
}

impl GpioError {
    /// Whether the request was wrong, rather than the line.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            GpioError::FixedPullUp { .. }
                | GpioError::Conflict { .. }
                | GpioError::SimulatedOutput { .. }
                | GpioError::NotSimulated { .. }
        )
    }
}
