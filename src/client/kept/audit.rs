//! `pinwire audit`: what was asked for, by whom, and what came of it; and whether that is all as it was written.

use std::path::Path;

use serde_json::json;

use super::super::{ClientError, print_line};
use crate::cli::AuditArgs;
use crate::store::{AuditRecord, Db, OpenError, hex};
use crate::types::plain::plain;

/// Prints the records, the oldest first, and what the check of the chain came to, whether or not a daemon is running.
///
/// # Errors
/// There is no database, it cannot be read, or a record is not as it was written.
pub fn audit(args: &AuditArgs, dir: &Path) -> Result<(), ClientError> {
    let db = Db::open_existing(dir).or_else(|why| match why {
        OpenError::Unusable(..) => Db::open_read_only(dir),
        other => Err(other),
    });
    let db = db.map_err(|why| ClientError(why.to_string()))?;
    let mut last = None;
    let walked = db.audit(|record| {
        last = Some(hex(&record.hash));
        match (args.verify, args.json) {
            (true, _) => Ok(()),
            (false, true) => print_line(&object(&record)),
            (false, false) => print_line(&line(&record)),
        }
        .map_err(Failed::Client)
    });
    let records = match walked {
        Ok(Ok(records)) => records,
        Ok(Err(broken)) => {
            return Err(ClientError(format!(
                "the audit in '{}' is not as it was written: {broken}",
                db.path().display()
            )));
        }
        Err(Failed::Client(error)) => return Err(error),
        Err(Failed::Sql(error)) => {
            return Err(ClientError(format!("'{}' cannot be read: {error}", db.path().display())));
        }
    };
    let verdict = match last {
        Some(hash) => format!("{records} records, the chain is whole; record {records} has sha256 {hash}"),
        None => "there are no records".to_owned(),
    };
    if args.verify {
        return print_line(&verdict);
    }
    eprintln!("pinwire: {verdict}");
    Ok(())
}

enum Failed {
    Client(ClientError),
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Failed {
        Failed::Sql(error)
    }
}

fn line(record: &AuditRecord) -> String {
    let AuditRecord { number, entry, .. } = record;
    let time = humantime::format_rfc3339_millis(entry.at);
    let id = entry.issuer.id.as_deref().map(|id| format!(" ({id})")).unwrap_or_default();
    let issuer = format!("{}{id} from {}", entry.issuer.who, entry.issuer.from);
    let result = entry.result.as_deref().map(|result| format!(" -> {result}")).unwrap_or_default();
    let phase = entry.phase.as_str();
    plain(&format!("{number:>5}  {time}  {phase:6}  {}  {issuer}: {}{result}", entry.order_id, entry.what)).into_owned()
}

fn object(record: &AuditRecord) -> String {
    let AuditRecord { number, entry, hash } = record;
    json!({
        "number": number,
        "time": humantime::format_rfc3339_millis(entry.at).to_string(),
        "phase": entry.phase.as_str(),
        "order_id": entry.order_id,
        "who": entry.issuer.who,
        "id": entry.issuer.id,
        "from": entry.issuer.from,
        "what": entry.what,
        "result": entry.result,
        "sha256": hex(hash),
    })
    .to_string()
}
