//! What people ask of alerts and thresholds, and change of them.

use std::collections::HashMap;
use std::sync::PoisonError;

use super::{Alerts, moment};
use crate::rt::{clock, random};
use crate::store::{KeptAlert, StoreError};
use crate::types::fleet::{Alert, Threshold};
use crate::wire::chatops::rest::NewThreshold;

/// Thresholds of one server.
pub const MAX_THRESHOLDS: usize = 100;

/// Why a threshold was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("at most {MAX_THRESHOLDS} thresholds per server; remove one first")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel has no random numbers.
    #[error("no id for a threshold: {0}")]
    NoId(String),
}

/// Which alerts of a list.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub resolved: Option<bool>,
    pub server_id: Option<&'a str>,
    pub skip: usize,
    pub limit: usize,
}

impl Alerts {
    /// Alerts of servers for which `visible` says yes, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub fn list(&self, wanted: &Wanted<'_>, visible: impl Fn(&str) -> bool) -> Result<Vec<Alert>, StoreError> {
        let (newer, gone) = self.book().unwritten();
        let fits = |alert: &Alert| {
            wanted.resolved.is_none_or(|resolved| resolved == alert.resolved_at.is_some())
                && wanted.server_id.is_none_or(|id| id == alert.server_id)
                && !gone.contains(&alert.server_id)
                && visible(&alert.server_id)
        };
        let newer: HashMap<String, Alert> = newer.into_iter().map(|kept| (kept.alert.id.clone(), kept.alert)).collect();
        let enough = wanted.skip.saturating_add(wanted.limit);
        let mut found: Vec<Alert> = Vec::new();
        self.store.each_alert(wanted.server_id, |KeptAlert { alert, .. }| {
            if !newer.contains_key(&alert.id) && fits(&alert) {
                found.push(alert);
            }
            found.len() < enough
        })?;
        found.extend(newer.into_values().filter(|alert| fits(alert)));
        found.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(found.into_iter().skip(wanted.skip).take(wanted.limit).collect())
    }

    /// Those that are not resolved, the newest first; asks no disk.
    pub fn open(&self) -> Vec<Alert> {
        self.book().open()
    }

    /// # Errors
    /// The store's.
    pub fn find(&self, alert_id: &str) -> Result<Option<Alert>, StoreError> {
        match self.book().newer(alert_id) {
            Some(alert) => Ok(Some(alert)),
            None => Ok(self.store.alert(alert_id)?.map(|kept| kept.alert)),
        }
    }

    /// Resolves an alert by hand; one that is resolved already stays as it is.
    ///
    /// # Errors
    /// The store's.
    pub fn resolve(&self, alert_id: &str) -> Result<Option<Alert>, StoreError> {
        self.note(|book| book.resolve(alert_id, moment()).into_iter().collect());
        self.find(alert_id)
    }

    /// Notes that somebody has seen an alert; one that is resolved or was seen already stays as it is.
    ///
    /// # Errors
    /// The store's.
    pub fn acknowledge(&self, alert_id: &str) -> Result<Option<Alert>, StoreError> {
        self.note(|book| book.acknowledge(alert_id, moment()).into_iter().collect());
        self.find(alert_id)
    }

    /// All thresholds, or one server's, the oldest first.
    pub fn thresholds(&self, server_id: Option<&str>) -> Vec<Threshold> {
        self.book().thresholds(server_id)
    }

    pub fn threshold(&self, id: &str) -> Option<Threshold> {
        self.book().threshold(id)
    }

    /// # Errors
    /// See [`Refused`].
    pub fn add_threshold(&self, new: NewThreshold) -> Result<Threshold, Refused> {
        let _one = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.book().threshold_count(&new.server_id) >= MAX_THRESHOLDS {
            return Err(Refused::TooMany);
        }
        let now = clock::wall_millis();
        let threshold = Threshold {
            id: random::uuid().map_err(|error| Refused::NoId(error.to_string()))?,
            server_id: new.server_id,
            metric: new.metric,
            value: new.value,
            comparison: new.comparison,
            enabled: new.enabled,
            duration: new.duration,
            hysteresis: new.hysteresis,
            created_at: now,
            updated_at: now,
        };
        self.store.save_threshold(threshold.clone())?;
        self.book().add_threshold(threshold.clone());
        Ok(threshold)
    }

    /// Changes a threshold; `None` where there is none. Disabled, or made one on another metric, its alert is resolved.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn change_threshold(
        &self,
        id: &str,
        change: impl FnOnce(&mut Threshold),
    ) -> Result<Option<Threshold>, Refused> {
        let _one = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut threshold) = self.threshold(id) else { return Ok(None) };
        change(&mut threshold);
        threshold.updated_at = clock::wall_millis();
        self.store.save_threshold(threshold.clone())?;
        self.note(|book| book.change_threshold(threshold.clone(), moment()));
        Ok(Some(threshold))
    }

    /// Removes a threshold and resolves its alert; `false` where there is none.
    ///
    /// # Errors
    /// The store's.
    pub fn remove_threshold(&self, id: &str) -> Result<bool, StoreError> {
        let _one = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.threshold(id).is_none() {
            return Ok(false);
        }
        self.store.remove_threshold(id)?;
        self.note(|book| book.remove_threshold(id, moment()));
        Ok(true)
    }
}
