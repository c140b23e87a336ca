//! What this program was built with: cargo's features, by name. What a feature costs is in the README.

/// A part that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    pub built_in: bool,
}

/// Being a hub: the store and its keys and users, the fleet, alerts, nodes, and their REST and sockets.
pub const HUB: Feature = Feature { name: "hub", built_in: cfg!(feature = "hub") };

/// Serving TLS, and `wss://` and `https://` on the way out.
pub const TLS: Feature = Feature { name: "tls", built_in: cfg!(feature = "tls") };
/// Announcing this device by multicast DNS, and finding others.
pub const MDNS: Feature = Feature { name: "mdns", built_in: cfg!(feature = "mdns") };

/// What a hub may have this device run: templates, and a shell.
pub const COMMANDS: Feature = Feature { name: "commands", built_in: cfg!(feature = "commands") };
/// This device's own containers, told and acted on.
pub const DOCKER: Feature = Feature { name: "docker", built_in: cfg!(feature = "docker") };

/// This device as an agent of a hub on another machine.
pub const AGENT: Feature = Feature { name: "agent", built_in: cfg!(feature = "agent") };

pub const ALL: [Feature; 6] = [HUB, TLS, MDNS, COMMANDS, DOCKER, AGENT];

impl Feature {
    /// What to tell somebody who asks for a part that was left out; `what` is the key, the flag or the command.
    pub fn needed_by(self, what: &str) -> String {
        format!("{what} {}", self.needed())
    }

    /// The same, behind the place of a key.
    pub fn needed(self) -> String {
        format!("needs the feature {:?}, which this pinwire was built without", self.name)
    }
}

/// The names of all that is built in, with spaces between.
pub fn built_in() -> String {
    let names: Vec<&str> = ALL.iter().filter(|feature| feature.built_in).map(|feature| feature.name).collect();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}
