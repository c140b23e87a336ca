//! `[agent]` as written.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Count, Period};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(in crate::config) struct Agent {
    pub hub: Option<String>,
    pub key_file: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub pin: Option<String>,
    pub name: Option<String>,
    pub cluster: Option<String>,
    pub protocol: Option<HubProtocol>,
    pub metrics_interval: Option<Period>,
    pub spool_ram: Option<Count>,
    pub spool_bytes: Option<Count>,
    pub forward: Option<Vec<String>>,
    pub actions: Option<bool>,
    pub journal: Option<bool>,
    pub log_files: Option<Vec<PathBuf>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum HubProtocol {
    Pinwire,
    Chatops,
}
