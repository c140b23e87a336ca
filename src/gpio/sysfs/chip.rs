//! Which chip of `/sys/class/gpio` has the header's lines, and by which of the two interfaces it is reached.
//!
//! The old one numbers all lines of the machine in one row, and the chip's first number (`base`) differs with board
//! and kernel: 0, 399, 458, 512, 569 and 571 have been seen. It has `edge` and `active_low`. Kernels from 6.17 on
//! have a second one, a directory per chip whose lines are numbered from 0 and have `direction` and `value` only;
//! the old one can be left out of them. What is there is decided by the files present, not by the kernel's version.

use std::io;
use std::path::{Path, PathBuf};

/// Where the kernel shows all of it. `sysfs_gpio` knows no other place either.
pub const CLASS: &str = "/sys/class/gpio";

/// The chips with the header's lines: Pi 5; Pi 4 and its kin; all others.
const LABELS: [&str; 3] = ["pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"];

/// A chip as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chip {
    pub label: String,
    /// How many lines it has.
    pub lines: u32,
    pub abi: Abi,
}

/// How the chip's lines are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Abi {
    /// `/sys/class/gpio/gpioN`, where N is the line's offset plus this.
    Numbered { base: u64 },
    /// `/sys/class/gpio/chipN/gpioM`, where M is the offset; this is the chip's directory.
    PerChip { directory: PathBuf },
}

impl Chip {
    /// The name of its directory, as the kernel's messages about it have it.
    pub fn name(&self) -> String {
        match &self.abi {
            Abi::Numbered { base } => format!("gpiochip{base}"),
            Abi::PerChip { directory } => {
                directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            }
        }
    }

    /// In words for the operator.
    pub fn describe(&self) -> String {
        let Chip { label, lines, abi } = self;
        match abi {
            Abi::Numbered { base } => format!("chip {label} with {lines} lines from number {base}, old interface"),
            Abi::PerChip { directory } => format!(
                "chip {label} with {lines} lines at {}, per-chip interface: no edges, so inputs are not watched",
                directory.display()
            ),
        }
    }
}

/// Finds the chip below `class`: the one labelled `wanted`, or else the one a Raspberry Pi's header is on. Looks at
/// files of the chips only; no line is touched.
///
/// # Errors
/// Why there is none, and what to do about it.
pub fn find(class: &Path, wanted: Option<&str>) -> Result<Chip, String> {
    let entries = std::fs::read_dir(class).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no {} in this kernel", class.display())
        }
        _ => format!("cannot read {}: {error}", class.display()),
    })?;
    let mut numbered = Vec::new();
    let mut per_chip = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("gpiochip") {
            numbered.extend(read(&path, true));
        } else if name.starts_with("chip") {
            per_chip.extend(read(&path, false));
        }
    }
    // The old interface first: only it reports edges. It is whole only with its `export`.
    if !class.join("export").exists() {
        numbered.clear();
    }
    let labels: &[&str] = match &wanted {
        Some(label) => std::slice::from_ref(label),
        None => &LABELS,
    };
    for chips in [&numbered, &per_chip] {
        for label in labels {
            let mut found = chips.iter().filter(|chip| chip.label == *label);
            match (found.next(), found.count()) {
                (None, _) => {}
                (Some(chip), 0) => return Ok(chip.clone()),
                (Some(_), others) => {
                    return Err(format!("{} chips are labelled {label}; sysfs cannot tell them apart", others + 1));
                }
            }
        }
    }
    let mut seen: Vec<String> = numbered.into_iter().chain(per_chip).map(|chip| chip.label).collect();
    seen.sort();
    seen.dedup();
    let seen = if seen.is_empty() { "none at all".to_owned() } else { seen.join(", ") };
    Err(match wanted {
        Some(label) => format!("no chip in {} is labelled {label} (there: {seen}); see gpio.chip", class.display()),
        None => format!(
            "no chip of a Raspberry Pi's header in {} (there: {seen}); name another one's label in gpio.chip",
            class.display()
        ),
    })
}

/// One chip's directory; `None` for one that goes away meanwhile.
fn read(path: &Path, numbered: bool) -> Option<Chip> {
    let text = |name: &str| std::fs::read_to_string(path.join(name)).map(|text| text.trim().to_owned()).ok();
    let abi = if numbered {
        Abi::Numbered { base: text("base")?.parse().ok()? }
    } else {
        Abi::PerChip { directory: path.join("export").exists().then(|| path.to_owned())? }
    };
    Some(Chip { label: text("label")?, lines: text("ngpio")?.parse().ok()?, abi })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A tree as the kernel would show it: directories and what their files say.
    struct Class(PathBuf);

    impl Class {
        fn new(chips: &[(&str, &str, u64)]) -> Class {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("pinwire-chip-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let class = Class(std::env::temp_dir().join(name));
            fs::create_dir_all(&class.0).expect("a directory");
            for (name, label, base) in chips {
                let chip = class.0.join(name);
                fs::create_dir(&chip).expect("a directory");
                let files = if name.starts_with("gpiochip") { ["base", "device"] } else { ["export", "unexport"] };
                for (file, text) in [("label", format!("{label}\n")), ("ngpio", "54\n".into())]
                    .into_iter()
                    .chain(files.map(|file| (file, format!("{base}\n"))))
                {
                    fs::write(chip.join(file), text).expect("a file");
                }
                if name.starts_with("gpiochip") {
                    fs::write(class.0.join("export"), "").expect("a file");
                }
            }
            class
        }

        fn find(&self, wanted: Option<&str>) -> Result<Chip, String> {
            find(&self.0, wanted)
        }
    }

    impl Drop for Class {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_base_is_what_the_kernel_says() {
        for base in [0, 399, 458, 512, 569, 571] {
            let name = format!("gpiochip{base}");
            for label in LABELS {
                let class = Class::new(&[("gpiochip900", "raspberrypi-exp-gpio", 900), (&name, label, base)]);
                let chip = class.find(None).expect("it is there");
                assert_eq!(chip, Chip { label: label.into(), lines: 54, abi: Abi::Numbered { base } });
                assert_eq!(chip.name(), name);
                assert!(chip.describe().contains(label) && chip.describe().contains(&base.to_string()));
            }
        }
    }

    #[test]
    fn the_label_is_compared_as_a_whole() {
        let class = Class::new(&[("gpiochip512", "pinctrl-bcm2711-test", 512), ("gpiochip600", "lamps", 600)]);
        let error = class.find(None).expect_err("a longer label is another one");
        assert!(error.contains("lamps, pinctrl-bcm2711-test") && error.contains("gpio.chip"), "{error}");
        assert_eq!(class.find(Some("lamps")).expect("by label").abi, Abi::Numbered { base: 600 });
        assert!(class.find(Some("lamp")).expect_err("no such label").contains("gpio.chip"));
    }

    #[test]
    fn the_old_interface_is_preferred_because_it_has_edges() {
        let both = Class::new(&[("gpiochip512", "pinctrl-rp1", 512), ("chip3", "pinctrl-rp1", 0)]);
        assert_eq!(both.find(None).expect("twice there").abi, Abi::Numbered { base: 512 });
        let new = Class::new(&[("chip3", "pinctrl-rp1", 0), ("chip4", "gpio-brcmstb", 0)]);
        let chip = new.find(None).expect("there");
        assert_eq!(chip.abi, Abi::PerChip { directory: new.0.join("chip3") });
        assert!(chip.describe().contains("no edges"));
    }

    #[test]
    fn two_of_one_label_are_refused_and_none_is_explained() {
        let twins = Class::new(&[("gpiochip0", "lamps", 0), ("gpiochip54", "lamps", 54)]);
        assert!(twins.find(Some("lamps")).expect_err("which?").contains("2 chips"));
        assert!(Class::new(&[]).find(None).expect_err("empty").contains("none at all"));
        assert!(find(Path::new("/nonexistent/gpio"), None).expect_err("no sysfs").contains("in this kernel"));
    }
}
