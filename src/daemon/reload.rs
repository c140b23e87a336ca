//! SIGHUP: the configuration is computed again, from the same flags, environment and file. What may change live does;
//! for everything else that is not what it was there is one warning that names the key.
//!
//! Whatever could keep the whole from being applied is found out before anything is: a configuration that is not good
//! changes nothing. After that a room either takes its part or says that it needs a restart, and keeps what it has.
//! What is not applied shows as a difference between the two configurations again, so nothing can be forgotten.

use std::sync::PoisonError;

use super::{Daemon, STEP};
use crate::alerts::Alerts;
use crate::config::{Accounts, Changed, Commands, Config, ConfigError, line_table};
use crate::conn::Tls;
use crate::gpio::Kept;
use crate::logging;

impl Daemon {
    /// Everything that goes on goes on meanwhile.
    pub(super) fn reload(&mut self, load: &dyn Fn() -> Result<Config, ConfigError>) {
        log::info!("SIGHUP: reading the configuration again");
        let fresh = load().map_err(|error| error.to_string());
        match fresh.and_then(|fresh| Ok((self.prepare(&fresh)?, fresh))) {
            Ok((tls, fresh)) => self.apply(tls, fresh),
            Err(error) => log::error!("{error}; nothing was changed, everything in use stays"),
        }
    }

    /// Whether everything can be had that the new configuration names; without any effect.
    ///
    /// # Errors
    /// What cannot be.
    fn prepare(&self, fresh: &Config) -> Result<Option<Tls>, String> {
        let tls = fresh.tls.as_ref().map(Tls::load).transpose().map_err(|error| error.to_string())?;
        Alerts::check(&fresh.alerts)?;
        super::need_a_key(fresh, &self.store).map_err(|error| error.to_string())?;
        Ok(tls)
    }

    fn apply(&mut self, tls: Option<Tls>, fresh: Config) {
        let wanted = self.config.changes(&fresh);
        let is_wanted = |section: &str| wanted.iter().any(|changed| changed.is_in(section));
        for warning in fresh.warnings.iter().filter(|warning| !self.config.warnings.contains(warning)) {
            log::warn!("{warning}");
        }
        self.config.warnings.clone_from(&fresh.warnings);
        // First, so that what comes is told as it is wanted now. Who wants less is told how this ends all the same.
        logging::set_levels(self.config.log_level.max(fresh.log_level), fresh.log_events);
        self.config.log_level = fresh.log_level;
        self.config.log_events = fresh.log_events;
        self.config.shutdown_deadline = fresh.shutdown_deadline;
        // The files may have changed in place.
        if let (Some(own), Some(tls)) = (&self.tls, tls) {
            own.replace(tls);
            self.config.tls.clone_from(&fresh.tls);
            log::info!("certificate and key read again; new connections use them");
        }
        if self.gate.replace_key(&fresh.auth) {
            self.config.auth.clone_from(&fresh.auth);
        }
        // Another process may have changed them unnoticed, where the kernel tells of no changes.
        if self.config.state_dir.is_some()
            && let Err(error) = self.store.reread()
        {
            log::warn!("the keys and users of the state directory could not be read again now: {error}");
        }
        self.origins.replace(&fresh.front.hosts, &fresh.front.origins);
        self.config.front.hosts.clone_from(&fresh.front.hosts);
        self.config.front.origins.clone_from(&fresh.front.origins);
        self.apply_accounts(&fresh);
        self.store.set_limits(&fresh.store);
        self.config.store.flush_interval = fresh.store.flush_interval;
        self.config.store.max_bytes = fresh.store.max_bytes;
        if is_wanted("docker") {
            self.docker.replace(&fresh.docker);
            let enabled = self.config.docker.enabled;
            self.config.docker.clone_from(&fresh.docker);
            self.config.docker.enabled = enabled;
        }
        if is_wanted("commands") && self.orders.replace_commands(&fresh.commands) {
            let own = &mut self.config.commands;
            let (without_audit, max_running, queue) = (own.without_audit, own.max_running, own.queue);
            *own = Commands { without_audit, max_running, queue, ..fresh.commands.clone() };
        }
        if is_wanted("alerts") {
            self.apply_alerts(&fresh);
        }
        let mut kept = Vec::new();
        if is_wanted("gpio") {
            kept = self.desk.gpio.reload(&fresh.gpio);
            self.config.gpio = self.desk.gpio.config();
            super::in_use::leave_word(&self.config);
        }
        tell(&wanted, &self.config.changes(&fresh), &kept);
        logging::set_levels(fresh.log_level, fresh.log_events);
    }

    /// Tokens that were given keep their life.
    fn apply_accounts(&mut self, fresh: &Config) {
        let own = &mut self.config.accounts;
        // The first key is made at a start.
        *own = Accounts { first_key_file: own.first_key_file.take(), ..fresh.accounts.clone() };
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).clone_from(own);
    }

    fn apply_alerts(&mut self, fresh: &Config) {
        let (own, fresh) = (&mut self.config.alerts, &fresh.alerts);
        self.alerts.set_limits(fresh);
        own.offline_after = fresh.offline_after;
        own.disk_warning = fresh.disk_warning;
        own.disk_critical = fresh.disk_critical;
        own.clock_after = fresh.clock_after;
        if (&own.webhook, &own.command) == (&fresh.webhook, &fresh.command) {
            return;
        }
        match self.alerts.replace_couriers(fresh, STEP) {
            Ok(()) => {
                own.webhook.clone_from(&fresh.webhook);
                own.command.clone_from(&fresh.command);
            }
            Err(why) => log::error!("the webhook and the command of before go on: {why}"),
        }
    }
}

/// What was applied in one line, and a line for each key that was not.
fn tell(wanted: &[Changed], left: &[Changed], kept: &[Kept]) {
    let is_left = |changed: &Changed| left.iter().any(|left| left.key == changed.key);
    let applied: Vec<&str> = wanted.iter().filter(|one| !is_left(one)).map(|one| one.key.as_str()).collect();
    for changed in left {
        match kept.iter().find(|line| changed.is_in(&line_table(&line.name))) {
            Some(line) => log::warn!("{changed}: needs a restart ({})", line.why),
            None => log::warn!("{changed}: needs a restart"),
        }
    }
    match applied.as_slice() {
        [] => log::info!("reload done: no key that changes live was changed"),
        keys => log::info!("reload done: applied {}", keys.join(", ")),
    }
}
