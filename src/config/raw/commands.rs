//! `[commands]` and `[docker]` as written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::tables::{table, words};
use super::values::{Count, Period};

table! {
    pub(in crate::config) struct Commands {
        pub templates: BTreeMap<String, Template>,
        pub shell: Option<bool>,
        pub user: Option<String>,
        pub allow_root: Option<bool>,
        pub without_audit: Option<bool>,
        pub directory: Option<PathBuf>,
        pub timeout: Option<Period>,
        pub kill_after: Option<Period>,
        pub output_bytes: Option<Count>,
        pub max_running: Option<Count>,
        pub queue: Option<Count>,
        pub max_processes: Option<Count>,
        pub max_memory_bytes: Option<Count>,
        pub max_file_bytes: Option<Count>,
        pub max_cpu_time: Option<Period>,
    }
}

table! {
    #[like("a table such as { argv = [\"/usr/bin/uptime\"] }")]
    pub(in crate::config) struct Template {
        pub argv: Vec<String>,
        pub params: BTreeMap<String, Param>,
        pub timeout: Option<Period>,
        pub user: Option<String>,
    }
}

table! {
    #[like("a table such as { kind = \"word\" }")]
    pub(in crate::config) struct Param {
        pub kind: Kind,
        pub values: Option<Vec<String>>,
        pub min: Option<i64>,
        pub max: Option<i64>,
        pub pattern: Option<String>,
        pub max_length: Option<Count>,
        pub leading_dash: Option<bool>,
    }
}

words! {
    pub(in crate::config) enum Kind {
        Word = "word",
        Int = "int",
        Enum = "enum",
        Pattern = "pattern",
    }
}

/// Before the key is read; a table without it is refused.
impl Default for Kind {
    fn default() -> Kind {
        Kind::Word
    }
}

table! {
    pub(in crate::config) struct Docker {
        pub enabled: Option<bool>,
        pub socket: Option<PathBuf>,
        pub containers: Option<Vec<String>>,
        pub timeout: Option<Period>,
        pub max_stop_timeout: Option<Period>,
        pub log_bytes: Option<Count>,
    }
}
