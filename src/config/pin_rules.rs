//! What one line's settings may say together, and two interlocked lines'. A setting that would silently mean nothing
//! is refused, because somebody relied on it.

use std::time::Duration;

use super::pins;
use super::source::{ConfigError, Source, dotted};
use super::validate::{LONGEST, SHORTEST, count, period, refuse};
use super::{Backend, Gpio, Initial, Line, Mode, Safe, SysfsBias, raw};
use crate::types::line::{Bias, Duty, Level, Pin};

/// Contacts bounce for milliseconds; the kernel counts in microseconds and would take up to 71 minutes.
const LONGEST_DEBOUNCE: Duration = Duration::from_secs(10);

/// In hertz; beyond it a hardware PWM has few steps left, and no fan or driver asks for more.
const FASTEST_PWM: usize = 40_000;

/// One line by itself. `key` is its table's.
///
/// # Errors
/// Names the setting, and the other one where two contradict each other.
pub(super) fn alone(
    line: &Line,
    entry: &raw::GpioPin,
    gpio: &Gpio,
    key: &str,
    source: &Source,
) -> Result<(), ConfigError> {
    bounds(line, entry, key, source)?;
    mode(line, entry, key, source)?;
    bias(line, gpio, key, source)?;
    safe(line, entry, key, source)?;
    frequency(line, gpio, key, source)
}

fn bounds(line: &Line, entry: &raw::GpioPin, key: &str, source: &Source) -> Result<(), ConfigError> {
    for (name, value, most) in [
        ("debounce", pins::period(entry.debounce), LONGEST_DEBOUNCE),
        ("on_disconnect", line.on_disconnect, LONGEST),
        ("max_on", line.max_on, LONGEST),
        ("min_off", pins::period(entry.min_off), LONGEST),
    ] {
        if let Some(value) = value {
            period(source, &format!("{key}.{name}"), value, SHORTEST..=most)?;
        }
    }
    count(source, &format!("{key}.frequency"), line.frequency, 1..=FASTEST_PWM)
}

/// Every setting belongs to some modes. A line without a mode may become an input or an output later, so it may have
/// the settings of both, but nothing that is about the start.
fn mode(line: &Line, entry: &raw::GpioPin, key: &str, source: &Source) -> Result<(), ConfigError> {
    const INPUT: Option<Mode> = Some(Mode::Input);
    const OUTPUT: Option<Mode> = Some(Mode::Output);
    const PWM: Option<Mode> = Some(Mode::Pwm);
    let rules: [(&str, bool, &[Option<Mode>], &str); 11] = [
        ("debounce", pins::period(entry.debounce).is_some(), &[None, INPUT], "is for inputs"),
        ("edge", entry.edge.is_some(), &[None, INPUT], "is for inputs"),
        ("initial", entry.initial.is_some(), &[OUTPUT], "is an output's first level"),
        ("safe", entry.safe.is_some(), &[None, OUTPUT, PWM], "is for outputs"),
        ("on_disconnect", entry.on_disconnect.is_some(), &[None, OUTPUT, PWM], "is for outputs"),
        ("max_on", line.max_on.is_some(), &[None, OUTPUT, PWM], "is for outputs"),
        ("min_off", pins::period(entry.min_off).is_some(), &[None, OUTPUT, PWM], "is for outputs"),
        ("interlock", entry.interlock.is_some(), &[None, OUTPUT, PWM], "is for outputs"),
        ("persist", line.persist, &[OUTPUT], "keeps an output's level"),
        ("frequency", entry.frequency.is_some(), &[PWM], "is for PWM"),
        ("duty", entry.duty.is_some(), &[PWM], "is for PWM"),
    ];
    for (name, written, modes, meaning) in rules {
        if written && !modes.contains(&line.mode) {
            let place = source.at(&format!("{key}.{name}"));
            let message = match (line.mode, modes) {
                (Some(mode), _) => {
                    format!("{meaning}, but {key}.mode is \"{}\", remove one of them", mode.as_str())
                }
                (None, [only, ..]) => {
                    let only = only.map_or("", Mode::as_str);
                    format!("{meaning}, but {key}.mode is not set, write mode = \"{only}\"")
                }
                (None, []) => meaning.to_owned(),
            };
            return refuse(place, message);
        }
    }
    Ok(())
}

fn bias(line: &Line, gpio: &Gpio, key: &str, source: &Source) -> Result<(), ConfigError> {
    let place = || source.at(&format!("{key}.bias"));
    let Some(bias) = line.bias else { return Ok(()) };
    let word = match bias {
        Bias::Up => "up",
        Bias::Down => "down",
        Bias::Floating => "off",
    };
    if line.pin.has_fixed_pull_up() {
        if bias == Bias::Up {
            return Ok(());
        }
        let message = format!(
            "is \"{word}\", but {key}.pin is {}, whose pull-up is a resistor on the board, write \"up\" or \"as-is\"",
            line.pin
        );
        return refuse(place(), message);
    }
    if gpio.backend == Backend::Sysfs && gpio.sysfs_bias == SysfsBias::Refuse {
        let message = format!(
            "is \"{word}\", but gpio.backend is \"sysfs\", which has no bias, and gpio.sysfs_bias is \"refuse\", \
             set it to \"cdev\" or \"pinctrl\""
        );
        return refuse(place(), message);
    }
    Ok(())
}

/// What ends in the safe state needs one that does it.
fn safe(line: &Line, entry: &raw::GpioPin, key: &str, source: &Source) -> Result<(), ConfigError> {
    let word = line.safe.as_str();
    if line.max_on.is_some() && matches!(line.safe, Safe::Level(Level::High) | Safe::Hold) {
        let message = format!(
            "ends in the safe state, but {key}.safe is \"{word}\", which can be on, write safe = \"low\" or \"input\""
        );
        return refuse(source.at(&format!("{key}.max_on")), message);
    }
    if matches!(entry.on_disconnect, Some(raw::OnDisconnect::Safe(_))) && line.safe == Safe::Hold {
        let message = format!(
            "leads to the safe state, but {key}.safe is \"{word}\", so nothing would happen, \
             write on_disconnect = \"hold\" or another safe state"
        );
        return refuse(source.at(&format!("{key}.on_disconnect")), message);
    }
    Ok(())
}

fn frequency(line: &Line, gpio: &Gpio, key: &str, source: &Source) -> Result<(), ConfigError> {
    let limit = gpio.software_pwm_limit;
    if line.mode == Some(Mode::Pwm) && line.frequency > limit && !line.pin.may_have_hardware_pwm() {
        let key = format!("{key}.frequency");
        let message = format!(
            "{key} ({}) is more than gpio.software_pwm_limit ({limit}), and {} has no hardware PWM on any board, \
             lower the first, raise the second, or use GPIO12, GPIO13, GPIO18 or GPIO19",
            line.frequency, line.pin
        );
        return refuse(source.at_any([&key, "gpio.software_pwm_limit"]), message);
    }
    Ok(())
}

/// Two interlocked lines, both in `gpio.lines`. `key` is the interlock that names the second.
///
/// # Errors
/// Names the settings by which both would be on, or one could never be.
pub(super) fn together(own: Pin, other: Pin, gpio: &Gpio, key: &str, source: &Source) -> Result<(), ConfigError> {
    let (Some((own_name, own)), Some((other_name, other))) = (gpio.line(own), gpio.line(other)) else { return Ok(()) };
    let [own_key, other_key] = [own_name, other_name].map(|name| dotted("gpio.pins", name));
    if other.mode == Some(Mode::Input) {
        let message = format!("names {other_name:?}, but {other_key}.mode is \"input\", only outputs can be on");
        return refuse(source.at(key), message);
    }
    if let (Some(first), Some(second)) = (on_at_start(own), on_at_start(other)) {
        let message = format!(
            "turns the line on from the start, and so does {other_key}.{second}, but {key} says that only one of \
             them may be on"
        );
        return refuse(source.at(&format!("{own_key}.{first}")), message);
    }
    for (line, line_key) in [(own, &own_key), (other, &other_key)] {
        if line.safe == Safe::Level(Level::High) {
            let message = format!(
                "is \"high\", but {key} says that only one of the lines may be on, and a safe state is driven whatever \
                 the other one is, write \"low\" or \"input\""
            );
            return refuse(source.at(&format!("{line_key}.safe")), message);
        }
    }
    Ok(())
}

/// The setting by which a line is on when the daemon has started.
fn on_at_start(line: &Line) -> Option<&'static str> {
    match line.mode {
        Some(Mode::Output) if line.initial == Initial::Level(Level::High) => Some("initial"),
        Some(Mode::Pwm) if line.duty > Duty::ZERO => Some("duty"),
        _ => None,
    }
}
