//! `pinwire key`: makes, lists and ends API keys in the daemon's database, whether or not a daemon is running.

use std::path::Path;
use std::time::SystemTime;

use super::super::{ClientError, print_line};
use crate::auth::{KeyId, mint};
use crate::cli::{KeyAddArgs, KeyRevokeArgs};
use crate::rt::clock;
use crate::store::{Db, Key, OpenError, Revoked};
use crate::types::plain::plain;
use crate::types::rights::Rights;

/// Makes a key and prints it; what is known of it besides goes to standard error.
///
/// # Errors
/// The state directory or its database cannot be used.
pub fn add(args: &KeyAddArgs, dir: &Path) -> Result<(), ClientError> {
    let db = open(dir)?;
    let minted = mint().map_err(|error| ClientError(format!("no random numbers to be had: {error}")))?;
    let rights = Rights::parse(args.scopes.iter().map(String::as_str)).map_err(ClientError)?;
    let now = clock::wall();
    let expires = args.expires.and_then(|life| now.checked_add(life));
    db.add_key(&minted, &args.name, &rights, now, expires).map_err(|error| failed(&db, &error))?;
    let until = expires.map_or("does not expire".into(), |at| format!("expires {}", time(at)));
    eprintln!("key {} '{}' {until}, scopes {rights}; it is not shown again", minted.id, args.name);
    print_line(&minted.text)
}

/// Prints all keys, one per line below a heading.
///
/// # Errors
/// There is no database, or it cannot be read.
pub fn list(dir: &Path) -> Result<(), ClientError> {
    let db = open_to_read(dir)?;
    let keys = db.keys().map_err(|error| failed(&db, &error))?;
    let names: Vec<_> = keys.iter().map(|key| plain(&key.name)).collect();
    let (now, wide) = (clock::wall(), names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(4));
    let line = |id: &str, name: &str, state: &str, times: [&str; 3], scopes: &str| {
        let [created, expires, used] = times;
        print_line(&format!("{id:10}  {name:wide$}  {state:7}  {created:20}  {expires:20}  {used:20}  {scopes}"))
    };
    line("ID", "NAME", "STATE", ["CREATED", "EXPIRES", "LAST USED"], "SCOPES")?;
    for (key, name) in keys.iter().zip(&names) {
        let or_never = |at: Option<SystemTime>| at.map_or("never".to_owned(), time);
        let scopes = match &key.server_id {
            Some(server) => format!("agent of {server}"),
            None => key.rights.to_string(),
        };
        let times = [time(key.created), or_never(key.expires), or_never(key.last_used)];
        line(key.id.as_str(), name, state(key, now), [&times[0], &times[1], &times[2]], &scopes)?;
    }
    Ok(())
}

/// Ends a key.
///
/// # Errors
/// There is no such key, or the database cannot be written.
pub fn revoke(args: &KeyRevokeArgs, dir: &Path) -> Result<(), ClientError> {
    // What was typed is not repeated: it may be a whole key.
    let unknown = || ClientError(format!("there is no key with this id in '{}'; see pinwire key list", dir.display()));
    let id = KeyId::parse(&args.id).ok_or_else(unknown)?;
    let db = Db::open_existing(dir).map_err(unusable)?;
    match db.revoke_key(id, clock::wall()).map_err(|error| failed(&db, &error))? {
        Revoked::Now => print_line(&format!("key {id} is revoked")),
        Revoked::Before => print_line(&format!("key {id} was revoked before")),
        Revoked::Unknown => Err(unknown()),
    }
}

fn state(key: &Key, now: SystemTime) -> &'static str {
    if key.revoked_at.is_some() {
        "revoked"
    } else if key.record().fault(now).is_some() {
        "expired"
    } else {
        "good"
    }
}

/// The database of a state directory; both are made where they are not.
pub(super) fn open(dir: &Path) -> Result<Db, ClientError> {
    std::fs::create_dir_all(dir)
        .map_err(|error| ClientError(format!("state_dir '{}' cannot be created: {error}", dir.display())))?;
    Db::open(dir).map_err(unusable)
}

/// The database of a state directory, also where it cannot be written.
pub(super) fn open_to_read(dir: &Path) -> Result<Db, ClientError> {
    let db = Db::open_existing(dir).or_else(|why| match why {
        OpenError::Unusable(..) => Db::open_read_only(dir),
        other => Err(other),
    });
    db.map_err(unusable)
}

pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

pub(super) fn unusable(why: OpenError) -> ClientError {
    match why {
        OpenError::Damaged(..) => {
            ClientError(format!("{why}; the daemon sets it aside when it starts, and begins a new one"))
        }
        why => ClientError(why.to_string()),
    }
}

pub(super) fn failed(db: &Db, error: &rusqlite::Error) -> ClientError {
    ClientError(format!("'{}' cannot be used: {error}", db.path().display()))
}
