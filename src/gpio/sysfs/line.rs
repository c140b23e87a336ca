//! The files of one exported line, by either interface.
//!
//! The old interface goes through `sysfs_gpio`, the per-chip one through files of our own; where a file is missing
//! from the latter, what it would do is done here (`active_low`).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sysfs_gpio::{Direction as Written, Pin as Numbered};

use super::chip::{Abi, CLASS, Chip};
use crate::types::line::{Edge, Level};

/// One line of a chip, exported or not.
#[derive(Clone, Debug)]
pub struct Line {
    kind: Kind,
    directory: PathBuf,
}

#[derive(Clone, Debug)]
enum Kind {
    Numbered(Numbered),
    PerChip { chip: PathBuf, offset: u32, active_low: bool },
}

/// What a line was found as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub output: bool,
    /// On the wire, whatever `active_low` makes of it.
    pub high: bool,
    pub active_low: bool,
    /// `None` where the line has no edges.
    pub edge: Option<Edge>,
}

impl Snapshot {
    /// After `active_low`.
    pub fn level(&self) -> Level {
        Level::from_bool(self.high != self.active_low)
    }
}

impl Line {
    pub fn new(chip: &Chip, offset: u32) -> Line {
        match &chip.abi {
            Abi::Numbered { base } => {
                let number = base + u64::from(offset);
                let directory = Path::new(CLASS).join(format!("gpio{number}"));
                Line { kind: Kind::Numbered(Numbered::new(number)), directory }
            }
            Abi::PerChip { directory: chip } => {
                let directory = chip.join(format!("gpio{offset}"));
                Line { kind: Kind::PerChip { chip: chip.clone(), offset, active_low: false }, directory }
            }
        }
    }

    /// Where its files are while it is exported.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn is_exported(&self) -> bool {
        self.directory.exists()
    }

    /// Takes the line. One that is exported already is no error.
    pub fn export(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Numbered(pin) => pin.export().map_err(io::Error::from),
            Kind::PerChip { .. } if self.is_exported() => Ok(()),
            Kind::PerChip { chip, offset, .. } => write(&chip.join("export"), &offset.to_string()),
        }
    }

    /// Lets it go. One that is not exported is no error.
    pub fn unexport(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Numbered(pin) => pin.unexport().map_err(io::Error::from),
            Kind::PerChip { .. } if !self.is_exported() => Ok(()),
            Kind::PerChip { chip, offset, .. } => write(&chip.join("unexport"), &offset.to_string()),
        }
    }

    /// Those of its files that are written; not every line has all of them.
    pub fn files(&self) -> Vec<PathBuf> {
        let names = ["direction", "value", "active_low", "edge"];
        names.into_iter().map(|name| self.directory.join(name)).filter(|path| path.exists()).collect()
    }

    /// Everything the files say. Reading changes nothing.
    pub fn snapshot(&self) -> io::Result<Snapshot> {
        let active_low = self.active_low()?;
        let high = (self.level()? == Level::High) != active_low;
        Ok(Snapshot { output: self.is_output()?, high, active_low, edge: self.edge()? })
    }

    pub fn is_output(&self) -> io::Result<bool> {
        match &self.kind {
            Kind::Numbered(pin) => Ok(pin.get_direction()? != Written::In),
            Kind::PerChip { .. } => Ok(read(&self.directory.join("direction"))? == "out"),
        }
    }

    /// After `active_low`.
    pub fn level(&self) -> io::Result<Level> {
        match &self.kind {
            Kind::Numbered(pin) => Ok(Level::from_bool(pin.get_value()? == 1)),
            Kind::PerChip { active_low, .. } => {
                Ok(Level::from_bool((read(&self.directory.join("value"))? == "1") != *active_low))
            }
        }
    }

    pub fn active_low(&self) -> io::Result<bool> {
        match &self.kind {
            Kind::Numbered(pin) => Ok(pin.get_active_low()?),
            Kind::PerChip { active_low, .. } => Ok(*active_low),
        }
    }

    /// `None` where the line has none: by the per-chip interface, and where the chip gives it no interrupt.
    pub fn edge(&self) -> io::Result<Option<Edge>> {
        let Kind::Numbered(pin) = &self.kind else { return Ok(None) };
        match pin.get_edge().map_err(io::Error::from) {
            Ok(edge) => Ok(Some(match edge {
                sysfs_gpio::Edge::NoInterrupt => Edge::None,
                sysfs_gpio::Edge::RisingEdge => Edge::Rising,
                sysfs_gpio::Edge::FallingEdge => Edge::Falling,
                sysfs_gpio::Edge::BothEdges => Edge::Both,
            })),
            // Only the file is missing, not the line.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_exported() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn make_input(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Numbered(pin) => Ok(pin.set_direction(Written::In)?),
            Kind::PerChip { .. } => write(&self.directory.join("direction"), "in"),
        }
    }

    /// An output with this level on the wire, set together with the direction: the kernel takes the words `high`
    /// and `low` of this one file as they are, without regard to `active_low`.
    pub fn make_output(&self, high: bool) -> io::Result<()> {
        match &self.kind {
            Kind::Numbered(pin) => Ok(pin.set_direction(if high { Written::High } else { Written::Low })?),
            Kind::PerChip { .. } => write(&self.directory.join("direction"), if high { "high" } else { "low" }),
        }
    }

    /// An output's level, after `active_low`. `EPERM` where it is no output.
    pub fn set_level(&self, level: Level) -> io::Result<()> {
        let on = level == Level::High;
        match &self.kind {
            Kind::Numbered(pin) => Ok(pin.set_value(u8::from(on))?),
            Kind::PerChip { active_low, .. } => {
                write(&self.directory.join("value"), if on != *active_low { "1" } else { "0" })
            }
        }
    }

    pub fn set_active_low(&mut self, wanted: bool) -> io::Result<()> {
        match &mut self.kind {
            Kind::Numbered(pin) => Ok(pin.set_active_low(wanted)?),
            Kind::PerChip { active_low, .. } => {
                *active_low = wanted;
                Ok(())
            }
        }
    }

    pub fn set_edge(&self, edge: Edge) -> io::Result<()> {
        let Kind::Numbered(pin) = &self.kind else { return Err(Errno::OPNOTSUPP.into()) };
        let edge = match edge {
            Edge::None => sysfs_gpio::Edge::NoInterrupt,
            Edge::Rising => sysfs_gpio::Edge::RisingEdge,
            Edge::Falling => sysfs_gpio::Edge::FallingEdge,
            Edge::Both => sysfs_gpio::Edge::BothEdges,
        };
        Ok(pin.set_edge(edge)?)
    }

    /// Makes the line what it was. A line that is so already is not written to.
    pub fn restore(&mut self, was: Snapshot) -> io::Result<()> {
        let now = self.snapshot()?;
        // The kernel does not let a line with an interrupt become an output.
        if now.edge.is_some_and(|edge| edge != Edge::None) && (now.edge != was.edge || was.output) {
            self.set_edge(Edge::None)?;
        }
        if now.active_low != was.active_low {
            self.set_active_low(was.active_low)?;
        }
        match (was.output, now.output) {
            (true, _) if now.output && now.high == was.high => {}
            (true, _) => self.make_output(was.high)?,
            (false, true) => self.make_input()?,
            (false, false) => {}
        }
        match was.edge {
            Some(edge) if edge != Edge::None => self.set_edge(edge),
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    Ok(std::fs::read_to_string(path)?.trim().to_owned())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(text.as_bytes())
}
