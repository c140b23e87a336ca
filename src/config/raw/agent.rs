//! `[agent]` as written.

use std::path::PathBuf;

use super::tables::{table, words};
use super::{Count, Period};

table! {
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
}

words! {
    pub(in crate::config) enum HubProtocol {
        Pinwire = "pinwire",
        Chatops = "chatops",
    }
}
