//! Where state is kept: whether it can be written and has room; and the same of the root, which is the SD card.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfs, StatVfsMountFlags, statvfs};

use super::report::{Finding, Level};
use super::{Patient, keys, state};

const MIB: u64 = 1024 * 1024;

/// With less than this nothing is kept for long.
const LITTLE: u64 = 64 * MIB;
/// A twentieth of a large disk is still plenty.
const PLENTY: u64 = 1024 * MIB;

pub fn look(patient: &Patient) -> Vec<Finding> {
    let config = &patient.config;
    let mut findings = vec![];
    let state = config.state_dir.as_deref();
    let mut barred = false;
    match state {
        None => findings.push(Finding::note(
            "disk",
            "there is no state_dir: keys, users, history and kept levels do not outlive the daemon",
            "set state_dir, such as \"/var/lib/pinwire\"",
        )),
        Some(dir) => {
            let finding;
            (finding, barred) = writable(patient, dir);
            findings.push(finding);
            findings.extend(state::taken(patient, dir));
            findings.extend(keys::database(dir));
        }
    }
    let place = state.and_then(|dir| dir.ancestors().find(|dir| dir.is_dir()).map(Path::to_owned));
    let same = place.as_deref().is_some_and(|place| device(place).is_some() && device(place) == device(&config.root));
    let places = [place.filter(|_| !same), Some(config.root.clone())];
    for (place, what) in places.into_iter().zip(["the state directory's file system", "the root file system"]) {
        let of_state = same || what != "the root file system";
        // What was said of the directory is not said again.
        let told = |finding: &Finding| barred && of_state && finding.level == Level::Problem;
        findings.extend(place.map(|place| space(&place, what)).filter(|finding| !told(finding)));
    }
    findings
}

fn device(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|meta| meta.dev())
}

/// Whether it can be written; and whether it is the file system itself that is in the way.
fn writable(patient: &Patient, dir: &Path) -> (Finding, bool) {
    let name = dir.display();
    let who = &patient.subject.name;
    if let Err(error) = fs::metadata(dir) {
        let above = dir.ancestors().skip(1).find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
        let fix = format!("`sudo install -d -o {who} -m 0700 {name}`");
        let finding = match error.kind() {
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
        return (finding, false);
    }
    if !dir.is_dir() {
        let what = format!("state_dir {name} is no directory");
        return (Finding::problem("disk", what, "name a directory, or move away what stands there"), false);
    }
    let own = format!("`sudo chown -R {who} {name}`");
    let other = patient.subject.is_other();
    if other && !patient.subject.may(dir, Access::WRITE_OK | Access::EXEC_OK) {
        return (Finding::problem("disk", format!("state_dir {name}: '{who}' may not write it"), &own), false);
    }
    match probe(dir) {
        Ok(()) if other => (Finding::ok("disk", format!("state_dir {name} can be written by '{who}'")), false),
        Ok(()) => (Finding::ok("disk", format!("state_dir {name} can be written")), false),
        Err(error) => refused(dir, &error, own),
    }
}

fn refused(dir: &Path, error: &io::Error, own: String) -> (Finding, bool) {
    let (why, fix, bar) = match error.kind() {
        io::ErrorKind::PermissionDenied => ("this user may not".to_owned(), own, false),
        io::ErrorKind::ReadOnlyFilesystem => ("its file system is read-only".to_owned(), remount(dir), true),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => match statvfs(dir).ok() {
            Some(stat) if lacks_inodes(&stat) => {
                (format!("there is no inode left of {}: too many files", stat.f_files), fewer(dir), true)
            }
            stat => {
                let free = stat.map(|stat| format!(" ({})", figures(&stat))).unwrap_or_default();
                (format!("there is no room{free}"), make_room(dir), true)
            }
        },
        _ => {
            let fix = "`dmesg | tail` may say more; a card with errors is to be replaced";
            (error.to_string(), fix.to_owned(), false)
        }
    };
    (Finding::problem("disk", format!("state_dir {} cannot be written: {why}", dir.display()), &fix), bar)
}

/// Where the file system of this place is mounted.
fn mount_point(place: &Path) -> PathBuf {
    let place = fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| {
        // The kernel's way to write what would end a word.
        PathBuf::from(point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
    });
    let above = points.filter(|point| place.starts_with(point));
    above.max_by_key(|point| point.components().count()).unwrap_or_else(|| PathBuf::from("/"))
}

fn remount(place: &Path) -> String {
    let point = mount_point(place);
    let shown = point.display();
    let overlay = if point == Path::new("/") { "; on purpose (overlayroot), put state_dir elsewhere" } else { "" };
    format!(
        "`dmesg | grep -i ext4` says whether errors made it so (then replace the card); else `sudo mount -o remount,rw \
         {shown}`, or take ro out of the line of {shown} in /etc/fstab{overlay}"
    )
}

fn make_room(place: &Path) -> String {
    let point = mount_point(place);
    let system = "`sudo journalctl --vacuum-size=50M`, `sudo apt clean`, then look with ";
    let first = if point == Path::new("/") { system } else { "look with " };
    format!("{first}`sudo du -xh {} | sort -h | tail`; store.max_mib bounds what pinwire keeps", point.display())
}

fn fewer(place: &Path) -> String {
    format!("`sudo du --inodes -x {} | sort -n | tail` shows where they are", mount_point(place).display())
}

/// Some file systems count no inodes.
fn lacks_inodes(stat: &StatVfs) -> bool {
    stat.f_files > 0 && (stat.f_favail == 0 || stat.f_favail < stat.f_files / 100)
}

fn free(stat: &StatVfs) -> (u64, f64) {
    let unit = if stat.f_frsize > 0 { stat.f_frsize } else { stat.f_bsize };
    (stat.f_bavail.saturating_mul(unit), stat.f_bavail as f64 * 100.0 / (stat.f_blocks.max(1) as f64))
}

fn figures(stat: &StatVfs) -> String {
    let (free, percent) = free(stat);
    format!("{} MiB free, {percent:.0} %", free / MIB)
}

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
        Ok(stat) => room(place, what, &stat),
        Err(error) => {
            let what = format!("{what} ({}) cannot be asked: {error}", place.display());
            Finding::problem("disk", what, "`dmesg | tail` may say why")
        }
    }
}

fn room(place: &Path, what: &str, stat: &StatVfs) -> Finding {
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Finding::problem("disk", format!("{what} is read-only: nothing new is kept"), &remount(place));
    }
    let ((free, percent), figures) = (free(stat), figures(stat));
    if lacks_inodes(stat) {
        let what = format!("{what} has hardly an inode left ({} of {}): too many files", stat.f_favail, stat.f_files);
        return Finding::problem("disk", what, &fewer(place));
    }
    if free < LITTLE || (percent < 5.0 && free < PLENTY) {
        return Finding::problem("disk", format!("{what} is nearly full: {figures}"), &make_room(place));
    }
    if percent < 5.0 {
        return Finding::note("disk", format!("{what} fills up: {figures}"), &make_room(place));
    }
    Finding::ok("disk", format!("{what} has room: {figures}"))
}

#[cfg(test)]
mod tests {
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
        let level = |stat: &StatVfs| room(Path::new("/"), "it", stat).level;
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
