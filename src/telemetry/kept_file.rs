//! A kernel file that stays open between readings.
//!
//! Files of procfs and sysfs make their content anew for each read at offset 0, so one `pread` is a whole
//! reading; opening and closing would cost more than twice as much.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A small file that is opened on first use and then kept open.
pub struct KeptFile {
    path: PathBuf,
    file: Mutex<Option<Arc<File>>>,
    /// Whether the last reading failed: failures are logged when they begin, not each time.
    failing: AtomicBool,
}

impl KeptFile {
    /// Opens nothing yet.
    pub fn new(path: PathBuf) -> KeptFile {
        KeptFile { path, file: Mutex::new(None), failing: AtomicBool::new(false) }
    }

    /// Reads the file's beginning, as much as `buffer` takes. If the open file no longer answers (its device
    /// was removed, its driver reloaded), it is opened anew, once.
    ///
    /// # Errors
    /// As the system reports them; an empty file is an unexpected end.
    pub fn read<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let outcome = match self.kept().and_then(|file| pread(&file, buffer).ok()) {
            Some(length) => Ok(length),
            None => self.reopened().and_then(|file| pread(&file, buffer)),
        };
        self.note(&outcome);
        outcome.map(|length| &buffer[..length])
    }

    fn kept(&self) -> Option<Arc<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reopened(&self) -> io::Result<Arc<File>> {
        let opened = File::open(&self.path).map(Arc::new);
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = opened.as_ref().ok().cloned();
        opened
    }

    fn note(&self, outcome: &io::Result<usize>) {
        let failed = outcome.is_err();
        if self.failing.load(Ordering::Relaxed) != failed {
            self.failing.store(failed, Ordering::Relaxed);
            if let Err(error) = outcome {
                log::debug!("{}: {error}", self.path.display());
            }
        }
    }
}

fn pread(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    match rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *buffer, 0))? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(length),
    }
}

/// Reads a small text file once: a name, a type, one number. Only the first 256 bytes count; trailing blanks and NULs (the
/// device tree's) do not.
///
/// # Errors
/// As the system reports them; an empty file is an unexpected end.
pub fn read_name(path: &Path) -> io::Result<String> {
    let mut buffer = [0; 256];
    let length = pread(&File::open(path)?, &mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).trim_end_matches(['\0', '\n', ' ']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::Tree;

    #[test]
    fn each_read_sees_the_present_content() {
        let tree = Tree::new();
        tree.write("value", "1\n");
        let file = KeptFile::new(tree.path().join("value"));
        assert_eq!(file.read(&mut [0; 16]).unwrap(), b"1\n");
        tree.write("value", "22\n");
        assert_eq!(file.read(&mut [0; 16]).unwrap(), b"22\n");
        assert_eq!(file.read(&mut [0; 1]).unwrap(), b"2");
    }

    #[test]
    fn a_file_that_no_longer_answers_is_opened_anew() {
        let tree = Tree::new();
        tree.write("value", "old");
        let file = KeptFile::new(tree.path().join("value"));
        file.read(&mut [0; 16]).unwrap();
        // The file that is open becomes empty, which is as near to a removed device as a plain file gets.
        tree.write("value", "");
        tree.remove("value");
        tree.write("value", "new");
        assert_eq!(file.read(&mut [0; 16]).unwrap(), b"new");
    }

    #[test]
    fn absence_is_an_error_until_the_file_appears() {
        let tree = Tree::new();
        let file = KeptFile::new(tree.path().join("value"));
        assert_eq!(file.read(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::NotFound);
        tree.write("value", "");
        assert_eq!(file.read(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        tree.write("value", "x");
        assert_eq!(file.read(&mut [0; 16]).unwrap(), b"x");
    }

    #[test]
    fn names_lose_their_terminators() {
        let tree = Tree::new();
        tree.write("model", "Raspberry Pi 5 Model B Rev 1.0\0");
        tree.write("type", "cpu-thermal\n");
        assert_eq!(read_name(&tree.path().join("model")).unwrap(), "Raspberry Pi 5 Model B Rev 1.0");
        assert_eq!(read_name(&tree.path().join("type")).unwrap(), "cpu-thermal");
        assert!(read_name(&tree.path().join("absent")).is_err());
    }
}
