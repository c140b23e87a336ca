//! The kernel's announcements of devices that come and go. Removing a chip wakes nobody who polls its lines' files
//! (measured on 6.12), and looking every second would keep an idle machine awake.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// The kernel's own announcements; udev repeats them in another group.
const KERNEL_GROUP: u32 = 1;

/// A message's most, in the kernel.
const MESSAGE_BYTES: usize = 8192;

pub struct Uevents(OwnedFd);

/// What the announcements that were waiting mean for one chip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// This chip was removed, even if it has come back since.
    pub removed: bool,
    /// Chips came or went, or some announcements were lost: it is worth looking.
    pub look: bool,
}

impl Uevents {
    /// Needs no privilege, but `AF_NETLINK` among a unit's `RestrictAddressFamilies`, and the machine's own network
    /// namespace to hear anything.
    pub fn open() -> io::Result<Uevents> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
        Ok(Uevents(socket))
    }

    /// Takes all that waits.
    pub fn news(&self, chip: &str) -> News {
        let mut news = News::default();
        let mut buffer = [0; MESSAGE_BYTES];
        loop {
            match recv(&self.0, &mut buffer, RecvFlags::empty()) {
                Ok((length, _)) => news.hear(&String::from_utf8_lossy(&buffer[..length.min(MESSAGE_BYTES)]), chip),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::NOBUFS) => news.look = true,
                Err(_) => return news,
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl News {
    /// `remove@/devices/platform/soc/fe200000.gpio/gpio/gpiochip512`, then the variables, each ended by a NUL.
    fn hear(&mut self, message: &str, chip: &str) {
        let header = message.split('\0').next().unwrap_or_default();
        let Some((action, path)) = header.split_once('@') else { return };
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_chip = name.starts_with("gpiochip") || name.starts_with("chip");
        if is_chip && message.split('\0').any(|variable| variable == "SUBSYSTEM=gpio") {
            self.look = true;
            self.removed |= action == "remove" && name == chip;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_chips_own_removal_counts_as_one() {
        let heard = |message: &str| {
            let mut news = News::default();
            news.hear(message, "gpiochip512");
            (news.removed, news.look)
        };
        let of = |action: &str, name: &str, subsystem: &str| {
            heard(&format!("{action}@/devices/platform/x/gpio/{name}\0ACTION={action}\0SUBSYSTEM={subsystem}\0"))
        };
        assert_eq!(of("remove", "gpiochip512", "gpio"), (true, true));
        assert_eq!(of("remove", "gpiochip5120", "gpio"), (false, true));
        assert_eq!(of("add", "gpiochip512", "gpio"), (false, true));
        assert_eq!(of("remove", "gpio529", "gpio"), (false, false), "an unexported line");
        assert_eq!(of("remove", "gpiochip512", "usb"), (false, false));
        assert_eq!(heard("nonsense"), (false, false));
    }
}
