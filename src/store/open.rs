//! The database as well as it can be had: made, opened, set aside where it is damaged, only read where it cannot be
//! written, done without where it cannot even be read.

use std::path::Path;

use super::db::{self, Db, OpenError};
use super::shared::Shared;
use crate::rt::clock;

/// Opens the database of `dir`; what is wrong with it is in `shared`'s health and the log.
///
/// # Errors
/// A database of a newer version or of another program.
pub(super) fn open(dir: &Path, shared: &Shared) -> Result<Db, OpenError> {
    let why = match Db::open(dir) {
        Ok(db) => return Ok(db),
        Err(fatal @ (OpenError::Newer(..) | OpenError::Foreign(_))) => return Err(fatal),
        Err(damaged @ OpenError::Damaged(..)) => match db::set_aside(dir, clock::wall()) {
            Ok(aside) => {
                log::error!(
                    "{damaged}; it was set aside as '{}', and a new one begun without its keys",
                    aside.display()
                );
                match Db::open(dir).map(|db| db.note_loss().map(|()| db)) {
                    Ok(Ok(db)) => return Ok(db),
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => format!("{damaged}, and cannot be set aside: {error}"),
        },
        Err(why) => match Db::open_read_only(dir) {
            Ok(db) => {
                shared.degrade(format!("{why}; its keys are known, and nothing is written"));
                return Ok(db);
            }
            Err(fatal @ (OpenError::Newer(..) | OpenError::Foreign(_))) => return Err(fatal),
            Err(_) => why.to_string(),
        },
    };
    shared.degrade(format!("{why}; nothing is kept, and the keys made by then are known once it can be used"));
    Db::nothing(dir)
}
