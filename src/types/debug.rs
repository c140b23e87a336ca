//! What only a daemon started with `--debug-actions` does.

/// A thread that shall panic or hang, so that a test can see what the daemon makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The thread of the session that asks.
    Connection,
    GpioIn,
    GpioOut,
    Hub,
    /// The main thread, in the next reload and with the lines locked.
    Reload,
    Store,
}

impl Victim {
    pub fn as_str(self) -> &'static str {
        match self {
            Victim::Connection => "connection",
            Victim::GpioIn => "gpio-in",
            Victim::GpioOut => "gpio-out",
            Victim::Hub => "hub",
            Victim::Reload => "reload",
            Victim::Store => "store",
        }
    }

    /// One that can panic, by the name that requests give the thread.
    pub fn to_panic(name: &str) -> Option<Victim> {
        let all = [Victim::Connection, Victim::GpioIn, Victim::GpioOut, Victim::Hub, Victim::Reload];
        all.into_iter().find(|victim| victim.as_str() == name)
    }

    /// One that can hang.
    pub fn to_hang(name: &str) -> Option<Victim> {
        let all = [Victim::GpioIn, Victim::GpioOut, Victim::Hub, Victim::Store];
        all.into_iter().find(|victim| victim.as_str() == name)
    }
}
