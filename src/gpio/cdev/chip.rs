//! Finding the chip: by its label or by the name of a line, never by its number, which changes between kernels.

use std::path::{Path, PathBuf};

use gpiocdev::Chip;
use gpiocdev::line::{Info, Offset};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::refusal::errno;
use crate::types::line::Pin;

/// The chips behind the 40-pin header: Raspberry Pi 0 to 3, 4, and 5. Any other chip (a laptop has some too) is
/// only used when the configuration names it.
const LABELS: [&str; 3] = ["pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1"];

/// The chip, open, and where the lines are on it.
pub struct Board {
    pub chip: Chip,
    label: String,
    lines: u32,
    offsets: [Option<Offset>; Pin::COUNT],
}

impl Board {
    /// The chip that `gpio.chip` names (its label, or a line it has), or the one a Raspberry Pi has. No line is
    /// touched.
    ///
    /// # Errors
    /// Why there is none, and what to do about it.
    pub fn find(wanted: Option<&str>) -> Result<Board, String> {
        let paths = gpiocdev::chip::chips().map_err(|error| format!("/dev cannot be read: {error}"))?;
        if paths.is_empty() {
            let why = "there is no /dev/gpiochip*: this machine has no GPIO chip, its kernel lacks CONFIG_GPIO_CDEV, \
                       or the service may not see devices (PrivateDevices=)";
            return Err(why.to_owned());
        }
        let mut boards = Vec::new();
        let mut refused = Vec::new();
        for path in &paths {
            match Board::open(path) {
                Ok(board) => boards.push(board),
                Err(why) => refused.push(why),
            }
        }
        let position = match wanted {
            None => boards.iter().position(|board| LABELS.contains(&board.label.as_str())),
            Some(wanted) => boards
                .iter()
                .position(|board| board.label == wanted)
                .or_else(|| boards.iter().position(|board| board.chip.find_line_info(wanted).is_some())),
        };
        let Some(position) = position else { return Err(missing(wanted, &boards, &refused)) };
        let mut board = boards.swap_remove(position);
        // The second version of the kernel's interface came with 5.10.
        board.chip.line_info(0).map_err(|error| match errno(&error) {
            Some(Errno::INVAL | Errno::NOTTY) => format!("{board} speaks no GPIO v2: Linux 5.10 or newer is needed"),
            _ => format!("{board} does not answer: {error}"),
        })?;
        let by_name = wanted.is_some_and(|wanted| wanted != board.label && wanted.starts_with("GPIO"));
        board.offsets = if by_name { offsets_by_name(&board.names()) } else { offsets(board.lines) };
        Ok(board)
    }

    fn open(path: &Path) -> Result<Board, String> {
        let opened = Chip::from_path(path).and_then(|chip| Ok((chip.info()?, chip)));
        let (info, chip) = opened.map_err(|error| match errno(&error) {
            Some(Errno::ACCESS) => format!(
                "permission denied on {}: add the user to group gpio (usermod -aG gpio USER, or SupplementaryGroups= \
                 in the unit)",
                path.display()
            ),
            Some(Errno::PERM) => {
                format!("not permitted on {}: the unit needs DeviceAllow=char-gpiochip rw", path.display())
            }
            _ => format!("{}: {error}", path.display()),
        })?;
        // Whoever reads its events must not wait for them: it holds the lock.
        nonblocking(&chip).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Board { label: info.label, lines: info.num_lines, chip, offsets: [None; Pin::COUNT] })
    }

    pub fn path(&self) -> PathBuf {
        self.chip.path().to_owned()
    }

    /// Where a line is; `None` where the chip lacks it.
    pub fn offset(&self, pin: Pin) -> Option<Offset> {
        self.offsets[usize::from(pin.number())]
    }

    pub fn pin(&self, offset: Offset) -> Option<Pin> {
        let bcm = self.offsets.iter().position(|other| *other == Some(offset))?;
        Pin::new(u8::try_from(bcm).ok()?)
    }

    /// Every line the chip has.
    pub fn pins(&self) -> impl Iterator<Item = (Pin, Offset)> {
        let numbered = (0..).zip(self.offsets);
        numbered.filter_map(|(bcm, offset)| Some((Pin::new(bcm)?, offset?)))
    }

    fn names(&self) -> Vec<String> {
        let infos = (0..self.lines).map(|offset| self.chip.line_info(offset));
        infos.map(|info| info.map_or_else(|_| String::new(), |info: Info| info.name)).collect()
    }
}

impl std::fmt::Display for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} '{}' ({}, {} lines)", self.chip.name(), self.label, self.chip.path().display(), self.lines)
    }
}

/// Reading returns at once when there is nothing.
pub fn nonblocking(file: impl std::os::fd::AsFd) -> rustix::io::Result<()> {
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags | OFlags::NONBLOCK)
}

fn missing(wanted: Option<&str>, boards: &[Board], refused: &[String]) -> String {
    let mut parts = refused.to_vec();
    if !boards.is_empty() {
        let found: Vec<String> =
            boards.iter().map(|board| format!("{} '{}'", board.chip.name(), board.label)).collect();
        let found = found.join(", ");
        parts.push(match wanted {
            None => format!(
                "no chip is labelled {}; found: {found}; name the right one in gpio.chip if it is one of these",
                LABELS.join(", ")
            ),
            Some(wanted) => {
                format!("gpio.chip: no chip is labelled '{wanted}', and none has a line of that name; found: {found}")
            }
        });
    }
    parts.join("; ")
}

/// On a labelled chip the BCM number is the offset.
fn offsets(lines: u32) -> [Option<Offset>; Pin::COUNT] {
    std::array::from_fn(|bcm| Offset::try_from(bcm).ok().filter(|offset| *offset < lines))
}

/// On a chip that was found by a line called GPIOn the names say where the lines are; a line without such a name is
/// where its number says, unless another one is there.
fn offsets_by_name(names: &[String]) -> [Option<Offset>; Pin::COUNT] {
    let named = |bcm: usize| names.iter().position(|name| *name == format!("GPIO{bcm}"));
    let taken: Vec<usize> = (0..Pin::COUNT).filter_map(named).collect();
    std::array::from_fn(|bcm| {
        let free = Some(bcm).filter(|offset| *offset < names.len() && !taken.contains(offset));
        named(bcm).or(free).and_then(|offset| Offset::try_from(offset).ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_chip_lacks_the_upper_lines() {
        assert_eq!(offsets(58)[27], Some(27));
        assert_eq!((offsets(8)[7], offsets(8)[8]), (Some(7), None));
    }

    #[test]
    fn names_say_where_the_lines_are_and_numbers_fill_the_gaps() {
        let names = ["ID_SDA", "GPIO17", "", "GPIO2", "GPIO4"].map(str::to_owned);
        let found = offsets_by_name(&names);
        let expected = [(0, Some(0)), (1, None), (2, Some(3)), (3, None), (4, Some(4)), (5, None), (17, Some(1))];
        for (bcm, offset) in expected {
            assert_eq!(found[bcm], offset, "GPIO{bcm}");
        }
    }
}
