//! What a key opens: everything, or what its scopes name.
//!
//! A scope is a word: `subscribe:PATTERN`, `publish:PATTERN`, `read:PIN`, `write:PIN` (a pin, or `*` for all of them),
//! `command`, `docker`, `admin`, or `all`. None implies another, except that `admin` includes `command` and `docker`.

use std::fmt;

use super::line::Pin;
use super::topic::Pattern;

/// Most scopes of one key.
pub const MAX_SCOPES: usize = 64;

/// What may be asked of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Run commands on servers.
    Command,
    /// Look at containers, start and stop them.
    Docker,
    /// Everything else: servers, users, keys, alerts.
    Admin,
}

impl Verb {
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Command => "command",
            Verb::Docker => "docker",
            Verb::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    all: bool,
    publish: Vec<Pattern>,
    subscribe: Vec<Pattern>,
    /// A bit per pin.
    read: u32,
    write: u32,
    verbs: u8,
    /// As they were given.
    scopes: Vec<Box<str>>,
}

/// What is missing for something that was asked, in words for the one who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this API key lacks the scope '{0}'")]
pub struct Lacks(String);

impl Lacks {
    /// The scope that would do.
    pub fn scope(&self) -> &str {
        &self.0
    }
}

impl Rights {
    pub fn all() -> Rights {
        Rights { all: true, scopes: vec!["all".into()], ..Rights::none() }
    }

    pub fn none() -> Rights {
        Rights {
            all: false,
            publish: Vec::new(),
            subscribe: Vec::new(),
            read: 0,
            write: 0,
            verbs: 0,
            scopes: Vec::new(),
        }
    }

    /// From scopes as people write them; no scope at all is everything.
    ///
    /// # Errors
    /// Which is none, and what one looks like.
    pub fn parse<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Result<Rights, String> {
        let mut rights = Rights::none();
        for scope in scopes {
            rights.add(scope)?;
            if !rights.scopes.iter().any(|known| **known == *scope) {
                rights.scopes.push(scope.into());
            }
            if rights.scopes.len() > MAX_SCOPES {
                return Err(format!("a key has at most {MAX_SCOPES} scopes"));
            }
        }
        Ok(if rights.scopes.is_empty() || rights.all { Rights::all() } else { rights })
    }

    /// From what [`Rights::kept`] wrote. What this version cannot read opens nothing.
    pub fn from_kept(text: &str) -> Rights {
        let scopes = text.split('\n').filter(|scope| !scope.is_empty());
        if text.is_empty() { Rights::none() } else { Rights::parse(scopes).unwrap_or_else(|_| Rights::none()) }
    }

    /// To be kept: a scope per line.
    pub fn kept(&self) -> String {
        self.scopes.join("\n")
    }

    fn add(&mut self, scope: &str) -> Result<(), String> {
        if scope.chars().any(char::is_control) {
            return Err("a scope has no control characters".into());
        }
        let pins = |text: &str| match text {
            "*" => Ok(u32::MAX),
            text => Pin::parse(text).map(bit).ok_or_else(|| {
                format!("'{scope}' names no pin: write for example 'read:GPIO17', 'read:pin11' or 'read:*'")
            }),
        };
        match scope.split_once(':') {
            Some(("publish", pattern)) => self.publish.push(Pattern::new(pattern)?),
            Some(("subscribe", pattern)) => self.subscribe.push(Pattern::new(pattern)?),
            Some(("read", text)) => self.read |= pins(text)?,
            Some(("write", text)) => self.write |= pins(text)?,
            None if scope == "all" => self.all = true,
            None if scope == "command" => self.verbs |= Verb::Command.bit(),
            None if scope == "docker" => self.verbs |= Verb::Docker.bit(),
            None if scope == "admin" => {
                self.verbs |= Verb::Admin.bit() | Verb::Command.bit() | Verb::Docker.bit();
            }
            _ => {
                return Err(format!(
                    "'{scope}' is no scope: there are subscribe:PATTERN, publish:PATTERN, read:PIN, write:PIN (PIN may be *), \
                     command, docker, admin and all"
                ));
            }
        }
        Ok(())
    }

    pub fn is_all(&self) -> bool {
        self.all
    }

    /// What may be subscribed to; nothing of interest where it is [all](Rights::is_all).
    pub fn subscriptions(&self) -> &[Pattern] {
        &self.subscribe
    }

    /// Whether any pin may be read.
    pub fn reads_pins(&self) -> bool {
        self.all || self.read != 0
    }

    /// # Errors
    /// The scope that is missing; so for all others.
    pub fn publish(&self, topic: &str) -> Result<(), Lacks> {
        self.need(self.publish.iter().any(|pattern| pattern.spans(topic)), || format!("publish:{topic}"))
    }

    /// Everything the pattern selects.
    pub fn subscribe(&self, pattern: &Pattern) -> Result<(), Lacks> {
        let covered = self.subscribe.iter().any(|own| own.covers(pattern));
        self.need(covered, || format!("subscribe:{}", pattern.as_str()))
    }

    /// One topic by its name.
    pub fn hear(&self, topic: &str) -> Result<(), Lacks> {
        self.need(self.subscribe.iter().any(|pattern| pattern.spans(topic)), || format!("subscribe:{topic}"))
    }

    pub fn read(&self, pin: Pin) -> Result<(), Lacks> {
        self.need(self.read & bit(pin) != 0, || format!("read:{pin}"))
    }

    pub fn write(&self, pin: Pin) -> Result<(), Lacks> {
        self.need(self.write & bit(pin) != 0, || format!("write:{pin}"))
    }

    /// Every pin, to be read and written.
    ///
    /// # Errors
    /// As the others.
    pub fn all_pins(&self) -> Result<(), Lacks> {
        self.need(self.read == u32::MAX, || "read:*".to_owned())?;
        self.need(self.write == u32::MAX, || "write:*".to_owned())
    }

    pub fn verb(&self, verb: Verb) -> Result<(), Lacks> {
        self.need(self.verbs & verb.bit() != 0, || verb.as_str().to_owned())
    }

    fn need(&self, has: bool, scope: impl FnOnce() -> String) -> Result<(), Lacks> {
        if self.all || has { Ok(()) } else { Err(Lacks(scope())) }
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scopes.is_empty() { f.write_str("none") } else { f.write_str(&self.scopes.join(", ")) }
    }
}

fn bit(pin: Pin) -> u32 {
    1 << pin.number()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(scopes: &[&str]) -> Rights {
        Rights::parse(scopes.iter().copied()).expect("scopes")
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect("a pattern")
    }

    #[test]
    fn no_scope_is_everything_and_any_scope_is_that_only() {
        for all in [rights(&[]), rights(&["all"]), rights(&["all", "read:GPIO4"])] {
            assert!(all.is_all() && all.publish("x").is_ok() && all.verb(Verb::Admin).is_ok());
            assert_eq!((all.kept().as_str(), all.to_string().as_str()), ("all", "all"));
        }
        let some = rights(&["subscribe:gpio.**", "publish:door", "read:GPIO17", "write:pin11", "command", "command"]);
        assert_eq!(some.to_string(), "subscribe:gpio.**, publish:door, read:GPIO17, write:pin11, command");
        assert_eq!(Rights::from_kept(&some.kept()), some);
        assert!(some.publish("door").is_ok() && some.hear("gpio.state.changed").is_ok());
        assert_eq!(some.publish("doors").expect_err("no").to_string(), "this API key lacks the scope 'publish:doors'");
        assert!(some.subscribe(&pattern("gpio.state.*")).is_ok());
        assert_eq!(some.subscribe(&pattern("**")).expect_err("no").scope(), "subscribe:**");
        let (pin, other) = (Pin::new(17).expect("a pin"), Pin::new(4).expect("a pin"));
        assert!(some.read(pin).is_ok() && some.write(pin).is_ok());
        assert_eq!(some.write(other).expect_err("no").scope(), "write:GPIO4");
        assert!(some.verb(Verb::Command).is_ok() && some.verb(Verb::Docker).is_err());
        assert!(rights(&["read:*"]).read(other).is_ok() && rights(&["read:*"]).write(other).is_err());
    }

    #[test]
    fn an_administrator_commands_and_touches_no_pin() {
        let admin = rights(&["admin"]);
        assert!([Verb::Admin, Verb::Command, Verb::Docker].into_iter().all(|verb| admin.verb(verb).is_ok()));
        assert!(admin.publish("door").is_err() && !admin.reads_pins() && !admin.is_all());
    }

    #[test]
    fn what_is_no_scope_is_refused_and_opens_nothing() {
        for wrong in
            ["", "everything", "read", "read:", "read:GPIO99", "publish:", "write:**", "x:y", "command\n", "Admin"]
        {
            assert!(Rights::parse([wrong]).is_err(), "{wrong}");
        }
        for kept in ["", "later-scope:x", "read:GPIO4\nlater"] {
            assert_eq!(Rights::from_kept(kept), Rights::none(), "{kept}");
        }
        assert_eq!(Rights::none().to_string(), "none");
    }
}
