//! Records on disk: capped files, written once from front to back, and removed as a whole.
//!
//! A file begins with what it is and whose records it holds; each record is its length, a CRC-32 of what follows, and
//! the record. What a power cut has torn off at the end is missing; the records before it are good.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Entry, Kind, Run};
use crate::wire::chatops::client::Packed;

/// What a file begins with.
const MAGIC: &[u8; 8] = b"PWSPOOL1";

/// The ending of a file's name, behind its number.
const ENDING: &str = "seg";

/// The most bytes of a record; what says it is longer is torn.
const MAX_RECORD: usize = 4 << 20;

/// Bytes of a record besides its text.
const FIXED: usize = 8 + 8 + 1 + 4;

/// A file of records, as it is known without reading it again.
pub struct Segment {
    pub path: PathBuf,
    pub run: Run,
    pub last: u64,
    pub records: u64,
    pub bytes: u64,
}

/// Opens a new file for this run's records.
pub fn create(dir: &Path, number: u64, run: &Run) -> io::Result<(File, Segment)> {
    let path = dir.join(format!("{number:016x}.{ENDING}"));
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
    let mut head = MAGIC.to_vec();
    for text in [&*run.stream, run.boot_id.as_deref().unwrap_or_default()] {
        head.push(u8::try_from(text.len()).map_err(io::Error::other)?);
        head.extend_from_slice(text.as_bytes());
    }
    file.write_all(&head)?;
    // Its name must survive a power cut as well as its content.
    File::open(dir)?.sync_all()?;
    let segment = Segment { path, run: run.clone(), last: 0, records: 0, bytes: head.len() as u64 };
    Ok((file, segment))
}

/// Appends a record's bytes.
pub fn write(out: &mut Vec<u8>, entry: &Entry) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&entry.seq.to_le_bytes());
    out.extend_from_slice(&entry.monotonic_ns.to_le_bytes());
    out.push(u8::from(entry.synchronised) | u8::from(entry.kind == Kind::Sample) << 1);
    out.extend_from_slice(&(entry.packed.stamp_at as u32).to_le_bytes());
    out.extend_from_slice(&entry.packed.text);
    let length = (out.len() - start - 8) as u32;
    let sum = crc32fast::hash(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
}

/// Reads a file's records one by one.
pub struct Records {
    file: BufReader<File>,
    pub run: Run,
}

impl Records {
    /// # Errors
    /// The file cannot be read, or is none of these.
    pub fn open(path: &Path) -> io::Result<Records> {
        let mut file = BufReader::new(File::open(path)?);
        let mut magic = [0; 8];
        file.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(io::Error::other("it does not begin as a spool file does"));
        }
        let stream = Arc::from(text(&mut file)?);
        let boot_id = Some(text(&mut file)?).filter(|id| !id.is_empty()).map(Arc::from);
        Ok(Records { file, run: Run { stream, boot_id } })
    }

    /// The next record; `None` at the end, and where the rest is torn.
    pub fn next(&mut self) -> Option<Entry> {
        let mut head = [0; 8];
        self.file.read_exact(&mut head).ok()?;
        let [a, b, c, d, sum @ ..] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if !(FIXED..=MAX_RECORD).contains(&length) {
            return None;
        }
        let mut record = vec![0; length];
        self.file.read_exact(&mut record).ok()?;
        if crc32fast::hash(&record) != u32::from_le_bytes(sum) {
            return None;
        }
        let number = |at: usize| Some(u64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?));
        let (seq, monotonic_ns) = (number(0)?, number(8)?);
        let flags = *record.get(16)?;
        let stamp_at = u32::from_le_bytes(record.get(17..21)?.try_into().ok()?) as usize;
        Some(Entry {
            seq,
            monotonic_ns,
            synchronised: flags & 1 != 0,
            kind: if flags & 2 != 0 { Kind::Sample } else { Kind::Other },
            packed: Packed { text: record.split_off(FIXED), stamp_at },
        })
    }
}

fn text(file: &mut impl Read) -> io::Result<String> {
    let mut length = [0];
    file.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from(length[0])];
    file.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The files that earlier runs left, oldest first, and the number for the next one. What cannot be read is named in the
/// log and removed: it would be in the way for ever.
///
/// # Errors
/// The directory cannot be made or read.
pub fn found(dir: &Path) -> io::Result<(Vec<Segment>, u64)> {
    fs::create_dir_all(dir)?;
    let mut numbered = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|ending| ending == ENDING)) {
            numbered.push((number, path));
        }
    }
    numbered.sort();
    let next = numbered.last().map_or(0, |(number, _)| number + 1);
    let mut segments = Vec::new();
    for (_, path) in numbered {
        match look_through(&path) {
            Ok(segment) if segment.records > 0 => segments.push(segment),
            Ok(_) => drop(fs::remove_file(&path)),
            Err(error) => {
                log::warn!("spool file '{}' is of no use and removed: {error}", path.display());
                let _ = fs::remove_file(&path);
            }
        }
    }
    Ok((segments, next))
}

fn look_through(path: &Path) -> io::Result<Segment> {
    let mut records = Records::open(path)?;
    let bytes = fs::metadata(path)?.len();
    let mut segment = Segment { path: path.to_owned(), run: records.run.clone(), last: 0, records: 0, bytes };
    while let Some(entry) = records.next() {
        segment.last = segment.last.max(entry.seq);
        segment.records += 1;
    }
    Ok(segment)
}
