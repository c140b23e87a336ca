//! `pinwire agent` as typed.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::ServeArgs;
use crate::config::{AgentFlags, Flags};

/// The flags of `agent`: those of `serve`, and the hub.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Listens only where --listen or the file says so. Secrets are never arguments: the key is in a file."
)]
pub struct AgentArgs {
    /// The hub, as wss://HOST:PORT, with a path where it stands behind one [default: agent.hub in the file]
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    pub hub: Option<String>,
    /// The file with this device's key, as the hub made it [default: agent.key_file in the file]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Trust these PEM certificates instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Trust exactly the certificate or public key with this SHA-256, in hexadecimal or Base64
    #[arg(long, value_name = "SHA256", value_parser = NonEmptyStringValueParser::new())]
    pub pin: Option<String>,
    /// Call the device this [default: its node_id]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub name: Option<String>,
    #[command(flatten)]
    pub serve: ServeArgs,
}

impl From<&AgentArgs> for Flags {
    fn from(args: &AgentArgs) -> Flags {
        let agent = AgentFlags {
            hub: args.hub.clone(),
            key_file: args.key_file.clone(),
            ca: args.ca.clone(),
            pin: args.pin.clone(),
            name: args.name.clone(),
        };
        Flags { agent: Some(agent), ..Flags::from(&args.serve) }
    }
}
