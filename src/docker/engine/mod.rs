//! The engine, asked.

mod http;
mod log;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::DockerError;
use crate::config;
use crate::types::fleet::{Container, ContainerAction};
use crate::wire;
use log::Log;

/// The largest list of containers, and the largest description of one.
const LIST_BYTES: usize = 4 * 1024 * 1024;
/// The largest refusal that is looked at.
const FAULT_BYTES: usize = 64 * 1024;
/// The most of a log that is read to find its end: a line may have any length.
const LOG_READ_BYTES: usize = 64 * 1024 * 1024;

/// What an engine gives a stopping container where nobody says more.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The containers of this machine.
pub struct Docker {
    config: RwLock<Arc<config::Docker>>,
}

impl Docker {
    pub fn new(config: &config::Docker) -> Docker {
        Docker { config: RwLock::new(Arc::new(config.clone())) }
    }

    /// Takes other rules; a call that is under way keeps those it began with. Whether there is anything here at all
    /// stays as it was at the start.
    pub fn replace(&self, config: &config::Docker) {
        let config = config::Docker { enabled: self.enabled(), ..config.clone() };
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    fn config(&self) -> Arc<config::Docker> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether containers are anybody's business.
    pub fn enabled(&self) -> bool {
        self.config().enabled
    }

    /// The allowed containers, running or not.
    ///
    /// # Errors
    /// See [`DockerError`].
    pub fn list(&self) -> Result<Vec<Container>, DockerError> {
        let mut all = self.all()?;
        all.retain(|container| self.config().allows(&container.name));
        Ok(all)
    }

    /// Starts, stops or restarts a container, by its name or id, and returns its id. `stop_timeout` is what a
    /// stopping container has before it is killed. One that is started or stopped already is left so.
    ///
    /// # Errors
    /// See [`DockerError`].
    pub fn act(
        &self,
        action: ContainerAction,
        container: &str,
        stop_timeout: Option<Duration>,
    ) -> Result<String, DockerError> {
        let id = self.find(container)?.id;
        let given = stop_timeout.map(|timeout| timeout.min(self.config().max_stop_timeout));
        let (word, own) = match action {
            ContainerAction::Start => ("start", Duration::ZERO),
            ContainerAction::Stop => ("stop", given.unwrap_or(STOP_TIMEOUT)),
            ContainerAction::Restart => ("restart", given.unwrap_or(STOP_TIMEOUT)),
        };
        let mut target = format!("/containers/{id}/{word}");
        if let (Some(given), ContainerAction::Stop | ContainerAction::Restart) = (given, action) {
            target += &format!("?t={}", given.as_secs());
        }
        let answer = http::ask(&self.config().socket, "POST", &target, self.config().timeout + own)?;
        match answer.status {
            // 304: it is so already.
            200 | 204 | 304 => Ok(id),
            _ => Err(refusal(answer, container)),
        }
    }

    /// The last `tail` lines of a container's log, and whether something before or in them is missing.
    ///
    /// # Errors
    /// See [`DockerError`].
    pub fn logs(&self, container: &str, tail: u32) -> Result<(Vec<String>, bool), DockerError> {
        let id = self.find(container)?.id;
        let described = self.get(&format!("/containers/{id}/json"))?;
        if described.status != 200 {
            return Err(refusal(described, container));
        }
        let mut log = Log::new(wire::docker::has_terminal(&described.read(LIST_BYTES)?), self.config().log_bytes);
        let answer = self.get(&format!("/containers/{id}/logs?stdout=1&stderr=1&follow=0&tail={tail}"))?;
        if answer.status != 200 {
            return Err(refusal(answer, container));
        }
        let mut read = 0;
        let complete = answer.each(|part| {
            log.take(part);
            read += part.len();
            read <= LOG_READ_BYTES
        })?;
        let (lines, truncated) = log.finish();
        Ok((lines, truncated || !complete))
    }

    fn get(&self, target: &str) -> Result<http::Answer, DockerError> {
        http::ask(&self.config().socket, "GET", target, self.config().timeout)
    }

    fn all(&self) -> Result<Vec<Container>, DockerError> {
        if !self.config().enabled {
            let why = "Docker is not allowed on this machine: docker.enabled in its own configuration file";
            return Err(DockerError::Denied(why.into()));
        }
        let answer = self.get("/containers/json?all=1")?;
        if answer.status != 200 {
            return Err(refusal(answer, ""));
        }
        wire::docker::containers(&answer.read(LIST_BYTES)?).map_err(DockerError::Nonsense)
    }

    /// The container of this name or id, or of the one id that begins so, if it is allowed.
    fn find(&self, wanted: &str) -> Result<Container, DockerError> {
        let all = self.all()?;
        let exact = all.iter().find(|one| one.name == wanted || one.id == wanted);
        let mut begun = all.iter().filter(|one| wanted.len() >= SHORT_ID && one.id.starts_with(wanted));
        let found = exact.or_else(|| begun.next().filter(|_| begun.next().is_none()));
        let found = found.ok_or_else(|| DockerError::NoSuchContainer(wanted.to_owned()))?;
        // The id becomes part of a path.
        if found.id.is_empty() || !found.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(DockerError::Nonsense("a container has no id".into()));
        }
        if !self.config().allows(&found.name) {
            let why = format!("container '{}' is not in docker.containers of this machine's configuration", found.name);
            return Err(DockerError::Denied(why));
        }
        Ok(found.clone())
    }
}

/// As `docker ps` prints them.
const SHORT_ID: usize = 12;

fn refusal(answer: http::Answer, container: &str) -> DockerError {
    let status = answer.status;
    if status == 404 && !container.is_empty() {
        return DockerError::NoSuchContainer(container.to_owned());
    }
    let body = answer.read(FAULT_BYTES).unwrap_or_default();
    let why = wire::docker::fault(&body).unwrap_or_else(|| format!("the Docker engine answered with status {status}"));
    DockerError::Refused(why)
}
