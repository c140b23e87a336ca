//! `pinwire audit` as typed.

use clap::Args;

use super::StoreArgs;

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit code 1 where a record was changed, taken out or cut off; it says which. The daemon logs every \
                        record's hash (target \"audit\"): compare the last one with the journal."
)]
pub struct AuditArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print each record as a JSON object on a line of its own
    #[arg(long)]
    pub json: bool,
    /// Print no records, only whether the chain is whole
    #[arg(long, conflicts_with = "json")]
    pub verify: bool,
}
