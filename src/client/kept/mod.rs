//! The commands that work on the daemon's database, whether or not a daemon is running.

mod audit;
mod keys;
mod users;

use std::path::Path;

use super::ClientError;
use crate::cli::{KeyCommand, UserCommand};
pub use audit::audit;

/// # Errors
/// The state directory or its database cannot be used, or there is no such key.
pub fn key(command: &KeyCommand, dir: &Path) -> Result<(), ClientError> {
    match command {
        KeyCommand::Add(args) => keys::add(args, dir),
        KeyCommand::List(_) => keys::list(dir),
        KeyCommand::Revoke(args) => keys::revoke(args, dir),
    }
}

/// # Errors
/// The state directory or its database cannot be used, there is no such user, or the password is not to be had.
pub fn user(command: &UserCommand, dir: &Path) -> Result<(), ClientError> {
    match command {
        UserCommand::Add(args) => users::add(args, dir),
        UserCommand::List(_) => users::list(dir),
        UserCommand::Passwd(args) => users::passwd(args, dir),
        UserCommand::Disable(args) => users::set_active(args, dir, false),
        UserCommand::Enable(args) => users::set_active(args, dir, true),
        UserCommand::Role(args) => users::set_role(args, dir),
        UserCommand::Remove(args) => users::remove(args, dir),
    }
}
