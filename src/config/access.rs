//! Who may come in: the API key, where it comes from, and what holds without one.

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::load::{Written, given};
use super::source::{ConfigError, read_at_most};
use super::{Auth, AuthMode};
use crate::types::features;

/// The longest key, in bytes; it has to fit a header line.
const MAX_KEY_BYTES: usize = 1024;

/// A key file may have blanks and line ends around its key, but not without end. In bytes.
const MAX_KEY_FILE_BYTES: u64 = 4096;

/// What was decided, and whether somebody decided it.
pub(super) enum Access {
    /// Whoever shows this key.
    Key(String),
    /// Whoever shows a key of the store.
    Stored,
    /// Everybody, because the operator said so.
    OpenInWords,
    /// Everybody, because nobody said anything: good for loopback only.
    Undecided,
}

impl Access {
    pub(super) fn into_auth(self) -> Auth {
        match self {
            Access::Key(key) => Auth::Key(key),
            Access::Stored => Auth::Stored,
            Access::OpenInWords => Auth::None,
            Access::Undecided => Auth::Undecided,
        }
    }
}

/// Decides from mode and key, each by flag, environment, file. Whether a store has keys is not known yet: in words, mode
/// "key" with a state directory relies on them, and the start checks that there are some.
pub(super) fn decide(
    written: &Written<'_>,
    has_state_dir: bool,
    warnings: &mut Vec<String>,
) -> Result<Access, ConfigError> {
    let mode = mode(written)?;
    if let Some((AuthMode::None, said_by)) = &mode {
        if let Some(place) = key_place(written) {
            warnings.push(format!("{said_by} is \"none\", so the key of {place} is not asked for"));
        }
        return Ok(Access::OpenInWords);
    }
    match (key(written, warnings)?, mode) {
        (Some(key), _) => Ok(Access::Key(key)),
        (None, None) => match given(&written.file.auth.first_key_file) {
            None => Ok(Access::Undecided),
            Some(_) if has_state_dir => Ok(Access::Stored),
            Some(_) => {
                let message = "is set, but there is no state_dir to keep its key in: set state_dir as well";
                Err(ConfigError::new(written.source.at("auth.first_key_file"), message))
            }
        },
        (None, Some((_, said_by))) if !features::HUB.built_in => {
            let needed = features::HUB.needed();
            let message = format!(
                "is \"key\", but there is no key: give --api-key-file FILE, API_KEY or auth.api_key_file; one in the \
                 state_dir {needed}"
            );
            Err(ConfigError::new(said_by, message))
        }
        (None, Some(_)) if has_state_dir => Ok(Access::Stored),
        (None, Some((_, said_by))) => {
            let message = "is \"key\", but there is no key: give --api-key-file FILE, API_KEY or auth.api_key_file, or \
                           a state_dir with a key made by `pinwire key add`";
            Err(ConfigError::new(said_by, message))
        }
    }
}

/// The mode and who said it.
///
/// # Errors
/// A word that is none.
pub(super) fn mode(written: &Written<'_>) -> Result<Option<(AuthMode, String)>, ConfigError> {
    if let Some(mode) = written.flags.auth {
        return Ok(Some((mode, "--auth".into())));
    }
    let place = written.source.at("auth.mode");
    match written.file.auth.mode.as_deref() {
        None | Some("") => Ok(None),
        Some("none") => Ok(Some((AuthMode::None, place))),
        Some("key") => Ok(Some((AuthMode::Key, place))),
        // The text is not repeated: it may be a key in the wrong place.
        Some(_) => Err(ConfigError::new(place, "is neither \"none\" nor \"key\", write one of them")),
    }
}

/// Where a key would come from, without reading it.
fn key_place(written: &Written<'_>) -> Option<String> {
    if written.flags.api_key_file.is_some() {
        Some("--api-key-file".into())
    } else if written.env("API_KEY").is_some() {
        Some("API_KEY".into())
    } else {
        given(&written.file.auth.api_key_file).map(|_| written.source.at("auth.api_key_file"))
    }
}

/// The file a key would come from, and who names it.
pub(super) fn key_file(written: &Written<'_>) -> Option<(String, PathBuf)> {
    let place = key_place(written)?;
    let by_flag = written.flags.api_key_file.clone();
    let file = by_flag.or_else(|| given(&written.file.auth.api_key_file).filter(|_| written.env("API_KEY").is_none()));
    file.map(|file| (place, file))
}

fn key(written: &Written<'_>, warnings: &mut Vec<String>) -> Result<Option<String>, ConfigError> {
    if let Some(path) = &written.flags.api_key_file {
        return read_key(path, "--api-key-file", warnings).map(Some);
    }
    if let Some(key) = written.env("API_KEY") {
        check_key(key.as_bytes()).map(Some).map_err(|why| ConfigError::new("API_KEY", why))
    } else if let Some(path) = given(&written.file.auth.api_key_file) {
        read_key(&path, written.source.at("auth.api_key_file"), warnings).map(Some)
    } else {
        Ok(None)
    }
}

pub(super) fn read_key(path: &Path, place: impl Display, warnings: &mut Vec<String>) -> Result<String, ConfigError> {
    let name = path.display();
    let refuse = |why: &dyn Display| ConfigError::new(&place, format_args!("cannot use the key file {name}: {why}"));
    let content = read_at_most(path, MAX_KEY_FILE_BYTES).map_err(|why| refuse(&why))?;
    let key = check_key(content.trim_ascii()).map_err(|why| refuse(&why))?;
    // Only regular files: the mode of a pipe or a device says nothing about who can read the key.
    let mode = fs::metadata(path).ok().filter(|meta| meta.is_file()).map_or(0, |meta| meta.permissions().mode());
    if mode & 0o044 != 0 {
        warnings.push(format!("{place}: others than its owner can read the key file {name}, better: chmod 600 {name}"));
    }
    Ok(key)
}

/// Takes a key only if every HTTP client can send it in a header.
fn check_key(key: &[u8]) -> Result<String, String> {
    if key.is_empty() {
        return Err("there is no key in it".into());
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(format!("the key has {} bytes, at most {MAX_KEY_BYTES} are allowed", key.len()));
    }
    match std::str::from_utf8(key) {
        Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("the key must be one word of visible ASCII characters, such as `openssl rand -hex 32` makes".into()),
    }
}
