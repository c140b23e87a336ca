//! What the audit knows of one order.

use rusqlite::OptionalExtension;

use super::{Store, StoreError};

impl Store {
    /// Whether an order was begun before, and if so what came of it, if that is known.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn ordered(&self, order_id: &str) -> Result<Option<Option<String>>, StoreError> {
        const BEGUN: &str = "SELECT 1 FROM audit WHERE order_id = ?1 AND phase = 'before' LIMIT 1";
        const ENDED: &str =
            "SELECT result FROM audit WHERE order_id = ?1 AND phase = 'after' ORDER BY number DESC LIMIT 1";
        self.read(|sql| {
            let begun = sql.query_row(BEGUN, [order_id], |_| Ok(())).optional()?;
            let result = || sql.query_row(ENDED, [order_id], |row| row.get(0)).optional();
            begun.map(|()| result().map(Option::flatten)).transpose()
        })
    }
}
