//! The audit: what was asked for, by whom, and what came of it; each record's hash covers it and the hash before.
//!
//! Whoever changes a record, takes one out or puts one in would have to change all that follow. Every hash is logged
//! too, so the journal tells of a chain that was made anew or cut at its end; the number and hash of the last record are
//! besides among the database's facts, which tells of one that was cut without care. Records are never taken away.

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};

use super::time::{millis, moment};
use super::{Db, Store, StoreError};
use crate::types::fleet::{AuditEntry, AuditPhase, Issuer};

/// The longest text of a record, in bytes; the rest is cut off.
const TEXT_BYTES: usize = 4096;

/// Said in place of what was cut off.
const CUT: &str = "… (cut)";

/// What every hash begins with, so that none of ours is anything else.
const DOMAIN: &[u8] = b"pinwire audit 1\0";

/// The fact that holds the number and hash of the last record.
const HEAD: &str = "audit_head";

type Hash = [u8; 32];

/// A record in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// From 1, without holes.
    pub number: u64,
    pub entry: AuditEntry,
    pub hash: Hash,
}

/// Where the chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditBroken {
    #[error("record {0} is missing")]
    Missing(u64),
    #[error("record {0} was changed: its hash does not cover what it says now")]
    Changed(u64),
    #[error("record {0} does not follow the one before it")]
    Unlinked(u64),
    #[error("the audit was cut: it ends with record {0}, and there was a record {1}")]
    Cut(u64, u64),
}

/// A row as it is in the table.
struct Stored {
    number: i64,
    at: i64,
    phase: String,
    order_id: String,
    who: String,
    key_id: Option<String>,
    origin: String,
    what: String,
    result: Option<String>,
    previous: Vec<u8>,
    hash: Vec<u8>,
}

impl Stored {
    /// SHA-256 over the previous hash and all that the row says, each text with its length before it.
    fn digest(&self) -> Hash {
        let mut hash = Sha256::new();
        let mut text = |text: Option<&str>| {
            hash.update([u8::from(text.is_some())]);
            let bytes = text.unwrap_or_default().as_bytes();
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        text(Some(&self.phase));
        text(Some(&self.order_id));
        text(Some(&self.who));
        text(self.key_id.as_deref());
        text(Some(&self.origin));
        text(Some(&self.what));
        text(self.result.as_deref());
        let texts = hash.finalize();
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(&self.previous);
        hash.update(self.number.to_be_bytes());
        hash.update(self.at.to_be_bytes());
        hash.update(texts);
        hash.finalize().into()
    }
}

impl Store {
    /// Appends a record, on the disk when this returns, and returns its number. Texts beyond 4 KiB are cut.
    ///
    /// # Errors
    /// See [`StoreError`]: the record is not kept then.
    pub fn audit(&self, entry: AuditEntry) -> Result<u64, StoreError> {
        let (number, hash) = self.write(move |sql| append(sql, &entry))?;
        // After a power cut the journal may know more than the database, never less.
        log::info!(target: "audit", "record {number} sha256 {}", hex(&hash));
        Ok(number)
    }
}

impl Db {
    /// Hands every record to `each`, the oldest first, and checks the chain on the way to the last. The outer error is
    /// SQLite's or `each`'s own.
    ///
    /// # Errors
    /// SQLite's, or what `each` says.
    pub fn audit<E: From<rusqlite::Error>>(
        &self,
        mut each: impl FnMut(AuditRecord) -> Result<(), E>,
    ) -> Result<Result<u64, AuditBroken>, E> {
        // One state of the database, whatever a daemon appends meanwhile.
        let reading = self.sql.unchecked_transaction()?;
        walk(&reading, &mut each)
    }
}

fn append(sql: &Connection, entry: &AuditEntry) -> rusqlite::Result<(u64, Hash)> {
    const LAST: &str = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1";
    const SQL: &str =
        "INSERT INTO audit (number, at, phase, order_id, who, key_id, origin, what, result, previous, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let last = sql.query_row(LAST, [], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?))).optional()?;
    let (last, previous) = last.unwrap_or((0, vec![0; 32]));
    let mut row = Stored {
        number: last + 1,
        at: millis(entry.at),
        phase: entry.phase.as_str().to_owned(),
        order_id: cut(&entry.order_id),
        who: cut(&entry.issuer.who),
        key_id: entry.issuer.id.as_deref().map(cut),
        origin: cut(&entry.issuer.from),
        what: cut(&entry.what),
        result: entry.result.as_deref().map(cut),
        previous,
        hash: Vec::new(),
    };
    let hash = row.digest();
    row.hash = hash.to_vec();
    let Stored { number, at, phase, order_id, who, key_id, origin, what, result, previous, hash: bytes } = row;
    sql.execute(SQL, params![number, at, phase, order_id, who, key_id, origin, what, result, previous, bytes])?;
    let head = format!("{number} {}", hex(&hash));
    sql.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?1, ?2)", [HEAD, &head])?;
    Ok((number.unsigned_abs(), hash))
}

fn walk<E: From<rusqlite::Error>>(
    sql: &Connection,
    each: &mut dyn FnMut(AuditRecord) -> Result<(), E>,
) -> Result<Result<u64, AuditBroken>, E> {
    const SQL: &str = "SELECT number, at, phase, order_id, who, key_id, origin, what, result, previous, hash
         FROM audit ORDER BY number";
    let mut broken = None;
    let (mut last, mut before) = (0, vec![0; 32]);
    let mut statement = sql.prepare(SQL)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let row = stored(row)?;
        let hash = row.digest();
        let number = row.number.unsigned_abs();
        let fault = if row.number != last + 1 {
            Some(AuditBroken::Missing((last + 1).unsigned_abs()))
        } else if hash[..] != row.hash[..] {
            Some(AuditBroken::Changed(number))
        } else if row.previous != before {
            Some(AuditBroken::Unlinked(number))
        } else {
            None
        };
        broken = broken.or(fault);
        (last, before) = (row.number, row.hash.clone());
        each(record(row, hash))?;
    }
    let head: Option<String> =
        sql.query_row("SELECT value FROM facts WHERE name = ?1", [HEAD], |row| row.get(0)).optional()?;
    let head = head.as_deref().and_then(|head| head.split_once(' '));
    if broken.is_none()
        && let Some((number, hash)) = head
    {
        match number.parse::<i64>() {
            Ok(number) if number > last => {
                broken = Some(AuditBroken::Cut(last.unsigned_abs(), number.unsigned_abs()));
            }
            Ok(number) if number == last && hash == hex(&before) => {}
            _ => broken = Some(AuditBroken::Changed(last.unsigned_abs())),
        }
    }
    Ok(match broken {
        Some(broken) => Err(broken),
        None => Ok(last.unsigned_abs()),
    })
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        number: row.get(0)?,
        at: row.get(1)?,
        phase: row.get(2)?,
        order_id: row.get(3)?,
        who: row.get(4)?,
        key_id: row.get(5)?,
        origin: row.get(6)?,
        what: row.get(7)?,
        result: row.get(8)?,
        previous: row.get(9)?,
        hash: row.get(10)?,
    })
}

fn record(row: Stored, hash: Hash) -> AuditRecord {
    let issuer = Issuer { who: row.who, id: row.key_id, from: row.origin };
    let entry = AuditEntry {
        at: moment(row.at),
        // Another word is found by the hash.
        phase: AuditPhase::from_word(&row.phase).unwrap_or(AuditPhase::After),
        order_id: row.order_id,
        issuer,
        what: row.what,
        result: row.result,
    };
    AuditRecord { number: row.number.unsigned_abs(), entry, hash }
}

fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES {
        return text.to_owned();
    }
    let mut end = TEXT_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{CUT}", &text[..end])
}

/// A hash as it is logged.
pub fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::with_capacity(2 * hash.len()), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn entry(what: &str) -> AuditEntry {
        AuditEntry {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            phase: AuditPhase::After,
            order_id: "o".into(),
            issuer: Issuer { who: "ann".into(), id: None, from: "192.0.2.1".into() },
            what: what.into(),
            result: Some("exit code 0".into()),
        }
    }

    fn database(records: u64) -> Db {
        let db = Db::in_memory().expect("memory");
        for number in 1..=records {
            assert_eq!(append(&db.sql, &entry("reboot")).expect("appended").0, number);
        }
        db
    }

    fn verify(db: &Db) -> Result<u64, AuditBroken> {
        db.audit(|_| Ok::<(), rusqlite::Error>(())).expect("reads")
    }

    #[test]
    fn whatever_is_changed_is_found_and_named() {
        assert_eq!((verify(&database(0)), verify(&database(3))), (Ok(0), Ok(3)));
        let cases = [
            ("UPDATE audit SET what = 'rebooT' WHERE number = 2", AuditBroken::Changed(2)),
            ("UPDATE audit SET at = at + 1 WHERE number = 1", AuditBroken::Changed(1)),
            ("UPDATE audit SET key_id = '' WHERE number = 3", AuditBroken::Changed(3)),
            ("UPDATE audit SET result = NULL WHERE number = 3", AuditBroken::Changed(3)),
            ("UPDATE audit SET who = 'annr', origin = 'eboot' WHERE number = 3", AuditBroken::Changed(3)),
            ("UPDATE audit SET phase = 'never' WHERE number = 3", AuditBroken::Changed(3)),
            ("DELETE FROM audit WHERE number = 2", AuditBroken::Missing(2)),
            ("DELETE FROM audit WHERE number = 1", AuditBroken::Missing(1)),
            ("DELETE FROM audit WHERE number = 3", AuditBroken::Cut(2, 3)),
            ("DELETE FROM audit", AuditBroken::Cut(0, 3)),
            ("UPDATE audit SET hash = zeroblob(32) WHERE number = 3", AuditBroken::Changed(3)),
        ];
        for (change, broken) in cases {
            let db = database(3);
            db.sql.execute(change, []).expect("SQL");
            assert_eq!(verify(&db), Err(broken), "{change}");
        }
    }

    #[test]
    fn a_record_that_was_made_anew_does_not_fit_into_the_chain() {
        let db = database(3);
        let select = "SELECT number, at, phase, order_id, who, key_id, origin, what, result, previous, hash
             FROM audit WHERE number = 2";
        let mut row = db.sql.query_row(select, [], stored).expect("a row");
        row.what = "harmless".into();
        let update = "UPDATE audit SET what = ?1, hash = ?2 WHERE number = 2";
        db.sql.execute(update, params![row.what, row.digest()]).expect("SQL");
        assert_eq!(verify(&db), Err(AuditBroken::Unlinked(3)));
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let db = database(0);
        append(&db.sql, &entry(&"é".repeat(TEXT_BYTES))).expect("appended");
        let mut what = String::new();
        db.audit(|record| {
            what = record.entry.what;
            Ok::<(), rusqlite::Error>(())
        })
        .expect("reads")
        .expect("verifies");
        assert!(what.ends_with(CUT) && what.len() <= TEXT_BYTES + CUT.len(), "{}", what.len());
    }
}
