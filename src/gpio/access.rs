//! Waiting for udev: after an export the files belong to root, until a rule has given them to the group `gpio`.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::rt::clock;

/// How long udev gets. It takes some tens of milliseconds on a Pi, more while the machine boots.
pub const UDEV_LIMIT: Duration = Duration::from_secs(1);

/// Waits until all of these files may be written, at most [`UDEV_LIMIT`] for all together.
///
/// # Errors
/// The file that may not be written, and why. Anything but a lack of permission is told at once.
pub fn await_writable(files: &[PathBuf]) -> Result<(), (PathBuf, io::Error)> {
    let until = clock::now() + UDEV_LIMIT;
    let mut notices: Option<OwnedFd> = None;
    for file in files {
        while let Err(error) = probe(file) {
            let failed = |error| (file.clone(), error);
            if error.kind() != io::ErrorKind::PermissionDenied {
                return Err(failed(error));
            }
            let Some(notices) = &notices else {
                // Probed once more afterwards: udev may have come between the two.
                notices = Some(watch(files).map_err(failed)?);
                continue;
            };
            if !wait(notices, until).map_err(failed)? {
                return Err(failed(error));
            }
        }
    }
    Ok(())
}

/// Opening for writing has no effect on these files, and says what a write would.
fn probe(file: &Path) -> io::Result<()> {
    File::options().write(true).open(file).map(drop)
}

fn watch(files: &[PathBuf]) -> io::Result<OwnedFd> {
    let notices = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    for file in files {
        inotify::add_watch(&notices, file, WatchFlags::ATTRIB)?;
    }
    Ok(notices)
}

/// Waits for the next change of anybody's permission; `false` when the time is up.
fn wait(notices: &OwnedFd, until: std::time::Instant) -> io::Result<bool> {
    loop {
        let left = until.saturating_duration_since(clock::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(notices, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // What changed is found out by trying; the notices only have to be gone.
    let mut buffer = [0; 4096];
    while rustix::io::read(notices, &mut buffer).is_ok_and(|length| length > 0) {}
    Ok(true)
}
