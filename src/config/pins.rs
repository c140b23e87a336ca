//! `[gpio]`: from lines as written to lines as meant, names resolved, interlocks known on both sides.

use std::time::Duration;

use super::load::{Written, set_count};
use super::source::{ConfigError, Source, dotted};
use super::{Backend, Config, Gpio, Initial, Line, Mode, Safe, SysfsBias};
use super::{pin_rules, raw, validate};
use crate::types::line::{Bias, Edge, Level, Pin};

/// `on_disconnect = "safe"` without a time: long enough for a client that reconnects at once.
const GRACE: Duration = Duration::from_secs(2);

/// Stands for every line in `allow` and `deny`.
const ALL: &str = "*";

/// # Errors
/// A line or a name that cannot be, or settings that contradict each other.
pub(super) fn gpio(config: &mut Config, written: &Written<'_>) -> Result<(), ConfigError> {
    let Written { flags, file, source, .. } = *written;
    let Config { gpio, warnings, .. } = config;
    let file = &file.gpio;
    if let Some(backend) = flags.gpio.or_else(|| file.backend.map(Backend::from)) {
        gpio.backend = backend;
    }
    gpio.chip = file.chip.clone().filter(|chip| !chip.is_empty());
    set_count(&mut gpio.edge_events, file.edge_events);
    set_count(&mut gpio.software_pwm_limit, file.software_pwm_limit);
    if let Some(bias) = file.sysfs_bias {
        gpio.sysfs_bias = bias.into();
    }
    for (name, entry) in &file.pins {
        let key = dotted("gpio.pins", name);
        let pin = entry.pin.0;
        validate::line_name(name, pin).map_err(|why| ConfigError::new(source.at(&key), why))?;
        if let Some((other, _)) = gpio.line(pin) {
            let other = dotted("gpio.pins", other);
            let message = format!("{pin} already has the name {other}, keep one of {other} and {key}");
            return Err(ConfigError::new(source.at(&format!("{key}.pin")), message));
        }
        let line = line(entry);
        pin_rules::alone(&line, entry, gpio, &key, source)?;
        gpio.lines.insert(name.clone(), line);
    }
    interlocks(gpio, file, source)?;
    touchable(gpio, file, source, warnings)
}

/// Levels can only be kept where there is a directory for them.
///
/// # Errors
/// Names the first line whose level would not be kept.
pub(super) fn keep(config: &Config, source: &Source) -> Result<(), ConfigError> {
    match config.gpio.lines.iter().find(|(_, line)| line.persist) {
        Some((name, _)) if config.state_dir.is_none() => {
            let place = source.at(&format!("{}.persist", dotted("gpio.pins", name)));
            validate::refuse(place, "needs a directory to keep the level in, set state_dir or give --state-dir DIR")
        }
        _ => Ok(()),
    }
}

/// One line without its interlock, which needs all the others.
fn line(entry: &raw::GpioPin) -> Line {
    let plain = Line::plain(entry.pin.0);
    Line {
        pin: plain.pin,
        mode: entry.mode.map(Mode::from),
        bias: entry.bias.and_then(raw::Bias::resistor),
        active_low: entry.active_low.unwrap_or(plain.active_low),
        debounce: period(entry.debounce).unwrap_or(plain.debounce),
        edge: entry.edge.map_or(plain.edge, Edge::from),
        initial: entry.initial.map_or(plain.initial, Initial::from),
        safe: entry.safe.map_or(plain.safe, Safe::from),
        on_disconnect: match entry.on_disconnect {
            None => plain.on_disconnect,
            Some(raw::OnDisconnect::Hold) => None,
            Some(raw::OnDisconnect::Safe(grace)) => Some(grace.unwrap_or(GRACE)),
        },
        max_on: period(entry.max_on),
        min_off: period(entry.min_off).unwrap_or(plain.min_off),
        interlock: plain.interlock,
        persist: entry.persist.unwrap_or(plain.persist),
        frequency: entry.frequency.map_or(plain.frequency, |count| count.0),
        duty: entry.duty.map_or(plain.duty, |fraction| fraction.0),
    }
}

/// A period that may be left empty for "none".
pub(super) fn period(written: Option<raw::OrEmpty<raw::Period>>) -> Option<Duration> {
    Some(written?.0?.0)
}

/// Tells each line of an interlock of the other, and checks the two together.
fn interlocks(gpio: &mut Gpio, file: &raw::Gpio, source: &Source) -> Result<(), ConfigError> {
    for (name, entry) in &file.pins {
        let own = entry.pin.0;
        let key = format!("{}.interlock", dotted("gpio.pins", name));
        for written in entry.interlock.iter().flatten() {
            let other = resolve(written, gpio).map_err(|why| ConfigError::new(source.at(&key), why))?;
            if other == own {
                let message = format!("names {own}, which is the line itself, name the others");
                return Err(ConfigError::new(source.at(&key), message));
            }
            if gpio.line(other).is_none() {
                gpio.lines.insert(other.to_string(), Line::plain(other));
            }
            pin_rules::together(own, other, gpio, &key, source)?;
            lock(gpio, own, other);
            lock(gpio, other, own);
        }
    }
    Ok(())
}

fn lock(gpio: &mut Gpio, pin: Pin, other: Pin) {
    if let Some(line) = gpio.lines.values_mut().find(|line| line.pin == pin) {
        line.interlock.push(other);
        line.interlock.sort_unstable();
        line.interlock.dedup();
    }
}

/// What clients may touch. `deny` wins; who named a line in both is told so.
fn touchable(
    gpio: &mut Gpio,
    file: &raw::Gpio,
    source: &Source,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    if let Some(written) = &file.allow {
        gpio.allow = some_or_all(written, "gpio.allow", gpio, source)?;
    }
    if let Some(written) = &file.deny {
        let denied = some_or_all(written, "gpio.deny", gpio, source)?;
        gpio.deny = denied.unwrap_or_else(|| Pin::ALL.to_vec());
    }
    let both: Vec<String> =
        gpio.allow.iter().flatten().filter(|pin| gpio.deny.contains(pin)).map(Pin::to_string).collect();
    if !both.is_empty() {
        let denied = if file.deny.is_some() { source.at("gpio.deny") } else { "the default of gpio.deny".into() };
        warnings.push(format!(
            "{}: {denied} has {} as well and wins, so clients may not touch what is in both",
            source.at("gpio.allow"),
            both.join(", ")
        ));
    }
    Ok(())
}

/// Sorted, each once; `None` for all lines.
fn some_or_all(
    written: &[raw::LineOrName],
    key: &str,
    gpio: &Gpio,
    source: &Source,
) -> Result<Option<Vec<Pin>>, ConfigError> {
    if written.iter().any(|one| matches!(one, raw::LineOrName::Name(name) if name == ALL)) {
        return Ok(None);
    }
    let pins = written.iter().map(|one| resolve(one, gpio)).collect::<Result<Vec<_>, _>>();
    let mut pins = pins.map_err(|why| ConfigError::new(source.at(key), why))?;
    pins.sort_unstable();
    pins.dedup();
    Ok(Some(pins))
}

fn resolve(written: &raw::LineOrName, gpio: &Gpio) -> Result<Pin, String> {
    match written {
        raw::LineOrName::Line(pin) => Ok(*pin),
        raw::LineOrName::Name(name) => gpio.lines.get(name).map(|line| line.pin).ok_or_else(|| {
            format!("{name:?} is neither a line such as 17, \"GPIO17\" or \"pin11\" nor a name below gpio.pins")
        }),
    }
}

impl From<raw::Backend> for Backend {
    fn from(written: raw::Backend) -> Backend {
        match written {
            raw::Backend::Auto => Backend::Auto,
            raw::Backend::Cdev => Backend::Cdev,
            raw::Backend::Sysfs => Backend::Sysfs,
            raw::Backend::Sim => Backend::Sim,
        }
    }
}

impl From<raw::SysfsBias> for SysfsBias {
    fn from(written: raw::SysfsBias) -> SysfsBias {
        match written {
            raw::SysfsBias::Refuse => SysfsBias::Refuse,
            raw::SysfsBias::Cdev => SysfsBias::Cdev,
            raw::SysfsBias::Pinctrl => SysfsBias::Pinctrl,
        }
    }
}

impl From<raw::Mode> for Mode {
    fn from(written: raw::Mode) -> Mode {
        match written {
            raw::Mode::Input => Mode::Input,
            raw::Mode::Output => Mode::Output,
            raw::Mode::Pwm => Mode::Pwm,
        }
    }
}

impl raw::Bias {
    fn resistor(self) -> Option<Bias> {
        match self {
            raw::Bias::Up => Some(Bias::Up),
            raw::Bias::Down => Some(Bias::Down),
            raw::Bias::Off => Some(Bias::Floating),
            raw::Bias::AsIs => None,
        }
    }
}

impl From<raw::Edge> for Edge {
    fn from(written: raw::Edge) -> Edge {
        match written {
            raw::Edge::None => Edge::None,
            raw::Edge::Rising => Edge::Rising,
            raw::Edge::Falling => Edge::Falling,
            raw::Edge::Both => Edge::Both,
        }
    }
}

impl From<raw::Initial> for Initial {
    fn from(written: raw::Initial) -> Initial {
        match written {
            raw::Initial::Low => Initial::Level(Level::Low),
            raw::Initial::High => Initial::Level(Level::High),
            raw::Initial::AsIs => Initial::AsIs,
        }
    }
}

impl From<raw::Safe> for Safe {
    fn from(written: raw::Safe) -> Safe {
        match written {
            raw::Safe::Low => Safe::Level(Level::Low),
            raw::Safe::High => Safe::Level(Level::High),
            raw::Safe::Input => Safe::Input,
            raw::Safe::Hold => Safe::Hold,
        }
    }
}
