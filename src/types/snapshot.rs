//! How everything is at one moment.

use std::time::SystemTime;

use super::fleet::Alert;
use super::line::LineState;
use super::position::Position;
use super::reading::{Frequency, Memory, Temperature, Throttle, Uptime};

/// Events behind `position` tell what changes; some of that may be in it already.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub position: Position,
    pub at: SystemTime,
    /// Those the client may read, by their names.
    pub pins: Vec<(String, LineState)>,
    /// What cannot be read is missing.
    pub temperature: Option<Temperature>,
    pub throttle: Option<Throttle>,
    pub uptime: Option<Uptime>,
    pub frequency: Option<Frequency>,
    pub memory: Option<Memory>,
    /// Those that are not resolved; missing for a client that may not hear of alerts.
    pub alerts: Option<Vec<Alert>>,
}
