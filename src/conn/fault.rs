//! What can be wrong with the other side's TLS, or with our trust in it, told apart by what is to be done about it.

use std::path::{Path, PathBuf};

use crate::types::fingerprint::Fingerprint;

/// What is wrong with the other side's TLS, or with our trust in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The certificate may be good, but none of the authorities we trust says so.
    #[error("{}", untrusted(.ca.as_deref()))]
    Untrusted {
        /// The file whose certificates were trusted instead of the machine's.
        ca: Option<PathBuf>,
    },
    /// It is not the one that is pinned.
    #[error("the certificate is another one, with SHA-256 {shown}")]
    Pin { shown: Fingerprint },
    #[error("the certificate is for another name than '{asked}'{}", names(.good_for))]
    Name { asked: String, good_for: Vec<String> },
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    NotYet,
    /// The other side speaks something else than TLS.
    #[error("it does not speak TLS")]
    Plain,
    #[error("{0}")]
    Other(String),
}

fn untrusted(ca: Option<&Path>) -> String {
    match ca {
        Some(file) => format!(
            "the certificate was signed by none of those in '{}', so that file is another authority's",
            file.display()
        ),
        None => "nobody this machine trusts has signed the certificate (UnknownIssuer)".to_owned(),
    }
}

fn names(good_for: &[String]) -> String {
    if good_for.is_empty() { String::new() } else { format!(" (it is for {})", good_for.join(", ")) }
}
