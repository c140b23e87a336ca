//! Refuses what the file, a flag or the environment asks for and this program was built without.

use super::Config;
use super::load::Written;
use super::source::{ConfigError, dotted};
use crate::types::features::{self, Feature};

/// # Errors
/// Names the key and the feature.
pub(super) fn check(config: &Config, written: &Written<'_>) -> Result<(), ConfigError> {
    let Written { file, source, flags, .. } = *written;
    let wanted = |feature: Feature, wanted: bool, place: String| match wanted && !feature.built_in {
        true => Err(ConfigError::new(place, feature.needed())),
        false => Ok(()),
    };
    let cert = match flags.tls_cert {
        Some(_) => "--tls-cert".into(),
        None => source.at("tls.cert"),
    };
    wanted(features::TLS, config.tls.is_some(), cert)?;
    let is_secure = |url: &str| url.starts_with("wss://") || url.starts_with("https://");
    let by_flag = flags.agent.as_ref().is_some_and(|agent| agent.hub.is_some());
    let place = if by_flag { "--hub".into() } else { source.at("agent.hub") };
    wanted(features::AGENT, config.agent.hub.is_some(), place.clone())?;
    wanted(features::TLS, config.agent.hub.as_deref().is_some_and(is_secure), place)?;
    let webhook = config.alerts.webhook.as_ref().is_some_and(|webhook| is_secure(&webhook.url));
    wanted(features::TLS, webhook, source.at("alerts.webhook"))?;
    wanted(features::MDNS, file.mdns.announce == Some(true), source.at("mdns.announce"))?;
    wanted(features::COMMANDS, config.commands.shell, source.at("commands.shell"))?;
    let template = config.commands.templates.keys().next().map(|name| dotted("commands.templates", name));
    wanted(features::COMMANDS, template.is_some(), source.at(&template.unwrap_or_default()))?;
    wanted(features::DOCKER, config.docker.enabled, source.at("docker.enabled"))?;
    wanted(features::MDNS, file.mdns.discover == Some(true), source.at("mdns.discover"))?;
    let durable = config.topics.iter().find(|topic| topic.durable);
    let durable =
        durable.map_or_else(String::new, |topic| format!("{}.durable", dotted("topics", topic.pattern.as_str())));
    let hubs = [
        ("hub.own_server", config.hub.own_server),
        ("auth.first_key_file", config.accounts.first_key_file.is_some()),
        ("auth.open_registration", config.accounts.open_registration),
        ("alerts.webhook", config.alerts.webhook.is_some()),
        ("alerts.command", config.alerts.command.is_some()),
        ("mdns.discover", config.mdns.discover),
        (&durable, config.topics.iter().any(|topic| topic.durable)),
    ];
    hubs.into_iter().try_for_each(|(key, is_wanted)| wanted(features::HUB, is_wanted, source.at(key)))?;
    if config.commands.enabled() && !config.commands.without_audit && !features::HUB.built_in {
        let message = format!("has to be true here: the audit {}", features::HUB.needed());
        return Err(ConfigError::new(source.at("commands.without_audit"), message));
    }
    Ok(())
}
