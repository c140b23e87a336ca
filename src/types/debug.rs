//! What only a daemon started with `--debug-actions` does.

/// A thread that shall panic, so that a test can see what the daemon makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The thread of the session that asks.
    Connection,
    GpioIn,
    GpioOut,
    Hub,
}

impl Victim {
    /// By the name that requests give the thread.
    pub fn parse(name: &str) -> Option<Victim> {
        Some(match name {
            "connection" => Victim::Connection,
            "gpio-in" => Victim::GpioIn,
            "gpio-out" => Victim::GpioOut,
            "hub" => Victim::Hub,
            _ => return None,
        })
    }
}
