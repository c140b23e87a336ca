//! Alerts: thresholds and what the daemon watches for by itself.
