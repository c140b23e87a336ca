//! Bodies of `/api/v1`: `accounts`, `requests` and `query` read what clients send, `answers` writes what they get.
//!
//! Faults are those of FastAPI: `{"detail": "text"}`, and for what does not validate a 422 with a list (`invalid`).

mod accounts;
mod answers;
mod invalid;
mod query;
mod requests;

pub use accounts::{
    Login, PasswordChange, Register, login_form, login_json, password_change, profile, refresh, register,
};
pub use answers::{
    CommandReply, access_token, alert, alerts, api_key, api_keys, command_reply, container_logs, containers, denied,
    detail, error, events, flat_metrics, health, history, key_info, latest, log_entries, message, pushed_log_entry,
    server, servers, status, threshold, thresholds, token, user,
};
pub use invalid::Invalid;
pub use query::{AlertQuery, HistoryQuery, LogQuery, Page, Query, path_id};
pub use requests::{
    Command, NewKey, NewServer, NewThreshold, ServerChange, ThresholdChange, action, command, metrics, new_key,
    new_server, new_threshold, server_change, threshold_change,
};

#[cfg(test)]
mod tests;
