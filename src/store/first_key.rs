//! The key of a first start: made where there never was a key or a user, and written to a file of its owner's.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Health, Store, keys};
use crate::auth::{KeyId, mint};
use crate::rt::clock;
use crate::types::rights::Rights;

const NAME: &str = "first start";

impl Store {
    /// Makes a key that may do everything, if there is and was no key and no user, and writes it to a new file that
    /// only its owner reads.
    ///
    /// # Errors
    /// In words for the operator: the file is there already, or it or the store cannot be written. No key was made.
    pub fn make_first_key(&self, path: &Path) -> Result<Option<KeyId>, String> {
        if self.keys.guarded() || self.accounts.guarded() {
            return Ok(None);
        }
        if let Health::Degraded(why) = self.health() {
            return Err(format!("no key can be kept: {why}"));
        }
        let minted = mint().map_err(|error| format!("no random numbers to be had: {error}"))?;
        let id = minted.id;
        write(path, &minted.text).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                "the file exists, and the store has no key: remove it, and a new key is made".to_owned()
            }
            io::ErrorKind::NotFound => {
                let dir = path.parent().unwrap_or(Path::new("")).display();
                format!("the directory '{dir}' does not exist: make it, or name a file in state_dir")
            }
            _ => format!("the first key cannot be written: {error}"),
        })?;
        let kept = self.write(move |sql| keys::add(sql, &minted, NAME, &Rights::all(), None, clock::wall(), None));
        kept.map(|()| Some(id)).map_err(|error| {
            // It opens nothing.
            let _ = std::fs::remove_file(path);
            error.to_string()
        })
    }
}

fn write(path: &Path, key: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(format!("{key}\n").as_bytes())?;
    file.sync_all()
}
