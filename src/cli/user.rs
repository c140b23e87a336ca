//! `pinwire user …` as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StoreArgs;
use crate::auth::accounts::{is_email, is_name};
use crate::types::fleet::Role;

#[derive(Args, Clone, Debug)]
pub struct UserArgs {
    #[command(subcommand)]
    pub command: UserCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user, who logs in with the e-mail address or the name
    Add(UserAddArgs),
    /// Print all users
    List(UserListArgs),
    /// Set a user's password; whoever is logged in as that user is out within a second
    Passwd(UserPasswdArgs),
    /// Keep a user out, who is out within a second, without removing anything
    Disable(UserNameArgs),
    /// Let a disabled user in again, who has to log in anew
    Enable(UserNameArgs),
    /// Change what a user may do; whoever is logged in as that user is out within a second and has to log in anew
    Role(UserRoleArgs),
    /// Remove a user; what belonged to that user belongs to the administrators
    Remove(UserNameArgs),
}

impl UserCommand {
    pub fn store(&self) -> &StoreArgs {
        match self {
            UserCommand::Add(args) => &args.store,
            UserCommand::List(args) => &args.store,
            UserCommand::Passwd(args) => &args.store,
            UserCommand::Disable(args) | UserCommand::Enable(args) | UserCommand::Remove(args) => &args.store,
            UserCommand::Role(args) => &args.store,
        }
    }
}

/// Where a password comes from.
#[derive(Args, Clone, Debug)]
pub struct PasswordArgs {
    /// Read the password from this file, its first line [default: ask on a terminal, else standard input]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub struct UserAddArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The user's e-mail address
    #[arg(long, value_parser = parse_email)]
    pub email: String,
    /// The user's name, without '@'
    #[arg(long, value_parser = parse_name)]
    pub username: String,
    /// What the user may do: viewer, operator, admin [default: admin for the first user, else operator]
    #[arg(long, value_parser = parse_role)]
    pub role: Option<Role>,
    #[command(flatten)]
    pub password: PasswordArgs,
}

#[derive(Args, Clone, Debug)]
pub struct UserListArgs {
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Args, Clone, Debug)]
pub struct UserPasswdArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The user's name, e-mail address or id
    pub user: String,
    #[command(flatten)]
    pub password: PasswordArgs,
}

#[derive(Args, Clone, Debug)]
pub struct UserNameArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The user's name, e-mail address or id
    pub user: String,
}

#[derive(Args, Clone, Debug)]
pub struct UserRoleArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The user's name, e-mail address or id
    pub user: String,
    /// What the user may do from now on: viewer, operator, admin
    #[arg(value_parser = parse_role)]
    pub role: Role,
}

fn parse_email(text: &str) -> Result<String, String> {
    if is_email(text) { Ok(text.to_owned()) } else { Err("write it like ann@example.org".into()) }
}

fn parse_name(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 256 bytes, without '@' and control characters".into()),
    }
}

fn parse_role(text: &str) -> Result<Role, String> {
    Role::from_word(text).ok_or_else(|| format!("write one of {}", Role::WORDS.join(", ")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn parse(words: &[&str]) -> Result<UserCommand, clap::Error> {
        let cli = Cli::try_parse_from(["pinwire", "user"].iter().chain(words))?;
        let Some(Command::User(user)) = cli.command else { panic!("not user") };
        Ok(user.command)
    }

    #[test]
    fn the_words_arrive() {
        let words = ["add", "--email", "a@b.c", "--username", "ann", "--role", "viewer", "--password-file", "f"];
        let UserCommand::Add(add) = parse(&words).expect("parses") else { panic!("not add") };
        assert_eq!((add.email.as_str(), add.username.as_str(), add.role), ("a@b.c", "ann", Some(Role::Viewer)));
        assert_eq!(add.password.password_file, Some("f".into()));
        let UserCommand::Disable(who) = parse(&["disable", "ann", "--state-dir", "s"]).expect("parses") else {
            panic!("not disable")
        };
        assert_eq!((who.user.as_str(), who.store.state_dir), ("ann", Some("s".into())));
    }

    #[test]
    fn a_role_is_given_behind_its_user() {
        let UserCommand::Role(args) = parse(&["role", "ann", "viewer"]).expect("parses") else { panic!("not role") };
        assert_eq!((args.user.as_str(), args.role), ("ann", Role::Viewer));
    }

    #[test]
    fn what_cannot_work_is_refused_while_parsing() {
        let wrong: [&[&str]; 9] = [
            &[],
            &["add", "--email", "a@b.c"],
            &["add", "--email", "ann", "--username", "ann"],
            &["add", "--email", "a@b.c", "--username", "a@b"],
            &["add", "--email", "a@b.c", "--username", "ann", "--role", "root"],
            &["add", "--email", "a@b.c", "--username", "ann", "--password", "secret"],
            &["passwd"],
            &["role", "ann"],
            &["role", "ann", "root"],
        ];
        for words in wrong {
            assert_eq!(parse(words).expect_err("refused").exit_code(), 2, "{words:?}");
        }
    }
}
