//! Disks, as `df` counts them.
//!
//! | what | source | unit | without a value |
//! |---|---|---|---|
//! | which | `proc/self/mountinfo` | | file missing |
//! | sizes | `statvfs` | bytes | it fails: the disk is left out |
//! | share | used of used and available, so what is reserved for root counts as neither | % | an empty file system |
//!
//! A disk is a file system on a block device, and whatever is the root. Not: memory, overlays and the kernel's own
//! file systems; images that are full by nature (squashfs of a snap, a CD); network file systems, because asking one
//! whose server is gone waits without end. A device that is mounted in several places (bind mounts, btrfs subvolumes,
//! a service's sandbox) is one disk, under its best name.

use std::path::Path;

use rustix::fs::StatVfs;

use super::{hundredths, read};
use crate::types::fleet::{Disk, Space};

/// Of more, the first.
pub const MAX_DISKS: usize = 128;

/// On block devices, but with a device number of their own making.
const OWN_DEVICE_NUMBERS: [&str; 3] = ["btrfs", "zfs", "bcachefs"];

/// Images: read-only, and full by nature.
const IMAGES: [&str; 5] = ["squashfs", "erofs", "iso9660", "cramfs", "romfs"];

/// All disks, in the order in which they were mounted; `None` where the kernel does not say.
pub fn measure(root: &Path) -> Option<Vec<Disk>> {
    let text = read(root, "proc/self/mountinfo")?;
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let mounts = chosen(&text, |path| below(path).is_dir());
    let measured = mounts.into_iter().take(MAX_DISKS).filter_map(|mount| {
        let space = space(&rustix::fs::statvfs(below(&mount.path)).ok()?)?;
        Some(Disk { path: mount.path, space })
    });
    Some(measured.collect())
}

#[derive(Debug, PartialEq)]
struct Mount {
    path: String,
    /// `major:minor`.
    device: String,
    /// What of the file system is mounted: `/` is all of it.
    part: String,
    kind: String,
}

impl Mount {
    fn is_disk(&self) -> bool {
        let block = !self.device.starts_with("0:") || OWN_DEVICE_NUMBERS.contains(&self.kind.as_str());
        self.path == "/" || (block && !IMAGES.contains(&self.kind.as_str()))
    }

    /// Smaller is better: the root, then the whole file system, then the shortest path.
    fn rank(&self) -> (bool, bool, usize) {
        (self.path != "/", self.part != "/", self.path.len())
    }
}

/// The mounts that stand for a disk each.
fn chosen(mountinfo: &str, is_directory: impl Fn(&str) -> bool) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in mountinfo.lines().filter_map(parse) {
        // What is mounted over another mount hides it.
        mounts.retain(|hidden| hidden.path != mount.path);
        mounts.push(mount);
    }
    let mut disks: Vec<Mount> = Vec::new();
    for mount in mounts.into_iter().filter(Mount::is_disk) {
        // A container's `/etc/hosts` and the like are single files of a disk that it does not see.
        if mount.part != "/" && mount.path != "/" && !is_directory(&mount.path) {
            continue;
        }
        match disks.iter_mut().find(|disk| disk.device == mount.device) {
            Some(twin) if mount.rank() < twin.rank() => *twin = mount,
            Some(_) => {}
            None => disks.push(mount),
        }
    }
    disks
}

/// `36 35 98:0 /part /mnt rw,noatime shared:1 - ext4 /dev/sda1 rw` (proc_pid_mountinfo(5)).
fn parse(line: &str) -> Option<Mount> {
    let (mount, source) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let (device, part, path) = (mount.next()?, mount.next()?, mount.next()?);
    let kind = source.split(' ').next()?;
    Some(Mount { path: plain(path)?, device: device.to_owned(), part: plain(part)?, kind: kind.to_owned() })
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits. Names that are no text are nobody's disk.
fn plain(escaped: &str) -> Option<String> {
    let mut out = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|d| matches!(d, b'0'..=b'7')));
        match octal {
            Some(digits) => {
                out.push(digits.iter().fold(0_u8, |byte, digit| byte.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(out).ok()
}

fn space(stat: &StatVfs) -> Option<Space> {
    let unit = if stat.f_frsize > 0 { stat.f_frsize } else { stat.f_bsize };
    let used = stat.f_blocks.checked_sub(stat.f_bfree)?;
    let countable = used.saturating_add(stat.f_bavail);
    let percent = (countable > 0).then(|| hundredths(used as f64 / countable as f64 * 100.0));
    Some(Space {
        total: Some(stat.f_blocks.checked_mul(unit)?),
        used: Some(used.checked_mul(unit)?),
        available: Some(stat.f_bavail.checked_mul(unit)?),
        percent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(mountinfo: &str) -> Vec<String> {
        chosen(mountinfo, |path| !path.starts_with("/etc/")).into_iter().map(|mount| mount.path).collect()
    }

    const PI: &str = "\
22 28 0:21 / /proc rw,relatime shared:12 - proc proc rw
28 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw
30 28 0:5 / /dev rw,relatime shared:2 - devtmpfs udev rw,size=1k
35 28 0:24 / /run rw,nosuid shared:5 - tmpfs tmpfs rw
40 28 0:33 / /boot/firmware rw,relatime shared:20 - autofs systemd-1 rw
41 40 179:1 / /boot/firmware rw,relatime shared:21 - vfat /dev/mmcblk0p1 rw
44 28 7:0 / /snap/core/1 ro,nodev shared:22 - squashfs /dev/loop0 ro
45 28 8:1 /backup /mnt/my\\040backup rw shared:23 - ext4 /dev/sda1 rw
46 28 8:1 / /mnt/usb\\134disk rw shared:23 - ext4 /dev/sda1 rw
47 28 179:2 /var/log /mnt/log rw - ext4 /dev/mmcblk0p2 rw
48 28 0:50 / /mnt/nas rw - nfs4 nas:/export rw
49 28 0:51 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
50 28 0:52 /@home /home rw - btrfs /dev/sdb1 rw
51 28 0:52 /@srv /srv rw - btrfs /dev/sdb1 rw
52 28 11:0 / /media/cd ro - iso9660 /dev/sr0 ro
";

    #[test]
    fn each_real_disk_is_there_once_under_its_best_name() {
        assert_eq!(paths(PI), ["/", "/boot/firmware", "/mnt/usb\\disk", "/srv"]);
    }

    #[test]
    fn the_root_counts_whatever_it_is_and_single_files_do_not() {
        let container = "\
1 0 0:60 / / rw - overlay overlay rw
2 1 8:1 /docker/hosts /etc/hosts rw - ext4 /dev/sda1 rw
3 1 8:1 /docker/volume /data rw - ext4 /dev/sda1 rw
";
        assert_eq!(paths(container), ["/", "/data"]);
        assert_eq!(paths("nonsense\n1 2 3 - x\n\n"), [""; 0]);
    }

    #[test]
    fn the_share_is_that_of_df() {
        let stat = |blocks: u64, free: u64, available: u64| {
            let mut stat = rustix::fs::statvfs("/").expect("the root");
            (stat.f_frsize, stat.f_blocks, stat.f_bfree, stat.f_bavail) = (4096, blocks, free, available);
            space(&stat)
        };
        let disk = stat(1000, 400, 350).expect("a disk");
        assert_eq!((disk.total, disk.used, disk.available), (Some(4_096_000), Some(2_457_600), Some(1_433_600)));
        assert_eq!(disk.percent, Some(63.16));
        assert_eq!(stat(0, 0, 0).expect("an empty one").percent(), None);
        assert_eq!(stat(1, 2, 0), None);
    }
}
