//! Log files, followed as they grow, are cut off and are replaced: the kernel says when, nobody looks in vain.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, select};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::feed::LogNews;
use crate::types::fleet::{LogLevel, LogLine, LogSource};

/// The longest line, in bytes; what is longer is told in pieces.
const LINE_BYTES: usize = 16 * 1024;

/// What the directories of the files are asked for.
const CHANGES: WatchFlags = WatchFlags::MODIFY.union(WatchFlags::CREATE).union(WatchFlags::MOVED_TO);

/// The thread that follows files.
pub struct Files {
    notices: OwnedFd,
    /// By the directory's watch, and the name in it.
    files: BTreeMap<i32, Vec<Follow>>,
    news: Sender<LogNews>,
    stop: Receiver<()>,
    /// Becomes readable when the agent ends.
    bell: Arc<OwnedFd>,
}

impl Files {
    /// Begins at the files' ends. A file that is not there yet is read from its beginning when it is; one whose
    /// directory is not there is named in the log.
    ///
    /// # Errors
    /// No inotify to be had.
    pub fn new(paths: &[PathBuf], news: Sender<LogNews>, stop: Receiver<()>, bell: Arc<OwnedFd>) -> io::Result<Files> {
        let notices = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut files: BTreeMap<i32, Vec<Follow>> = BTreeMap::new();
        for path in paths {
            let directory = path.parent().unwrap_or(Path::new("/"));
            match inotify::add_watch(&notices, directory, CHANGES) {
                Ok(watch) => files.entry(watch).or_default().push(Follow::at_end(path)),
                Err(error) => {
                    log::warn!("agent.log_files: '{}' cannot be followed: {error}", path.display());
                }
            }
        }
        Ok(Files { notices, files, news, stop, bell })
    }

    pub fn run(mut self) {
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        loop {
            let mut fds = [PollFd::new(&self.notices, PollFlags::IN), PollFd::new(&*self.bell, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return log::error!("log files are not followed any more: {error}"),
            }
            if !fds[1].revents().is_empty() {
                return;
            }
            let mut notices = inotify::Reader::new(&self.notices, &mut buffer);
            // Where notices were lost every file is looked at.
            let (mut changed, mut all) = (Vec::new(), false);
            while let Ok(notice) = notices.next() {
                all |= notice.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
                let name = notice.file_name().map(|name| name.to_bytes().to_vec());
                changed.push((notice.wd(), name));
            }
            for (watch, files) in &mut self.files {
                for file in files.iter_mut() {
                    let named = |(wd, name): &(i32, Option<Vec<u8>>)| wd == watch && name.as_ref() == Some(&file.name);
                    if (all || changed.iter().any(named)) && !file.read(&self.news, &self.stop) {
                        return;
                    }
                }
            }
        }
    }
}

/// One file.
struct Follow {
    path: PathBuf,
    name: Vec<u8>,
    open: Option<(File, u64)>,
    offset: u64,
    /// A line without its end.
    begun: Vec<u8>,
    /// Whether it could be read the last time, so that this is said once.
    fine: bool,
}

impl Follow {
    fn at_end(path: &Path) -> Follow {
        let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
        let path = path.to_owned();
        let mut follow = Follow { path, name, open: None, offset: 0, begun: Vec::new(), fine: true };
        follow.open();
        if let Some((file, _)) = &follow.open {
            follow.offset = file.metadata().map_or(0, |metadata| metadata.len());
        }
        follow
    }

    /// Opens the file that has the name now, and begins at its beginning.
    fn open(&mut self) {
        self.offset = 0;
        self.begun.clear();
        self.open = match File::open(&self.path).and_then(|file| Ok((file.metadata()?.ino(), file))) {
            Ok((inode, file)) => {
                self.fine = true;
                Some((file, inode))
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound && std::mem::take(&mut self.fine) {
                    log::warn!("agent.log_files: cannot read '{}': {error}", self.path.display());
                }
                None
            }
        };
    }

    /// Tells what is new. `false` where nobody wants to hear it any more.
    fn read(&mut self, news: &Sender<LogNews>, stop: &Receiver<()>) -> bool {
        if self.open.is_none() {
            self.open();
        }
        loop {
            let Some((file, inode)) = &mut self.open else { return true };
            let inode = *inode;
            // Cut off at its beginning, as logrotate's copytruncate does.
            if file.metadata().is_ok_and(|metadata| metadata.len() < self.offset) {
                self.offset = 0;
                self.begun.clear();
            }
            let mut buffer = [0; 8192];
            let read = file.seek(SeekFrom::Start(self.offset)).and_then(|_| file.read(&mut buffer));
            match read {
                Ok(0) => {
                    // The rest of the old file has been read before the new one is.
                    let replaced = std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() != inode);
                    if !replaced {
                        return true;
                    }
                    if !self.tell_begun(news, stop) {
                        return false;
                    }
                    self.open();
                }
                Ok(length) => {
                    self.offset += length as u64;
                    if !self.take(&buffer[..length], news, stop) {
                        return false;
                    }
                }
                Err(error) => {
                    if std::mem::take(&mut self.fine) {
                        log::warn!("agent.log_files: cannot read '{}': {error}", self.path.display());
                    }
                    return true;
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8], news: &Sender<LogNews>, stop: &Receiver<()>) -> bool {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if (part.ends_with(b"\n") || self.begun.len() >= LINE_BYTES) && !self.tell_begun(news, stop) {
                return false;
            }
        }
        true
    }

    fn tell_begun(&mut self, news: &Sender<LogNews>, stop: &Receiver<()>) -> bool {
        let text = String::from_utf8_lossy(&self.begun).trim_end().to_owned();
        self.begun.clear();
        if text.is_empty() {
            return true;
        }
        let line = LogLine {
            level: LogLevel::Info,
            message: text,
            at: None,
            source: Some(LogSource::Application),
            component: Some(self.path.to_string_lossy().into_owned()),
        };
        // Where the spool does not keep up the file waits.
        select! {
            send(news, LogNews { line, cursor: None }) -> sent => sent.is_ok(),
            recv(stop) -> _ => false,
        }
    }
}
