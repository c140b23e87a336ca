//! From the text of a command to what is to be started, or why it may not be.

use std::collections::BTreeMap;
use std::time::Duration;

use super::words;
use crate::config::{Commands, Piece, Template};

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The program and its arguments; never empty.
    pub argv: Vec<String>,
    /// As configured; `None` for whoever runs the daemon.
    pub user: Option<String>,
    /// The longest it may take.
    pub timeout: Duration,
}

/// # Errors
/// Why nothing is started.
pub fn prepare(config: &Commands, text: &str) -> Result<Prepared, String> {
    if !config.enabled() {
        return Err("commands are not allowed on this machine: [commands] in its own configuration file".into());
    }
    // A text that only a shell understands need not have words.
    let words = words::split(text);
    let named = words.as_ref().ok().and_then(|words| words.split_first());
    if let Some((name, values)) = named
        && let Some(template) = config.templates.get(name)
    {
        let argv = fill(template, values).map_err(|why| format!("command '{name}': {why}"))?;
        let user = template.user.clone().or_else(|| config.user.clone());
        return Ok(Prepared { argv, user, timeout: template.timeout.unwrap_or(config.timeout) });
    }
    if config.shell && !text.trim().is_empty() && !text.contains('\0') {
        let argv = ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
        return Ok(Prepared { argv, user: config.user.clone(), timeout: config.timeout });
    }
    Err(match (words, named_word(text)) {
        (Err(why), _) => format!("the command {why}"),
        (Ok(_), Some(name)) => {
            let known: Vec<&str> = config.templates.keys().map(String::as_str).collect();
            format!("no command '{name}' is allowed on this machine; there is {}", known.join(", "))
        }
        (Ok(_), None) => "the command is empty".to_owned(),
    })
}

/// The beginning, for a message.
fn named_word(text: &str) -> Option<String> {
    Some(text.split_ascii_whitespace().next()?.chars().take(64).collect())
}

/// Puts the values where the template has its holes.
fn fill(template: &Template, values: &[String]) -> Result<Vec<String>, String> {
    let mut given = BTreeMap::new();
    for word in values {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("write {word:?} as name=value"))?;
        let Some(param) = template.params.get(name) else { return Err(format!("there is no parameter '{name}'")) };
        param.check(value).map_err(|why| format!("parameter '{name}' {why}"))?;
        if given.insert(name, value).is_some() {
            return Err(format!("parameter '{name}' is there twice"));
        }
    }
    let mut argv = Vec::with_capacity(template.argv.len());
    for word in &template.argv {
        let mut filled = String::new();
        for piece in &word.0 {
            filled += match piece {
                Piece::Text(text) => text,
                Piece::Param(name) => {
                    given.get(name.as_str()).ok_or_else(|| format!("parameter '{name}' is missing"))?
                }
            };
        }
        argv.push(filled);
    }
    Ok(argv)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Kind, Param, Word};

    fn config(shell: bool) -> Commands {
        let text = |text: &str| Word(vec![Piece::Text(text.into())]);
        let hole = Word(vec![Piece::Text("--unit=".into()), Piece::Param("unit".into())]);
        let template = |argv, params| Template { argv, params, timeout: None, user: None };
        let unit = Param { kind: Kind::Word, max_length: 64, leading_dash: false };
        let restart = Template {
            timeout: Some(Duration::from_secs(7)),
            user: Some("op".into()),
            ..template(vec![text("/bin/ctl"), text("restart"), hole], BTreeMap::from([("unit".into(), unit)]))
        };
        let templates = BTreeMap::from([
            ("restart".to_owned(), restart),
            ("up".to_owned(), template(vec![text("/bin/uptime")], BTreeMap::new())),
        ]);
        Commands { templates, shell, user: Some("nobody".into()), ..Commands::default() }
    }

    #[test]
    fn a_template_is_filled_word_by_word() {
        let prepared = prepare(&config(false), "restart 'unit=nginx.service'").expect("allowed");
        assert_eq!(prepared.argv, ["/bin/ctl", "restart", "--unit=nginx.service"]);
        assert_eq!((prepared.user.as_deref(), prepared.timeout), (Some("op"), Duration::from_secs(7)));
        let prepared = prepare(&config(false), " up ").expect("allowed");
        assert_eq!((prepared.argv, prepared.user.as_deref()), (vec!["/bin/uptime".to_owned()], Some("nobody")));
    }

    #[test]
    fn what_fits_no_template_is_refused_in_words() {
        for (text, why) in [
            ("restart", "'unit' is missing"),
            ("restart unit=", "must not be empty"),
            ("restart unit=-H", "must not begin with '-'"),
            ("restart 'unit=a b'", "must be a word"),
            ("restart unit=a unit=b", "twice"),
            ("restart unit=a force=1", "no parameter 'force'"),
            ("restart a", "name=value"),
            ("reboot", "no command 'reboot' is allowed on this machine; there is restart, up"),
            ("up; reboot", "no command 'up;'"),
            ("up 'x", "does not end"),
            ("  ", "empty"),
        ] {
            let refusal = prepare(&config(false), text).expect_err(text);
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
        let refusal = prepare(&Commands::default(), "up").expect_err("off");
        assert!(refusal.contains("not allowed on this machine"), "{refusal}");
    }

    #[test]
    fn a_shell_gets_only_what_names_no_template() {
        let argv = |text| prepare(&config(true), text).map(|prepared| prepared.argv);
        assert_eq!(argv("echo $HOME | cat"), Ok(["/bin/sh", "-c", "echo $HOME | cat"].map(str::to_owned).to_vec()));
        assert_eq!(argv("echo it's"), Ok(["/bin/sh", "-c", "echo it's"].map(str::to_owned).to_vec()));
        assert!(argv("restart unit=-x").is_err(), "a name that is a template's stays one");
        assert!(argv("").is_err() && argv("a\0b").is_err());
    }
}
