//! `[alerts]` as written.

use std::path::PathBuf;

use super::Period;
use super::tables::table;

table! {
    pub(in crate::config) struct Alerts {
        pub offline: Option<bool>,
        pub offline_after: Option<Period>,
        pub under_voltage: Option<bool>,
        pub disk: Option<bool>,
        pub disk_warning: Option<f64>,
        pub disk_critical: Option<f64>,
        pub store: Option<bool>,
        pub clock: Option<bool>,
        pub clock_after: Option<Period>,
        pub webhook: Option<String>,
        pub webhook_ca: Option<PathBuf>,
        pub webhook_timeout: Option<Period>,
        pub command: Option<Vec<String>>,
        pub command_timeout: Option<Period>,
    }
}
