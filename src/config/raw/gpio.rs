//! `[gpio]` and its lines as written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::values::{Count, Fraction, Line, LineOrName, OnDisconnect, OrEmpty, Period};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
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

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Backend {
    Auto,
    Cdev,
    Sysfs,
    Sim,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum SysfsBias {
    Refuse,
    Cdev,
    Pinctrl,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { pin = 17 }")]
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

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Mode {
    Input,
    Output,
    Pwm,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Bias {
    Up,
    Down,
    /// Endrpi's clients call it floating.
    #[serde(alias = "floating")]
    Off,
    AsIs,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Edge {
    None,
    Rising,
    Falling,
    Both,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Initial {
    Low,
    High,
    AsIs,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Safe {
    Low,
    High,
    Input,
    Hold,
}
