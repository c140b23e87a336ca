//! Telemetry readings: values with their unit in the field's name, or the reason why there is none.

/// Why there is no value. The texts are part of Endrpi's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No source could be asked; the word says for what, e.g. `system uptime`.
    Query(&'static str),
    /// A source answered, and the answer made no sense.
    Parse(&'static str),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Missing::Query(what) => write!(f, "Failed to query {what}"),
            Missing::Parse(what) => write!(f, "Failed to parse {what} query"),
        }
    }
}

/// A reading, or why there is none.
pub type Reading<T> = Result<T, Missing>;

/// Temperature of the system on chip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    pub celsius: f64,
}

/// The firmware's throttling flags (`vcgencmd get_throttled`): bits 0–3 now, 16–19 since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    pub bits: u32,
}

/// Time since boot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uptime {
    pub seconds: f64,
}

/// Clock rates, measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frequency {
    pub arm_hertz: f64,
    pub core_hertz: f64,
}

/// Memory, in the kernel's KiB (which it labels kB).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub total_kib: u64,
    pub free_kib: u64,
    pub available_kib: u64,
}

/// What machine this is (uname's words).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    pub machine: String,
    pub network_name: String,
    pub os_name: String,
    pub os_release: String,
    pub os_version: String,
    /// The board's name from the device tree, where there is one.
    pub model: Option<String>,
}
