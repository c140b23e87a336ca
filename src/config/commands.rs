//! `[commands]`: what a hub may have this machine run. Nothing, unless this file says so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::pattern::Pattern;

/// What may be run, as whom, and within which limits.
#[derive(Clone, Debug)]
pub struct Commands {
    /// By their names.
    pub templates: BTreeMap<String, Template>,
    /// Whether a text that names no template is handed to `/bin/sh -c`.
    pub shell: bool,
    /// Whom commands run as, by name or number; `None` for whoever runs the daemon.
    pub user: Option<String>,
    /// Whether that may be root.
    pub allow_root: bool,
    /// Whether a command runs though nobody can write down that it does.
    pub without_audit: bool,
    /// Where they run.
    pub directory: PathBuf,
    /// The longest a command may take, also where a hub gives it more.
    pub timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill_after: Duration,
    /// The most that is kept of a command's output, in bytes.
    pub output_bytes: usize,
    /// Commands at a time.
    pub max_running: usize,
    /// Commands that may wait for their turn; what comes beyond is refused.
    pub queue: usize,
    pub limits: Limits,
}

/// What the kernel lets a command use; `None` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processes and threads of its user, others than this command's too. The kernel does not hold root to it.
    pub processes: Option<u64>,
    /// Address space of one process, in bytes.
    pub memory_bytes: Option<u64>,
    /// The largest file it may write.
    pub file_bytes: Option<u64>,
    /// Processor time of one process.
    pub cpu_time: Option<Duration>,
}

impl Commands {
    /// Whether anything may be run at all.
    pub fn enabled(&self) -> bool {
        self.shell || !self.templates.is_empty()
    }
}

impl Default for Commands {
    fn default() -> Commands {
        Commands {
            templates: BTreeMap::new(),
            shell: false,
            user: None,
            allow_root: false,
            without_audit: false,
            directory: PathBuf::from("/"),
            timeout: Duration::from_secs(30),
            kill_after: Duration::from_secs(2),
            output_bytes: 256 * 1024,
            max_running: 2,
            queue: 8,
            limits: Limits {
                processes: Some(64),
                memory_bytes: Some(1024 * 1024 * 1024),
                file_bytes: Some(64 * 1024 * 1024),
                cpu_time: Some(Duration::from_secs(60)),
            },
        }
    }
}

/// A command with holes.
#[derive(Clone, Debug)]
pub struct Template {
    /// The program, an absolute path, and its arguments.
    pub argv: Vec<Word>,
    pub params: BTreeMap<String, Param>,
    /// Instead of [`Commands::timeout`].
    pub timeout: Option<Duration>,
    /// Instead of [`Commands::user`].
    pub user: Option<String>,
}

/// One word of a command, which stays one whatever is put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// Where the value of the parameter of this name goes.
    Param(String),
}

/// What may be put into a hole.
#[derive(Clone, Debug)]
pub struct Param {
    pub kind: Kind,
    /// In bytes.
    pub max_length: usize,
    /// Whether a value may begin with `-`, and so look like an option.
    pub leading_dash: bool,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// Letters, digits and `_ . @ : + -` of ASCII.
    Word,
    Int {
        min: i64,
        max: i64,
    },
    /// One of these.
    Enum(Vec<String>),
    /// The whole value is what this says.
    Pattern {
        written: String,
        regex: Pattern,
    },
}

impl Param {
    /// Whether `value` may be put in.
    ///
    /// # Errors
    /// What it should be.
    pub fn check(&self, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Err("must not be empty".into());
        }
        if value.len() > self.max_length {
            return Err(format!("has {} bytes, at most {} are allowed", value.len(), self.max_length));
        }
        if value.contains('\0') {
            return Err("must not have a NUL in it".into());
        }
        if value.starts_with('-') && !self.leading_dash {
            return Err("must not begin with '-'".into());
        }
        match &self.kind {
            Kind::Word if value.bytes().all(is_word) => Ok(()),
            Kind::Word => Err("must be a word of ASCII letters, digits and _ . @ : + -".into()),
            Kind::Int { min, max } => match value.parse::<i64>() {
                // Also "+5" and "007" parse, which programs read in ways of their own.
                Ok(number) if (*min..=*max).contains(&number) && number.to_string() == value => Ok(()),
                _ => Err(format!("must be a whole number from {min} to {max}")),
            },
            Kind::Enum(values) if values.iter().any(|one| one == value) => Ok(()),
            Kind::Enum(values) => Err(format!("must be one of {}", values.join(", "))),
            Kind::Pattern { regex, .. } if regex.is_match(value) => Ok(()),
            Kind::Pattern { written, .. } => Err(format!("must be as {written:?} says")),
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'@' | b':' | b'+' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(kind: Kind) -> Param {
        Param { kind, max_length: 16, leading_dash: false }
    }

    #[test]
    fn values_are_what_their_kind_says_and_never_options() {
        let word = param(Kind::Word);
        for good in ["nginx.service", "user@1000", "a:b+c-d", "9"] {
            assert_eq!(word.check(good), Ok(()), "{good}");
        }
        for bad in ["", "-x", "--help", "a b", "a/b", "ä", "a\nb", "a;b", "$HOME", "12345678901234567", "a\0"] {
            assert!(word.check(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Param { leading_dash: true, ..word }.check("-x"), Ok(()));

        let int = param(Kind::Int { min: 1, max: 20 });
        assert!(["1", "20"].iter().all(|good| int.check(good).is_ok()));
        assert!(["0", "21", "-1", "+5", "05", "1.0", "9999999999999999", ""].iter().all(|bad| int.check(bad).is_err()));

        let one = param(Kind::Enum(vec!["on".into(), "off".into()]));
        assert!(one.check("on").is_ok() && one.check("ON").is_err() && one.check("onoff").is_err());
    }
}
