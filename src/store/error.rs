//! What can go wrong with the store, as whoever asked it hears.

use rusqlite::ErrorCode;

/// Why something was not written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too much waits already, or another process holds the database. Nothing was changed, or, where the disk took too
    /// long over it, it may still be.
    #[error("the store is busy; try again")]
    Busy,
    /// A full or read-only disk, a damaged file, or the daemon is about to end. Nothing was changed.
    #[error("the store cannot be written: {0}")]
    Unwritable(String),
    /// A rule of a table forbids it, such as two of the same name. Nothing was changed.
    #[error("the store does not take it: {0}")]
    Conflict(String),
    /// A statement that does not fit the tables: a bug, or somebody else's hand in the file.
    #[error("the store failed: {0}")]
    Sql(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OperationInterrupted) => {
                StoreError::Busy
            }
            Some(
                ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase,
            ) => StoreError::Unwritable(error.to_string()),
            Some(ErrorCode::ConstraintViolation) => StoreError::Conflict(error.to_string()),
            _ => StoreError::Sql(error.to_string()),
        }
    }
}

/// Whether an error says that the file is damaged.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}
