//! `[commands]`: from what was written to what it means; a template that cannot work is refused here.

use std::collections::BTreeSet;
use std::time::Duration;

use super::commands::{Commands, Kind, Param, Piece, Template, Word};
use super::load::{Written, set_count, set_period};
use super::pattern::Pattern;
use super::raw;
use super::source::{ConfigError, Source, dotted};
use super::validate::{self, SHORTEST};

/// A command that takes longer is a service.
const LONGEST: Duration = Duration::from_secs(3600);

/// What the hub takes of a command's output.
const MOST_OUTPUT_BYTES: usize = 1024 * 1024;

/// The longest value of a parameter, in bytes, unless its table says otherwise.
const MAX_LENGTH: usize = 128;

/// # Errors
/// A value out of bounds, or a template that contradicts itself.
pub(super) fn commands(commands: &mut Commands, written: &Written<'_>) -> Result<(), ConfigError> {
    let Written { file, source, .. } = *written;
    let file = &file.commands;
    commands.shell = file.shell.unwrap_or(commands.shell);
    commands.user = file.user.clone().filter(|user| !user.is_empty());
    commands.allow_root = file.allow_root.unwrap_or(commands.allow_root);
    commands.without_audit = file.without_audit.unwrap_or(commands.without_audit);
    if let Some(directory) = &file.directory {
        commands.directory.clone_from(directory);
    }
    set_period(&mut commands.timeout, file.timeout);
    set_period(&mut commands.kill_after, file.kill_after);
    set_count(&mut commands.output_bytes, file.output_bytes);
    set_count(&mut commands.max_running, file.max_running);
    set_count(&mut commands.queue, file.queue);
    let limits = &mut commands.limits;
    set_limit(&mut limits.processes, file.max_processes);
    set_limit(&mut limits.memory_bytes, file.max_memory_bytes);
    set_limit(&mut limits.file_bytes, file.max_file_bytes);
    if let Some(period) = file.max_cpu_time {
        limits.cpu_time = Some(period.0).filter(|time| !time.is_zero());
    }
    for (name, entry) in &file.templates {
        let key = dotted("commands.templates", name);
        let template = template(name, entry, &key, source)?;
        commands.templates.insert(name.clone(), template);
    }
    bounds(commands, source)
}

/// Zero is no limit.
fn set_limit(target: &mut Option<u64>, written: Option<raw::Count>) {
    if let Some(count) = written {
        *target = u64::try_from(count.0).ok().filter(|count| *count > 0);
    }
}

fn bounds(commands: &Commands, source: &Source) -> Result<(), ConfigError> {
    if !commands.directory.is_absolute() {
        return validate::refuse(source.at("commands.directory"), "must be an absolute path such as \"/\"");
    }
    user(&commands.user, "commands.user", source)?;
    validate::period(source, "commands.timeout", commands.timeout, SHORTEST..=LONGEST)?;
    validate::period(source, "commands.kill_after", commands.kill_after, SHORTEST..=Duration::from_secs(60))?;
    validate::count(source, "commands.output_bytes", commands.output_bytes, 1024..=MOST_OUTPUT_BYTES)?;
    validate::count(source, "commands.max_running", commands.max_running, 1..=8)?;
    validate::count(source, "commands.queue", commands.queue, 1..=64)?;
    match commands.limits.cpu_time {
        // The kernel counts whole seconds.
        Some(time) if time < Duration::from_secs(1) => {
            validate::refuse(source.at("commands.max_cpu_time"), "must be at least \"1s\", or \"0s\" for no limit")
        }
        _ => Ok(()),
    }
}

fn user(user: &Option<String>, key: &str, source: &Source) -> Result<(), ConfigError> {
    let is_name = |name: &str| {
        name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    };
    match user {
        Some(name) if !is_name(name) => {
            validate::refuse(source.at(key), "is no user's name, write it as /etc/passwd does, or its number")
        }
        _ => Ok(()),
    }
}

fn template(name: &str, entry: &raw::Template, key: &str, source: &Source) -> Result<Template, ConfigError> {
    let refuse = |inner: &str, why: String| {
        let path = if inner.is_empty() { key.to_owned() } else { format!("{key}.{inner}") };
        ConfigError::new(source.at(&path), why)
    };
    if !is_identifier(name) {
        let why = "is no name a command can begin with, write 1 to 64 of a-z, A-Z, 0-9, _, - and .".to_owned();
        return Err(refuse("", why));
    }
    let argv = entry.argv.iter().map(|word| pieces(word)).collect::<Result<Vec<_>, _>>();
    let argv = argv.map_err(|why| refuse("argv", why))?;
    match argv.first().map(|word| word.0.as_slice()) {
        Some([Piece::Text(program)]) if program.starts_with('/') => {}
        _ => {
            let why = "must begin with a program's absolute path, without a parameter in it".to_owned();
            return Err(refuse("argv", why));
        }
    }
    let used: BTreeSet<&String> = argv.iter().flat_map(|word| &word.0).filter_map(Piece::param).collect();
    let known: BTreeSet<&String> = entry.params.keys().collect();
    if let Some(missing) = used.difference(&known).next() {
        let why = format!("has {{{missing}}}, add params.{missing} that says what may be put there");
        return Err(refuse("argv", why));
    }
    if let Some(unused) = known.difference(&used).next() {
        return Err(refuse(
            &dotted("params", unused),
            format!("is not in argv, write {{{unused}}} there or remove it"),
        ));
    }
    let mut params = std::collections::BTreeMap::new();
    for (name, entry) in &entry.params {
        let path = dotted(&format!("{key}.params"), name);
        if !is_identifier(name) {
            return Err(ConfigError::new(
                source.at(&path),
                "is no parameter's name, write 1 to 64 of a-z, 0-9, _ and -",
            ));
        }
        params.insert(name.clone(), param(entry, &path, source)?);
    }
    let timeout = entry.timeout.map(|period| period.0);
    if let Some(timeout) = timeout {
        validate::period(source, &format!("{key}.timeout"), timeout, SHORTEST..=LONGEST)?;
    }
    let own = entry.user.clone().filter(|user| !user.is_empty());
    user(&own, &format!("{key}.user"), source)?;
    Ok(Template { argv, params, timeout, user: own })
}

fn is_identifier(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Takes a word apart; `{{` and `}}` stand for the braces themselves.
fn pieces(word: &str) -> Result<Word, String> {
    if word.contains('\0') {
        return Err("has a NUL in it, which no program can be given".into());
    }
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.peek() == Some(&c) => {
                chars.next();
                text.push(c);
            }
            '{' => {
                let mut name = String::new();
                loop {
                    match chars.next() {
                        Some('}') if !name.is_empty() => break,
                        Some(c) if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') => name.push(c),
                        _ => return Err(format!("{word:?} has a {{ that begins no parameter, write {{{{ for a brace")),
                    }
                }
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Param(name));
            }
            '}' => return Err(format!("{word:?} has a }} that ends no parameter, write }}}} for a brace")),
            c => text.push(c),
        }
    }
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(Word(pieces))
}

impl Piece {
    fn param(&self) -> Option<&String> {
        match self {
            Piece::Param(name) => Some(name),
            Piece::Text(_) => None,
        }
    }
}

fn param(entry: &raw::Param, key: &str, source: &Source) -> Result<Param, ConfigError> {
    let refuse = |inner: &str, why: String| ConfigError::new(source.at(&format!("{key}.{inner}")), why);
    let belongs = |inner: &str, kinds: &str| refuse(inner, format!("is only for kind = {kinds}, remove it"));
    let leading_dash = entry.leading_dash.unwrap_or(false);
    match entry.kind {
        raw::Kind::Enum => {}
        _ if entry.values.is_some() => return Err(belongs("values", "\"enum\"")),
        raw::Kind::Int => {}
        _ if entry.min.is_some() => return Err(belongs("min", "\"int\"")),
        _ if entry.max.is_some() => return Err(belongs("max", "\"int\"")),
        _ => {}
    }
    if entry.pattern.is_some() && !matches!(entry.kind, raw::Kind::Pattern) {
        return Err(belongs("pattern", "\"pattern\""));
    }
    let missing = |inner: &str, example: &str| {
        ConfigError::new(source.at(key), format!("needs {inner} for this kind, such as {inner} = {example}"))
    };
    let kind = match entry.kind {
        raw::Kind::Word => Kind::Word,
        raw::Kind::Int => {
            let (Some(min), Some(max)) = (entry.min, entry.max) else {
                return Err(missing(if entry.min.is_none() { "min" } else { "max" }, "0"));
            };
            if min > max {
                return Err(refuse("min", format!("is {min}, which is above max ({max})")));
            }
            if min < 0 && !leading_dash {
                let why = format!(
                    "is {min}, which begins with '-' as an option does: add leading_dash = true if that is safe"
                );
                return Err(refuse("min", why));
            }
            Kind::Int { min, max }
        }
        raw::Kind::Enum => {
            let values = entry.values.clone().unwrap_or_default();
            if values.is_empty() {
                return Err(missing("values", "[\"on\", \"off\"]"));
            }
            Kind::Enum(values)
        }
        raw::Kind::Pattern => {
            let Some(written) = entry.pattern.clone() else { return Err(missing("pattern", "\"[a-z]+\"")) };
            let regex = Pattern::new(&written).map_err(|why| refuse("pattern", why))?;
            Kind::Pattern { written, regex }
        }
    };
    let max_length = entry.max_length.map_or(MAX_LENGTH, |count| count.0);
    validate::count(source, &format!("{key}.max_length"), max_length, 1..=4096)?;
    let param = Param { kind, max_length, leading_dash };
    if let Kind::Enum(values) = &param.kind {
        for value in values {
            param.check(value).map_err(|why| refuse("values", format!("has {value:?}, which {why}")))?;
        }
    }
    Ok(param)
}
