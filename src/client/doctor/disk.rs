//! Where state is kept: whether it can be written and has room; and the same of the root, which is the SD card.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfs, StatVfsMountFlags, statvfs};

use super::Patient;
use super::report::Finding;

const MIB: u64 = 1024 * 1024;

/// With less than this nothing is kept for long.
const LITTLE: u64 = 64 * MIB;
/// A twentieth of a large disk is still plenty.
const PLENTY: u64 = 1024 * MIB;

const ROOM: &str = "`sudo journalctl --vacuum-size=50M`, `sudo apt clean`, then look with `sudo du -xh / | sort -h | \
                    tail`; store.max_mib bounds what pinwire keeps";

pub fn look(patient: &Patient) -> Vec<Finding> {
    let config = &patient.config;
    let mut findings = vec![];
    let state = config.state_dir.as_deref();
    match state {
        None => findings.push(Finding::note(
            "disk",
            "there is no state_dir: keys, users, history and kept levels do not outlive the daemon",
            "set state_dir, such as \"/var/lib/pinwire\"",
        )),
        Some(dir) => findings.push(writable(patient, dir)),
    }
    let place = state.and_then(|dir| dir.ancestors().find(|dir| dir.is_dir()).map(Path::to_owned));
    let same = place.as_deref().is_some_and(|place| device(place).is_some() && device(place) == device(&config.root));
    let places = [place.filter(|_| !same), Some(config.root.clone())];
    for (place, what) in places.into_iter().zip(["the state directory's file system", "the root file system"]) {
        findings.extend(place.map(|place| space(&place, what)));
    }
    findings
}

fn device(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|meta| meta.dev())
}

fn writable(patient: &Patient, dir: &Path) -> Finding {
    let name = dir.display();
    let who = &patient.subject.name;
    if let Err(error) = fs::metadata(dir) {
        let above = dir.ancestors().skip(1).find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
        let fix = format!("`sudo install -d -o {who} -m 0700 {name}`");
        return match error.kind() {
            io::ErrorKind::NotFound if patient.subject.may(above, Access::WRITE_OK | Access::EXEC_OK) => {
                Finding::ok("disk", format!("state_dir {name} does not exist yet, and can be made at the start"))
            }
            io::ErrorKind::NotFound => {
                let above = above.display();
                let what = format!("state_dir {name} does not exist, and '{who}' may not make it in {above}");
                Finding::problem("disk", what, &fix)
            }
            _ => Finding::problem("disk", format!("state_dir {name} cannot be looked at: {error}"), &fix),
        };
    }
    if !dir.is_dir() {
        let what = format!("state_dir {name} is no directory");
        return Finding::problem("disk", what, "name a directory, or move away what stands there");
    }
    let own = format!("`sudo chown -R {who} {name}`");
    if patient.subject.is_other() {
        return match patient.subject.may(dir, Access::WRITE_OK | Access::EXEC_OK) {
            true => match probe(dir) {
                Ok(()) => Finding::ok("disk", format!("state_dir {name} can be written by '{who}'")),
                Err(error) => refused(&name.to_string(), &error, &own),
            },
            false => Finding::problem("disk", format!("state_dir {name}: '{who}' may not write it"), &own),
        };
    }
    match probe(dir) {
        Ok(()) => Finding::ok("disk", format!("state_dir {name} can be written")),
        Err(error) => refused(&name.to_string(), &error, &own),
    }
}

fn refused(name: &str, error: &io::Error, own: &str) -> Finding {
    let (why, fix) = match error.kind() {
        io::ErrorKind::PermissionDenied => ("this user may not".to_owned(), own),
        io::ErrorKind::ReadOnlyFilesystem => ("its file system is read-only".to_owned(), REMOUNT),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ("there is no room".to_owned(), ROOM),
        _ => (error.to_string(), "`dmesg | tail` may say more; a card with errors is to be replaced"),
    };
    Finding::problem("disk", format!("state_dir {name} cannot be written: {why}"), fix)
}

const REMOUNT: &str = "`dmesg | grep -i ext4` says whether errors made it so (then replace the card); else `sudo mount -o \
                       remount,rw /`, or take ro out of /etc/fstab; on purpose (overlayroot), put state_dir elsewhere";

/// Makes a file, sees to it that it is on the disk, and removes it.
fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!(".doctor-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let removed = Removed(path);
    let written = write(file);
    drop(removed);
    written
}

fn write(mut file: File) -> io::Result<()> {
    file.write_all(&[0; 4096])?;
    file.sync_all()
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn space(place: &Path, what: &str) -> Finding {
    match statvfs(place) {
        Ok(stat) => room(what, &stat),
        Err(error) => {
            let what = format!("{what} ({}) cannot be asked: {error}", place.display());
            Finding::problem("disk", what, "`dmesg | tail` may say why")
        }
    }
}

fn room(what: &str, stat: &StatVfs) -> Finding {
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Finding::problem("disk", format!("{what} is read-only: nothing new is kept"), REMOUNT);
    }
    let unit = if stat.f_frsize > 0 { stat.f_frsize } else { stat.f_bsize };
    let free = stat.f_bavail.saturating_mul(unit);
    let percent = stat.f_bavail as f64 * 100.0 / (stat.f_blocks.max(1) as f64);
    let figures = format!("{} MiB free, {percent:.0} %", free / MIB);
    // Some file systems count no inodes.
    if stat.f_files > 0 && stat.f_favail < stat.f_files / 100 {
        let what = format!("{what} has hardly an inode left ({} of {}): too many files", stat.f_favail, stat.f_files);
        return Finding::problem("disk", what, "`sudo du --inodes -x / | sort -n | tail` shows where they are");
    }
    if free < LITTLE || (percent < 5.0 && free < PLENTY) {
        return Finding::problem("disk", format!("{what} is nearly full: {figures}"), ROOM);
    }
    if percent < 5.0 {
        return Finding::note("disk", format!("{what} fills up: {figures}"), ROOM);
    }
    Finding::ok("disk", format!("{what} has room: {figures}"))
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn room_is_judged_by_bytes_share_inodes_and_flags() {
        let plain = StatVfs {
            f_bsize: 4096,
            f_frsize: 4096,
            f_blocks: 8 << 20,
            f_bfree: 4 << 20,
            f_bavail: 4 << 20,
            f_files: 1000,
            f_ffree: 900,
            f_favail: 900,
            f_fsid: 1,
            f_flag: StatVfsMountFlags::empty(),
            f_namemax: 255,
        };
        let level = |stat: &StatVfs| room("it", stat).level;
        assert_eq!(level(&plain), Level::Ok);
        assert_eq!(level(&StatVfs { f_favail: 9, ..plain }), Level::Problem);
        assert_eq!(level(&StatVfs { f_files: 0, f_favail: 0, ..plain }), Level::Ok);
        // 63 MiB; a fiftieth of 32 GiB; and of 32 TiB.
        assert_eq!(level(&StatVfs { f_bavail: 63 << 8, f_blocks: 100 << 8, ..plain }), Level::Problem);
        assert_eq!(level(&StatVfs { f_bavail: (8 << 20) / 50, ..plain }), Level::Problem);
        assert_eq!(level(&StatVfs { f_blocks: 8 << 30, f_bavail: (8 << 30) / 50, ..plain }), Level::Note);
        assert_eq!(level(&StatVfs { f_flag: StatVfsMountFlags::RDONLY, ..plain }), Level::Problem);
    }
}
