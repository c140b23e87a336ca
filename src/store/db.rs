//! The database file: opening it, also where it cannot be written, and setting a damaged one aside.
//!
//! After SQLite has opened it, nothing else in this process may open `pinwire.db`: POSIX drops all of a process's locks
//! on a file when it closes any descriptor of it, and another process would write into our reads.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Error, ErrorCode, OpenFlags};

use super::schema::{self, Unfit};

/// The database's name in the state directory.
pub const FILE: &str = "pinwire.db";

/// How long a statement waits for another process (`pinwire key`, a backup) to be done with the database.
pub const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// SQLite's page cache, in KiB: what is kept here is small, and so is a Pi.
const CACHE_KIB: i64 = 256;

/// A file up to this size is read whole when it is opened; of a larger one the tables in [`VITAL`] are.
const CHECK_BYTES: u64 = 16 * 1024 * 1024;

/// What says who may come in, and what everything else hangs on.
const VITAL: [&str; 6] = ["facts", "keys", "users", "ended_logins", "servers", "streams"];

/// How far SQLite's log is cut back, in bytes, when it has become larger.
const LOG_BYTES: i64 = 4 * 1024 * 1024;

/// Made beside a database in which damage was met: the next start reads it whole.
const SUSPECT: &str = "pinwire.db.suspect";

/// What SQLite has beside the database file.
const COMPANIONS: [&str; 3] = ["", "-wal", "-shm"];

/// Why there is no database, each with what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "'{0}' was written by a newer Pinwire (its schema is version {1}, this program knows up to {current}): use that \
         version, or another state_dir; it was left as it is",
        current = schema::CURRENT
    )]
    Newer(PathBuf, i64),
    #[error("'{0}' is a database of another program: use another state_dir; it was left as it is")]
    Foreign(PathBuf),
    #[error("'{0}' is damaged: {1}")]
    Damaged(PathBuf, String),
    #[error(
        "there is no database at '{0}': check the directory; a daemon that keeps its state there makes it, as do \
         `pinwire key add` and `pinwire user add`"
    )]
    Missing(PathBuf),
    #[error("'{0}' cannot be used: {1}")]
    Unusable(PathBuf, String),
}

/// An open database.
pub struct Db {
    pub(super) sql: Connection,
    path: PathBuf,
    how: How,
}

/// How far it can be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Write,
    Read,
    /// In a directory where SQLite cannot even keep its locks: what the file held when it was opened.
    Frozen,
    /// There is no file, and there is to be none.
    Memory,
    /// There should be a file and it cannot be used: empty tables to be read.
    Nothing,
}

impl Db {
    /// Opens the database of a state directory, makes it if there is none, and brings it to the current version.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: &Path) -> Result<Db, OpenError> {
        let path = dir.join(FILE);
        if !may_exist(dir) {
            make(&path)?;
        }
        Db::open_existing(dir)
    }

    /// As [`Db::open`], but makes none.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_existing(dir: &Path) -> Result<Db, OpenError> {
        let path = dir.join(FILE);
        if fs::metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Err(OpenError::Missing(path));
        }
        let sql = open_to_write(&path).map_err(|why| explain(&path, why))?;
        Ok(Db { sql, path, how: How::Write })
    }

    /// Opens a database that exists, to look into it and change nothing.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_read_only_existing(dir: &Path) -> Result<Db, OpenError> {
        if may_exist(dir) { Db::open_read_only(dir) } else { Err(OpenError::Missing(dir.join(FILE))) }
    }

    /// The same for who may leave nothing behind: where no other process has it open, SQLite would make files of its own
    /// beside it to read it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_untouched(dir: &Path) -> Result<Db, OpenError> {
        let path = dir.join(FILE);
        if !may_exist(dir) || path.with_file_name(format!("{FILE}-wal")).exists() {
            return Db::open_read_only_existing(dir);
        }
        Db::open_to_read(&path, How::Frozen).map_err(|why| explain(&path, why))
    }

    /// Opens a database that cannot be written, to know its keys all the same.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_read_only(dir: &Path) -> Result<Db, OpenError> {
        let path = dir.join(FILE);
        match Db::open_to_read(&path, How::Read) {
            Ok(db) => Ok(db),
            // With a write-ahead log that cannot be read, the file alone may not know of a revocation.
            Err(why) if has_log(&path) => Err(explain(&path, why)),
            Err(_) => Db::open_to_read(&path, How::Frozen).map_err(|why| explain(&path, why)),
        }
    }

    fn open_to_read(path: &Path, how: How) -> Result<Db, Unfit> {
        let sql = match how {
            How::Frozen => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
                Connection::open_with_flags(frozen(path), flags)?
            }
            _ => Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        prepare(&sql)?;
        schema::version(&sql)?;
        check(&sql, path)?;
        Ok(Db { sql, path: path.to_owned(), how })
    }

    /// A database that ends with the process.
    ///
    /// # Errors
    /// SQLite's.
    pub fn in_memory() -> Result<Db, OpenError> {
        Db::without_file(How::Memory, PathBuf::from(":memory:"))
    }

    /// What is read from where the database of `dir` cannot be used: nothing, and nothing is written.
    ///
    /// # Errors
    /// SQLite's.
    pub fn nothing(dir: &Path) -> Result<Db, OpenError> {
        Db::without_file(How::Nothing, dir.join(FILE))
    }

    fn without_file(how: How, path: PathBuf) -> Result<Db, OpenError> {
        let open = || -> Result<Connection, Unfit> {
            let mut sql = Connection::open_in_memory()?;
            prepare(&sql)?;
            schema::migrate(&mut sql)?;
            Ok(sql)
        };
        let sql = open().map_err(|why| explain(&path, why))?;
        Ok(Db { sql, path, how })
    }

    /// A connection beside this one that only reads and waits for no write; `None` where there can be none.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn reader(&self) -> rusqlite::Result<Option<Connection>> {
        if self.how != How::Write {
            return Ok(None);
        }
        let sql = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        prepare(&sql)?;
        Ok(Some(sql))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bounds the wait for other processes anew.
    pub(super) fn wait_at_most(&self, limit: Duration) -> rusqlite::Result<()> {
        self.sql.busy_timeout(limit)
    }

    pub fn is_writable(&self) -> bool {
        matches!(self.how, How::Write | How::Memory)
    }

    /// Whether other processes can meet it.
    pub(super) fn is_file(&self) -> bool {
        !matches!(self.how, How::Memory | How::Nothing)
    }

    /// Writes something that says nothing, to see whether that is possible.
    pub(super) fn probe(&self, now: SystemTime) -> rusqlite::Result<()> {
        const SQL: &str = "INSERT OR REPLACE INTO facts (name, value) VALUES ('written', ?1)";
        self.sql.execute(SQL, [super::time::millis(now).to_string()]).map(drop)
    }

    /// A number that changes when another connection has changed the database; `None` where that cannot be seen.
    pub fn data_version(&self) -> rusqlite::Result<Option<i64>> {
        match self.how {
            How::Frozen | How::Memory | How::Nothing => Ok(None),
            _ => self.sql.pragma_query_value(None, "data_version", |row| row.get(0)).map(Some),
        }
    }

    /// Looks at the file anew where the connection cannot see changes.
    pub fn thaw(&mut self) {
        if self.how == How::Frozen
            && let Some(Ok(db)) = self.path.parent().map(Db::open_read_only)
        {
            *self = db;
        }
    }
}

/// Has the next start read the whole file, because damage was met in it.
///
/// # Errors
/// The directory cannot be written.
pub fn suspect(dir: &Path) -> io::Result<()> {
    fs::write(dir.join(SUSPECT), "")
}

/// Whether it is worth trying to open the database of `dir` to write it.
pub fn may_be_written(dir: &Path) -> bool {
    use rustix::fs::{Access, access};
    let path = dir.join(FILE);
    access(dir, Access::WRITE_OK).is_ok() && (!path.exists() || access(&path, Access::WRITE_OK).is_ok())
}

/// Whether a state directory may hold keys that cannot be read.
pub fn may_exist(dir: &Path) -> bool {
    match fs::symlink_metadata(dir.join(FILE)) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// Moves a damaged database out of the way, never over another file, and returns its new name.
///
/// # Errors
/// The directory cannot be written.
pub fn set_aside(dir: &Path, now: SystemTime) -> io::Result<PathBuf> {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let path = dir.join(FILE);
    for attempt in 0..100 {
        let suffix = if attempt == 0 { format!(".damaged-{seconds}") } else { format!(".damaged-{seconds}-{attempt}") };
        let target = |companion: &str| dir.join(format!("{FILE}{suffix}{companion}"));
        match rename_new(&path, &target("")) {
            Ok(()) => {
                // The log belongs to the file. Under another name it would be replayed into the new database.
                for companion in &COMPANIONS[1..] {
                    match rename_new(&dir.join(format!("{FILE}{companion}")), &target(companion)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                return Ok(target(""));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that does not know the flag.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !to.exists() => fs::rename(from, to),
        other => other.map_err(io::Error::from),
    }
}

/// Makes a whole, empty database under another name and gives it its own: no other process, and no power cut, meets
/// half of one. Where somebody else was faster, theirs stays.
fn make(path: &Path) -> Result<(), OpenError> {
    let draft = path.with_file_name(format!("{FILE}.new-{}", std::process::id()));
    let unusable = |error: io::Error| OpenError::Unusable(path.to_owned(), error.to_string());
    let remove = || {
        for companion in COMPANIONS {
            let mut name = draft.clone().into_os_string();
            name.push(companion);
            // Mostly there is nothing.
            let _ = fs::remove_file(name);
        }
    };
    // Left by a process of the same number that was killed.
    remove();
    // Made by us, so that only its owner may read it; SQLite's other files follow its mode.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(unusable)?;
    let made = open_to_write(&draft).and_then(|sql| sql.close().map_err(|(_, error)| Unfit::Sql(error)));
    let named = made.map_err(|why| explain(path, why)).and_then(|()| match rename_new(&draft, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(unusable(error)),
        _ => Ok(()),
    });
    remove();
    named?;
    match path.parent().map(|dir| fs::File::open(dir).and_then(|dir| dir.sync_all())) {
        Some(Err(error)) => Err(unusable(error)),
        _ => Ok(()),
    }
}

fn open_to_write(path: &Path) -> Result<Connection, Unfit> {
    let mut sql = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    prepare(&sql)?;
    // Before anything is written: what is not ours is left alone.
    schema::version(&sql)?;
    // SQLite opens what it may not write all the same.
    if sql.is_readonly("main")? {
        return Err(Unfit::Sql(Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY), None)));
    }
    check(&sql, path)?;
    if sql.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))? != "wal" {
        sql.pragma_update(None, "journal_mode", "wal")?;
    }
    // A key that was revoked stays so after a power cut.
    sql.pragma_update(None, "synchronous", "FULL")?;
    sql.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    schema::migrate(&mut sql)?;
    // It was read whole, or is a new one.
    let _ = fs::remove_file(path.with_file_name(SUSPECT));
    Ok(sql)
}

fn prepare(sql: &Connection) -> rusqlite::Result<()> {
    sql.busy_timeout(BUSY_LIMIT)?;
    sql.pragma_update(None, "cache_size", -CACHE_KIB)?;
    sql.pragma_update(None, "trusted_schema", false)
}

/// Looks for damage: in the whole file where that is small or suspected, else in the vital tables. What it does not find
/// is met when it is read, and makes the file a suspect.
fn check(sql: &Connection, path: &Path) -> rusqlite::Result<()> {
    let size = fs::metadata(path).map_or(0, |meta| meta.len());
    if size <= CHECK_BYTES || path.with_file_name(SUSPECT).exists() {
        return sound(sql.pragma_query_value(None, "quick_check", |row| row.get(0))?);
    }
    let known = |table: &str| {
        let query = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)";
        sql.query_row(query, [table], |row| row.get::<_, bool>(0))
    };
    for table in VITAL {
        if known(table)? {
            sound(sql.query_row(&format!("PRAGMA quick_check({table})"), [], |row| row.get(0))?)?;
        }
    }
    Ok(())
}

fn sound(found: String) -> rusqlite::Result<()> {
    if found == "ok" {
        return Ok(());
    }
    let first = found.lines().next().unwrap_or_default().to_owned();
    Err(Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(first)))
}

fn explain(path: &Path, why: Unfit) -> OpenError {
    let path = path.to_owned();
    match why {
        Unfit::Newer(version) => OpenError::Newer(path, version),
        Unfit::Foreign => OpenError::Foreign(path),
        Unfit::Sql(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Damaged(path, error.to_string()),
            _ => OpenError::Unusable(path, error.to_string()),
        },
    }
}

fn has_log(path: &Path) -> bool {
    let log = path.with_file_name(format!("{FILE}-wal"));
    match fs::metadata(log) {
        Ok(meta) => meta.len() > 0,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// The file as a URI that tells SQLite to need no locks and no other files.
fn frozen(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = String::from("file:");
    for byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}
