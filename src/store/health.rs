//! How the store is, in a word.

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// There is no state directory: what is kept ends with the process.
    None,
    Ok,
    /// Something cannot be read or written; what was known is in memory.
    Degraded(String),
}
