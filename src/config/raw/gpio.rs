//! `[gpio]` and its lines as written.

use std::collections::BTreeMap;

use super::tables::{table, words};
use super::values::{Count, Fraction, Line, LineOrName, OnDisconnect, OrEmpty, Period};

table! {
    pub(in crate::config) struct Gpio {
        pub backend: Option<Backend>,
        pub chip: Option<String>,
        pub allow: Option<Vec<LineOrName>>,
        pub deny: Option<Vec<LineOrName>>,
        pub edge_events: Option<Count>,
        pub sysfs_bias: Option<SysfsBias>,
        pub software_pwm_limit: Option<Count>,
        pub pins: BTreeMap<String, GpioPin>,
    }
}

words! {
    pub(in crate::config) enum Backend {
        Auto = "auto",
        Cdev = "cdev",
        Sysfs = "sysfs",
        Sim = "sim",
    }
}

words! {
    pub(in crate::config) enum SysfsBias {
        Refuse = "refuse",
        Cdev = "cdev",
        Pinctrl = "pinctrl",
    }
}

table! {
    #[like("a table such as { pin = 17 }")]
    pub(in crate::config) struct GpioPin {
        pub pin: Line,
        pub mode: Option<Mode>,
        pub bias: Option<Bias>,
        pub active_low: Option<bool>,
        pub debounce: Option<OrEmpty<Period>>,
        pub edge: Option<Edge>,
        pub initial: Option<Initial>,
        pub safe: Option<Safe>,
        pub on_disconnect: Option<OnDisconnect>,
        pub max_on: Option<OrEmpty<Period>>,
        pub min_off: Option<OrEmpty<Period>>,
        pub interlock: Option<Vec<LineOrName>>,
        pub persist: Option<bool>,
        pub frequency: Option<Count>,
        pub duty: Option<Fraction>,
    }
}

words! {
    pub(in crate::config) enum Mode {
        Input = "input",
        Output = "output",
        Pwm = "pwm",
    }
}

words! {
    pub(in crate::config) enum Bias {
        Up = "up",
        Down = "down",
        /// Endrpi's clients call it floating.
        Off = "floating" | "off",
        AsIs = "as-is",
    }
}

words! {
    pub(in crate::config) enum Edge {
        None = "none",
        Rising = "rising",
        Falling = "falling",
        Both = "both",
    }
}

words! {
    pub(in crate::config) enum Initial {
        Low = "low",
        High = "high",
        AsIs = "as-is",
    }
}

words! {
    pub(in crate::config) enum Safe {
        Low = "low",
        High = "high",
        Input = "input",
        Hold = "hold",
    }
}
