//! What an agent or a hub notes of each order, before and after.

use std::time::SystemTime;

use super::{Issuer, words};

words! {
    /// When in an order's life a record was made.
    AuditPhase {
        /// It is about to be done.
        Before = "before",
        /// It has ended, or was refused.
        After = "after",
    }
}

/// One record, without its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub at: SystemTime,
    pub phase: AuditPhase,
    /// The order's id, the same before and after.
    pub order_id: String,
    /// Who gave it.
    pub issuer: Issuer,
    /// What was asked for.
    pub what: String,
    /// What came of it: `Some` after.
    pub result: Option<String>,
}
