//! The lines a daemon has in use, as a file of their own: for `pinwire safe`, which may find the configuration changed
//! or broken after the daemon was killed.
//!
//! It stands in the service manager's runtime directory, which is memory and ends with the service, and has the form of
//! a configuration. Only what leads to a safe state is in it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::load::load_lines;
use super::settings::Shown;
use super::source::dotted;
use super::{Config, ConfigError, Flags, Mode};

/// The file's name in the runtime directory.
const FILE: &str = "lines.toml";

/// Where the file is, by the environment of the service manager (systemd.exec(5)): it may name several directories.
pub fn lines_file(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let directories = env("RUNTIME_DIRECTORY")?;
    let first = directories.split(':').next().filter(|first| !first.is_empty())?;
    Some(Path::new(first).join(FILE))
}

/// What the file says of this configuration.
pub fn lines_in_use(config: &Config) -> String {
    let mut text = String::from("# The lines the daemon has in use, for `pinwire safe`. Written by the daemon.\n");
    // Writing to a text cannot fail.
    let root = quoted(&config.root.to_string_lossy());
    let _ = writeln!(text, "root = {root}\n[gpio]\nbackend = {}", config.gpio.backend.shown());
    if let Some(chip) = &config.gpio.chip {
        let _ = writeln!(text, "chip = {}", quoted(chip));
    }
    for (name, line) in &config.gpio.lines {
        let Some(mode @ (Mode::Output | Mode::Pwm)) = line.mode else { continue };
        let (table, pin, safe) = (dotted("gpio.pins", name), line.pin, line.safe.as_str());
        let _ = writeln!(text, "[{table}]\npin = \"{pin}\"\nmode = \"{}\"\nsafe = \"{safe}\"", mode.as_str());
        if line.active_low {
            text.push_str("active_low = true\n");
        }
        if let Some(bias) = line.bias.filter(|_| mode == Mode::Output) {
            let _ = writeln!(text, "bias = {}", bias.shown());
        }
        if mode == Mode::Pwm {
            let _ = writeln!(text, "frequency = {}", line.frequency);
        }
    }
    text
}

/// The configuration for `pinwire safe`: of the daemon that was here, if it has left word of its lines; else as
/// written.
///
/// # Errors
/// As [`load_lines`].
pub fn load_safe(flags: &Flags, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let Some(file) = lines_file(env).filter(|file| file.exists()) else { return load_lines(flags) };
    match load_lines(&Flags { config: Some(file), ..Flags::default() }) {
        Ok(config) => Ok(config),
        Err(error) => {
            let mut config = load_lines(flags)?;
            config.warnings.push(format!("{error}; going by the configuration as it is now"));
            Ok(config)
        }
    }
}

/// A text as TOML has it; [`Shown`] writes for people, and escapes what it cannot show in its own way.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
