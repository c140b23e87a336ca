//! `[docker]`: which containers a hub may see and act on. None, unless this file says so.

use std::path::PathBuf;
use std::time::Duration;

use super::load::{Written, set_count, set_period};
use super::source::ConfigError;
use super::validate;

/// The Docker Engine, or what speaks its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    pub enabled: bool,
    /// The engine's Unix socket.
    pub socket: PathBuf,
    /// Names of the containers a hub may see and act on; a `*` stands for any characters. None by default.
    pub containers: Vec<String>,
    /// The longest a call may take; a stop or restart has the container's own time besides.
    pub timeout: Duration,
    /// The most a stopping container may be given before it is killed.
    pub max_stop_timeout: Duration,
    /// The most of a container's log that is handed over, in bytes: its end.
    pub log_bytes: usize,
}

impl Default for Docker {
    fn default() -> Docker {
        Docker {
            enabled: false,
            socket: PathBuf::from("/var/run/docker.sock"),
            containers: Vec::new(),
            timeout: Duration::from_secs(10),
            max_stop_timeout: Duration::from_secs(60),
            log_bytes: 256 * 1024,
        }
    }
}

impl Docker {
    /// Whether the container of this name is there for a hub.
    pub fn allows(&self, name: &str) -> bool {
        self.enabled && self.containers.iter().any(|pattern| fits(pattern, name))
    }
}

/// Whether `name` is what `pattern` says, with `*` for any characters, also none.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = rest.split('*').collect();
    let Some((last, middle)) = parts.split_last() else { return true };
    for part in middle {
        match left.find(part) {
            Some(at) => left = left.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    left.ends_with(last)
}

/// # Errors
/// A value out of bounds, or a name no container can have.
pub(super) fn docker(docker: &mut Docker, written: &Written<'_>) -> Result<(), ConfigError> {
    let Written { file, source, .. } = *written;
    let file = &file.docker;
    docker.enabled = file.enabled.unwrap_or(docker.enabled);
    if let Some(socket) = &file.socket {
        docker.socket.clone_from(socket);
    }
    if let Some(containers) = &file.containers {
        docker.containers.clone_from(containers);
    }
    set_period(&mut docker.timeout, file.timeout);
    set_period(&mut docker.max_stop_timeout, file.max_stop_timeout);
    set_count(&mut docker.log_bytes, file.log_bytes);

    if !docker.socket.is_absolute() {
        return validate::refuse(
            source.at("docker.socket"),
            "must be an absolute path such as \"/var/run/docker.sock\"",
        );
    }
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '*'))
    };
    if let Some(wrong) = docker.containers.iter().find(|name| !is_name(name)) {
        let message =
            format!("{wrong:?} is no container's name, write it as `docker ps` does, with * for any characters");
        return validate::refuse(source.at("docker.containers"), message);
    }
    validate::period(source, "docker.timeout", docker.timeout, Duration::from_millis(100)..=Duration::from_secs(600))?;
    let most = Duration::ZERO..=Duration::from_secs(3600);
    validate::period(source, "docker.max_stop_timeout", docker.max_stop_timeout, most)?;
    validate::count(source, "docker.log_bytes", docker.log_bytes, 1024..=MOST_LOG_BYTES)
}

/// What the hub takes of a container's log.
const MOST_LOG_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_and_a_star_is_anything() {
        for (pattern, name, fit) in [
            ("web", "web", true),
            ("web", "web2", false),
            ("web", "my-web", false),
            ("*", "anything", true),
            ("db*", "db", true),
            ("db*", "db-1", true),
            ("db*", "mydb", false),
            ("*-db", "my-db", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
        ] {
            let docker = Docker { enabled: true, containers: vec![pattern.into()], ..Docker::default() };
            assert_eq!(docker.allows(name), fit, "{pattern} {name}");
            assert!(!Docker { enabled: false, ..docker }.allows(name));
        }
    }
}
