//! In the engine's place where it is not built in: whoever asks is told so.

use std::time::Duration;

use super::DockerError;
use crate::config;
use crate::types::features;
use crate::types::fleet::{Container, ContainerAction};

/// No containers are anybody's business.
pub struct Docker;

impl Docker {
    pub fn new(_: &config::Docker) -> Docker {
        Docker
    }

    pub fn replace(&self, _: &config::Docker) {}

    pub fn enabled(&self) -> bool {
        false
    }

    /// # Errors
    /// Always.
    pub fn list(&self) -> Result<Vec<Container>, DockerError> {
        Err(denied())
    }

    /// # Errors
    /// Always.
    pub fn act(&self, _: ContainerAction, _: &str, _: Option<Duration>) -> Result<String, DockerError> {
        Err(denied())
    }

    /// # Errors
    /// Always.
    pub fn logs(&self, _: &str, _: u32) -> Result<(Vec<String>, bool), DockerError> {
        Err(denied())
    }
}

fn denied() -> DockerError {
    DockerError::Denied(features::DOCKER.needed_by("Docker on this machine"))
}
