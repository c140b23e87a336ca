//! Values as they would be written into the file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

use crate::config::{Backend, ErrorStyle, HubProtocol, Initial, Mode, Safe, SlowEvents, SysfsBias};
use crate::types::fingerprint::Fingerprint;
use crate::types::line::{Bias, Duty, Edge, Pin};
use crate::types::topic::Pattern;

/// What is not set is an empty text, as in the file.
pub trait Shown {
    fn shown(&self) -> String;
}

macro_rules! plainly {
    ($($kind:ty),*) => {$(
        impl Shown for $kind {
            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

plainly!(bool, usize, u64, f64);

impl Shown for str {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl Shown for String {
    fn shown(&self) -> String {
        self.as_str().shown()
    }
}

impl Shown for Path {
    fn shown(&self) -> String {
        self.to_string_lossy().shown()
    }
}

impl Shown for PathBuf {
    fn shown(&self) -> String {
        self.as_path().shown()
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        humantime::format_duration(*self).to_string().shown()
    }
}

impl Shown for SocketAddr {
    fn shown(&self) -> String {
        self.to_string().shown()
    }
}

impl Shown for LevelFilter {
    fn shown(&self) -> String {
        self.as_str().to_ascii_lowercase().shown()
    }
}

impl Shown for Fingerprint {
    fn shown(&self) -> String {
        self.to_string().shown()
    }
}

impl Shown for Pattern {
    fn shown(&self) -> String {
        self.as_str().shown()
    }
}

impl Shown for Pin {
    fn shown(&self) -> String {
        self.number().to_string()
    }
}

impl Shown for Duty {
    fn shown(&self) -> String {
        self.fraction().to_string()
    }
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or_else(|| "\"\"".to_owned(), Shown::shown)
    }
}

impl<T: Shown> Shown for [T] {
    fn shown(&self) -> String {
        format!("[{}]", self.iter().map(Shown::shown).collect::<Vec<_>>().join(", "))
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn shown(&self) -> String {
        self.as_slice().shown()
    }
}

impl Shown for Backend {
    fn shown(&self) -> String {
        match self {
            Backend::Auto => "auto",
            Backend::Cdev => "cdev",
            Backend::Sysfs => "sysfs",
            Backend::Sim => "sim",
        }
        .shown()
    }
}

impl Shown for SysfsBias {
    fn shown(&self) -> String {
        match self {
            SysfsBias::Refuse => "refuse",
            SysfsBias::Cdev => "cdev",
            SysfsBias::Pinctrl => "pinctrl",
        }
        .shown()
    }
}

impl Shown for ErrorStyle {
    fn shown(&self) -> String {
        match self {
            ErrorStyle::String => "string",
            ErrorStyle::Object => "object",
        }
        .shown()
    }
}

impl Shown for SlowEvents {
    fn shown(&self) -> String {
        match self {
            SlowEvents::Drop => "drop",
            SlowEvents::Cut => "cut",
        }
        .shown()
    }
}

impl Shown for HubProtocol {
    fn shown(&self) -> String {
        match self {
            HubProtocol::Pinwire => "pinwire",
            HubProtocol::Chatops => "chatops",
        }
        .shown()
    }
}

impl Shown for Mode {
    fn shown(&self) -> String {
        self.as_str().shown()
    }
}

impl Shown for Bias {
    fn shown(&self) -> String {
        match self {
            Bias::Up => "up",
            Bias::Down => "down",
            Bias::Floating => "off",
        }
        .shown()
    }
}

impl Shown for Edge {
    fn shown(&self) -> String {
        match self {
            Edge::None => "none",
            Edge::Rising => "rising",
            Edge::Falling => "falling",
            Edge::Both => "both",
        }
        .shown()
    }
}

impl Shown for Initial {
    fn shown(&self) -> String {
        match self {
            Initial::Level(level) => level.as_str(),
            Initial::AsIs => "as-is",
        }
        .shown()
    }
}

impl Shown for Safe {
    fn shown(&self) -> String {
        self.as_str().shown()
    }
}
