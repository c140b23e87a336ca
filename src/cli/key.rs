//! `pinwire key …` as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::config::Flags;
use crate::types::rights::Rights;

/// A key that lives longer is one that does not expire.
const LONGEST_LIFE: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The longest name of a key, in bytes.
const MAX_NAME_BYTES: usize = 64;

#[derive(Args, Clone, Debug)]
pub struct KeyArgs {
    #[command(subcommand)]
    pub command: KeyCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it, this once
    Add(KeyAddArgs),
    /// Print all keys, without their secrets
    List(KeyListArgs),
    /// End a key: who is in with it is closed within a second
    Revoke(KeyRevokeArgs),
}

impl KeyCommand {
    pub fn store(&self) -> &StoreArgs {
        match self {
            KeyCommand::Add(args) => &args.store,
            KeyCommand::List(args) => &args.store,
            KeyCommand::Revoke(args) => &args.store,
        }
    }
}

/// Where the keys are.
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// The daemon's state directory
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Take state_dir from this TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub struct KeyAddArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// What the key is for, such as panel; two keys may have one name, as while the one replaces the other
    #[arg(long, value_parser = parse_name)]
    pub name: String,
    /// End the key after this long, such as 90d [default: never]
    #[arg(long, value_name = "DURATION", value_parser = parse_life)]
    pub expires: Option<Duration>,
    /// Let the key do only this, may be repeated; --help lists the scopes [default: all]
    ///
    /// subscribe:PATTERN and publish:PATTERN (topics, such as gpio.**), read:PIN and write:PIN (GPIO17, or * for all),
    /// command, docker, admin.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = parse_scope)]
    pub scopes: Vec<String>,
}

#[derive(Args, Clone, Debug)]
pub struct KeyListArgs {
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Args, Clone, Debug)]
pub struct KeyRevokeArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The key's id, as key list prints it
    pub id: String,
}

impl From<&StoreArgs> for Flags {
    fn from(args: &StoreArgs) -> Flags {
        Flags { config: args.config.clone(), state_dir: args.state_dir.clone(), ..Flags::default() }
    }
}

fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) {
        return Err(format!("a name has 1 to {MAX_NAME_BYTES} bytes and no control characters"));
    }
    Ok(text.to_owned())
}

fn parse_scope(text: &str) -> Result<String, String> {
    Rights::parse([text]).map(|_| text.to_owned())
}

fn parse_life(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(life) if life.is_zero() || life > LONGEST_LIFE => Err("it must be above 0s and at most 100 years".into()),
        Ok(life) => Ok(life),
        Err(why) => Err(format!("{why}; write for example 90d or 12h")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn parse(words: &[&str]) -> Result<KeyCommand, clap::Error> {
        let cli = Cli::try_parse_from(["pinwire", "key"].iter().chain(words))?;
        let Some(Command::Key(key)) = cli.command else { panic!("not key") };
        Ok(key.command)
    }

    #[test]
    fn the_words_arrive() {
        let words = ["add", "--name", "panel", "--expires", "90d", "--state-dir", "s", "--config", "c"];
        let KeyCommand::Add(add) = parse(&words).expect("parses") else { panic!("not add") };
        assert_eq!((add.name.as_str(), add.expires), ("panel", Some(Duration::from_secs(90 * 86400))));
        let flags = Flags::from(&add.store);
        assert_eq!((flags.state_dir, flags.config), (Some("s".into()), Some("c".into())));
        let KeyCommand::Revoke(revoke) = parse(&["revoke", "0123456789"]).expect("parses") else {
            panic!("not revoke")
        };
        assert_eq!(revoke.id, "0123456789");
        assert!(matches!(parse(&["list"]).expect("parses"), KeyCommand::List(_)));
    }

    #[test]
    fn what_cannot_work_is_refused_while_parsing() {
        let wrong: [&[&str]; 6] = [
            &[],
            &["add"],
            &["add", "--name", ""],
            &["add", "--name", "a", "--expires", "0s"],
            &["add", "--name", "a", "--expires", "101years"],
            &["revoke"],
        ];
        for words in wrong {
            assert_eq!(parse(words).expect_err("refused").exit_code(), 2, "{words:?}");
        }
    }
}
