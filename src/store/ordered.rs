//! What the audit knows of one order.

use rusqlite::OptionalExtension;

use super::{Store, StoreError};

impl Store {
    /// Whether an order was begun before, and if so what came of it, if that is known. Only records count whose text
    /// begins with `place`: a hub that is its own first server has its own records of the same order in the same table.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn ordered(&self, order_id: &str, place: &str) -> Result<Option<Option<String>>, StoreError> {
        const BEGUN: &str = "SELECT 1 FROM audit
             WHERE order_id = ?1 AND phase = 'before' AND substr(what, 1, length(?2)) = ?2 LIMIT 1";
        const ENDED: &str = "SELECT result FROM audit
             WHERE order_id = ?1 AND phase = 'after' AND substr(what, 1, length(?2)) = ?2
             ORDER BY number DESC LIMIT 1";
        self.read(|sql| {
            let begun = sql.query_row(BEGUN, [order_id, place], |_| Ok(())).optional()?;
            let result = || sql.query_row(ENDED, [order_id, place], |row| row.get(0)).optional();
            begun.map(|()| result().map(Option::flatten)).transpose()
        })
    }
}
