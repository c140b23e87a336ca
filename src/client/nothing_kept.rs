//! In the place of the commands that work on the daemon's database where no hub is built in: there is none.

use std::path::Path;

use super::ClientError;
use crate::cli::{AuditArgs, KeyCommand, UserCommand};
use crate::types::features;

/// # Errors
/// Always.
pub fn key(_: &KeyCommand, _: &Path) -> Result<(), ClientError> {
    none()
}

/// # Errors
/// Always.
pub fn user(_: &UserCommand, _: &Path) -> Result<(), ClientError> {
    none()
}

/// # Errors
/// Always.
pub fn audit(_: &AuditArgs, _: &Path) -> Result<(), ClientError> {
    none()
}

fn none() -> Result<(), ClientError> {
    Err(ClientError(features::HUB.needed_by("the database")))
}
