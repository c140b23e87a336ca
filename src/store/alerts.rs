//! Thresholds and alerts in the database.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::time::{millis, moment};
use super::{Store, StoreError};
use crate::types::fleet::{Alert, AlertCause, AlertKind, Comparison, Severity, Threshold};

/// Resolved alerts that are kept; of more, the newest.
const RESOLVED_KEPT: i64 = 10_000;

/// An alert, and what has to be known of it to go on after a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptAlert {
    pub alert: Alert,
    /// What of the server it is about, where that could be several: a disk's path.
    pub subject: Option<Box<str>>,
    /// Resolved by hand, and its condition has not been gone since.
    pub muted: bool,
}

impl Store {
    /// Writes alerts, new ones and those that have changed; and removes all that belongs to these servers.
    ///
    /// # Errors
    /// The store's; nothing was written then.
    pub fn save_alerts(&self, alerts: Vec<KeptAlert>, gone: Vec<String>) -> Result<(), StoreError> {
        self.write(move |sql| {
            alerts.iter().try_for_each(|kept| save(sql, kept))?;
            for server_id in &gone {
                sql.execute("DELETE FROM alerts WHERE server_id = ?1", [server_id])?;
                sql.execute("DELETE FROM thresholds WHERE server_id = ?1", [server_id])?;
            }
            Ok(())
        })
    }

    /// Removes the oldest of too many resolved alerts.
    ///
    /// # Errors
    /// The store's.
    pub fn thin_alerts(&self) -> Result<(), StoreError> {
        const SQL: &str = "DELETE FROM alerts WHERE resolved IS NOT NULL AND muted = 0 AND created <
             (SELECT created FROM alerts WHERE resolved IS NOT NULL ORDER BY created DESC LIMIT 1 OFFSET ?1)";
        self.write(|sql| sql.execute(SQL, [RESOLVED_KEPT]).map(drop))
    }

    /// The alerts that are open, and those whose conditions must not raise another yet.
    ///
    /// # Errors
    /// The store's.
    pub fn unfinished_alerts(&self) -> Result<Vec<KeptAlert>, StoreError> {
        self.read(|sql| {
            let mut query = sql.prepare("SELECT * FROM alerts WHERE resolved IS NULL OR muted = 1")?;
            query.query_map([], alert)?.filter_map(Result::transpose).collect()
        })
    }

    /// # Errors
    /// The store's.
    pub fn alert(&self, id: &str) -> Result<Option<KeptAlert>, StoreError> {
        self.read(|sql| {
            let found = sql.query_row("SELECT * FROM alerts WHERE id = ?1", [id], alert).optional()?;
            Ok(found.flatten())
        })
    }

    /// Shows alerts, the newest first, until `visit` has enough and says `false`.
    ///
    /// # Errors
    /// The store's.
    pub fn each_alert(
        &self,
        server_id: Option<&str>,
        mut visit: impl FnMut(KeptAlert) -> bool,
    ) -> Result<(), StoreError> {
        const SQL: &str = "SELECT * FROM alerts WHERE ?1 IS NULL OR server_id = ?1 ORDER BY created DESC, id DESC";
        self.read(|sql| {
            let mut query = sql.prepare(SQL)?;
            for row in query.query_map([server_id], alert)? {
                if let Some(kept) = row?
                    && !visit(kept)
                {
                    break;
                }
            }
            Ok(())
        })
    }

    /// # Errors
    /// The store's.
    pub fn thresholds(&self) -> Result<Vec<Threshold>, StoreError> {
        self.read(|sql| {
            let mut query = sql.prepare("SELECT * FROM thresholds ORDER BY created, id")?;
            query.query_map([], threshold)?.filter_map(Result::transpose).collect()
        })
    }

    /// Writes a threshold, a new one or one that has changed.
    ///
    /// # Errors
    /// The store's.
    pub fn save_threshold(&self, threshold: Threshold) -> Result<(), StoreError> {
        const SQL: &str = "INSERT OR REPLACE INTO thresholds
             (id, server_id, metric, value, comparison, enabled, duration, hysteresis, created, updated)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        self.write(move |sql| {
            let values = params![
                threshold.id,
                threshold.server_id,
                threshold.metric.as_str(),
                threshold.value,
                threshold.comparison.as_str(),
                threshold.enabled,
                i64::try_from(threshold.duration.as_millis()).unwrap_or(i64::MAX),
                threshold.hysteresis,
                millis(threshold.created_at),
                millis(threshold.updated_at),
            ];
            sql.execute(SQL, values).map(drop)
        })
    }

    /// # Errors
    /// The store's.
    pub fn remove_threshold(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |sql| sql.execute("DELETE FROM thresholds WHERE id = ?1", [id]).map(drop))
    }
}

fn save(sql: &Connection, kept: &KeptAlert) -> rusqlite::Result<()> {
    const SQL: &str = "INSERT OR REPLACE INTO alerts
         (id, server_id, cause, subject, threshold_id, kind, severity, message, threshold, current_value, created,
          acknowledged, resolved, muted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let Alert { id, server_id, cause, threshold_id, kind, severity, message, .. } = &kept.alert;
    let values = params![
        id,
        server_id,
        cause.map(AlertCause::as_str),
        kept.subject,
        threshold_id,
        kind.as_str(),
        severity.as_str(),
        message,
        kept.alert.threshold,
        kept.alert.current_value,
        millis(kept.alert.created_at),
        kept.alert.acknowledged_at.map(millis),
        kept.alert.resolved_at.map(millis),
        kept.muted,
    ];
    sql.execute(SQL, values).map(drop)
}

/// A row with words that nobody of this version writes is left out.
fn alert(row: &Row<'_>) -> rusqlite::Result<Option<KeptAlert>> {
    let time = |name: &str| row.get::<_, Option<i64>>(name).map(|millis| millis.map(moment));
    let cause: Option<String> = row.get("cause")?;
    let cause = cause.map(|word| AlertCause::from_word(&word));
    let (kind, severity): (String, String) = (row.get("kind")?, row.get("severity")?);
    let (Some(kind), Some(severity)) = (AlertKind::from_word(&kind), Severity::from_word(&severity)) else {
        return Ok(None);
    };
    if cause == Some(None) {
        return Ok(None);
    }
    let alert = Alert {
        id: row.get("id")?,
        server_id: row.get("server_id")?,
        cause: cause.flatten(),
        threshold_id: row.get("threshold_id")?,
        kind,
        severity,
        message: row.get("message")?,
        threshold: row.get("threshold")?,
        current_value: row.get("current_value")?,
        created_at: moment(row.get("created")?),
        acknowledged_at: time("acknowledged")?,
        resolved_at: time("resolved")?,
    };
    Ok(Some(KeptAlert { alert, subject: row.get("subject")?, muted: row.get("muted")? }))
}

/// As [`alert`].
fn threshold(row: &Row<'_>) -> rusqlite::Result<Option<Threshold>> {
    let (metric, comparison): (String, String) = (row.get("metric")?, row.get("comparison")?);
    let (Some(metric), Some(comparison)) = (AlertKind::from_word(&metric), Comparison::from_word(&comparison)) else {
        return Ok(None);
    };
    let duration: i64 = row.get("duration")?;
    Ok(Some(Threshold {
        id: row.get("id")?,
        server_id: row.get("server_id")?,
        metric,
        value: row.get("value")?,
        comparison,
        enabled: row.get("enabled")?,
        duration: Duration::from_millis(u64::try_from(duration).unwrap_or_default()),
        hysteresis: row.get("hysteresis")?,
        created_at: moment(row.get("created")?),
        updated_at: moment(row.get("updated")?),
    }))
}
