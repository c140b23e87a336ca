//! What is watched without a threshold, and whom alerts are told.

use std::time::Duration;

/// Alerts.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// Say when an agent has been offline for a while.
    pub offline: bool,
    /// How long that is, from its status `offline`.
    pub offline_after: Duration,
    /// Say when the firmware reports too little voltage.
    pub under_voltage: bool,
    /// Say when a disk is nearly full.
    pub disk: bool,
    /// From how many percent on that is a warning.
    pub disk_warning: f64,
    /// And from how many it is critical.
    pub disk_critical: f64,
    /// Say when the hub's own store works from memory.
    pub store: bool,
    /// Say when a machine's clock is not synchronised.
    pub clock: bool,
    /// How long it has to be so.
    pub clock_after: Duration,
}

impl Default for Alerts {
    fn default() -> Alerts {
        Alerts {
            offline: true,
            offline_after: Duration::from_secs(60),
            under_voltage: true,
            disk: true,
            disk_warning: 90.0,
            disk_critical: 97.0,
            store: true,
            clock: true,
            clock_after: Duration::from_secs(600),
        }
    }
}
