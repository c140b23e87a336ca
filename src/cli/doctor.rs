//! `pinwire doctor` as typed.

use clap::Args;

use super::AgentArgs;
use crate::config::Flags;

/// The flags of `agent`, which are those of `serve` and more.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Looks at what `serve` would do with these flags, or with --agent, --hub and its like what `agent` would.\n\
                  Changes nothing, needs no running daemon. Exit codes: 0 no problem, 1 a problem, 2 bad usage or \
                  configuration."
)]
pub struct DoctorArgs {
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
    /// Look at what `pinwire agent` would do; --hub, --key-file, --ca, --pin and --name mean the same
    #[arg(long)]
    pub agent: bool,
    #[command(flatten)]
    pub daemon: AgentArgs,
}

impl DoctorArgs {
    /// Whether an agent is looked at.
    pub fn as_agent(&self) -> bool {
        let AgentArgs { hub, key_file, ca, pin, name, .. } = &self.daemon;
        self.agent || hub.is_some() || key_file.is_some() || ca.is_some() || pin.is_some() || name.is_some()
    }
}

impl From<&DoctorArgs> for Flags {
    fn from(args: &DoctorArgs) -> Flags {
        let flags = Flags::from(&args.daemon);
        if args.as_agent() { flags } else { Flags { agent: None, ..flags } }
    }
}
