//! Users, their tokens, and the key of a first start.

use std::path::PathBuf;
use std::time::Duration;

use super::load::{Written, given, set_period};
use super::source::{ConfigError, Source};
use super::validate::period;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Users and their tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// Let anybody who reaches the port register as a user.
    pub open_registration: bool,
    /// How long an access token is good.
    pub access_token_life: Duration,
    /// How long a login lasts: the refresh token's life.
    pub refresh_token_life: Duration,
    /// Where the key of a first start is written; `None`: none is made.
    pub first_key_file: Option<PathBuf>,
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts {
            open_registration: false,
            access_token_life: 30 * MINUTE,
            refresh_token_life: 7 * DAY,
            first_key_file: None,
        }
    }
}

pub(super) fn accounts(accounts: &mut Accounts, written: &Written<'_>) -> Result<(), ConfigError> {
    let file = &written.file.auth;
    accounts.open_registration = file.open_registration.unwrap_or(accounts.open_registration);
    set_period(&mut accounts.access_token_life, file.access_token_life);
    set_period(&mut accounts.refresh_token_life, file.refresh_token_life);
    accounts.first_key_file = given(&file.first_key_file);
    check(accounts, written.source)
}

fn check(accounts: &Accounts, source: &Source) -> Result<(), ConfigError> {
    let Accounts { access_token_life: access, refresh_token_life: refresh, .. } = *accounts;
    period(source, "auth.access_token_life", access, MINUTE..=DAY)?;
    period(source, "auth.refresh_token_life", refresh, HOUR..=90 * DAY)
}
