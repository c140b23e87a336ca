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
    pub fn as_str(self) -> &'static str {
        match self {
            Victim::Connection => "connection",
            Victim::GpioIn => "gpio-in",
            Victim::GpioOut => "gpio-out",
            Victim::Hub => "hub",
        }
    }

    /// By the name that requests give the thread.
    pub fn parse(name: &str) -> Option<Victim> {
        let all = [Victim::Connection, Victim::GpioIn, Victim::GpioOut, Victim::Hub];
        all.into_iter().find(|victim| victim.as_str() == name)
    }
}
