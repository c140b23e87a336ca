//! What must be there before the daemon starts: a state directory of its own, and somebody who can come in.

use std::fs::File;
use std::path::Path;

use crate::config::{Auth, Config};
use crate::rt::clock;
use crate::store::{Health, Store};

/// Why the daemon could not start although its file can be read, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StartError {
    what: String,
    /// It will not be there the next time either, unless the configuration changes.
    lasting: bool,
}

impl StartError {
    /// What may be there the next time: an address in use, a state directory that another one has.
    pub(super) fn new(what: impl std::fmt::Display) -> StartError {
        StartError { what: what.to_string(), lasting: false }
    }

    /// What the configuration has to change.
    pub(super) fn config(what: impl std::fmt::Display) -> StartError {
        StartError { what: what.to_string(), lasting: true }
    }

    /// Whether trying again is of no use.
    pub fn is_lasting(&self) -> bool {
        self.lasting
    }
}

/// Keeps a second daemon from this one's state directory: both would believe that what they know of it is all there is.
/// The lock is on the directory itself, so it needs nothing to be written.
pub(super) fn lock(dir: Option<&Path>) -> Result<Option<File>, StartError> {
    let Some(open) = dir.and_then(|dir| File::open(dir).ok()) else { return Ok(None) };
    match rustix::fs::flock(&open, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let dir = dir.unwrap_or(Path::new("")).display();
            Err(StartError::new(format!(
                "state_dir '{dir}' is in use by another pinwire daemon or agent: stop that first, or give this one a \
                 directory of its own"
            )))
        }
        // A file system without such locks.
        _ => Ok(Some(open)),
    }
}

/// On a first start, where that is wanted, a key comes into being without anybody's hand.
pub(super) fn make_first_key(config: &Config, store: &Store) -> Result<(), StartError> {
    let Some(path) = config.accounts.first_key_file.as_deref().filter(|_| matches!(config.auth, Auth::Stored)) else {
        return Ok(());
    };
    match store.make_first_key(path) {
        Ok(None) => Ok(()),
        Ok(Some(id)) => {
            log::info!("first start: key {id}, which may do everything, is in '{}'", path.display());
            Ok(())
        }
        Err(why) => Err(StartError::config(format!("auth.first_key_file '{}': {why}", path.display()))),
    }
}

/// Where only the store's keys let anybody in, there must be one.
pub(super) fn need_a_key(config: &Config, store: &Store) -> Result<(), StartError> {
    let somebody = || store.keys().opens(clock::wall()) || store.accounts().active() > 0;
    if !matches!(config.auth, Auth::Stored) || somebody() {
        return Ok(());
    }
    let dir = config.state_dir.clone().unwrap_or_default();
    let dir = dir.display();
    Err(StartError::config(match store.health() {
        Health::Degraded(why) => format!("auth.mode is \"key\", but the keys in '{dir}' cannot be known: {why}"),
        _ => format!(
            "auth.mode is \"key\", but '{dir}' holds no good API key, and none is configured: make one with `pinwire key \
             add --name NAME --state-dir '{dir}'`, add a user with `pinwire user add`, set auth.first_key_file, or give \
             --api-key-file FILE"
        ),
    }))
}
