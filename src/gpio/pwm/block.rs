//! Which PWM block and channel drives a line, found by the device the kernel's PWM chip belongs to: the chips'
//! numbers change with the kernel and the order of probing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::types::line::Pin;

/// A channel of a PWM chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// `/sys/class/pwm/pwmchipN`.
    pub chip: PathBuf,
    pub number: u32,
    /// The chip's device, which has the same name at every boot, e.g. `fe20c000.pwm`.
    pub device: String,
}

/// The blocks that reach the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// Raspberry Pi 0 to 4. The BCM2711's second one (…20c800) drives the headphone jack.
    Bcm2835,
    /// Raspberry Pi 5: RP1's PWM0. Its PWM1 (…9c000) drives the fan.
    Rp1,
}

impl Block {
    const ALL: [Block; 2] = [Block::Bcm2835, Block::Rp1];

    fn compatible(self) -> &'static str {
        match self {
            Block::Bcm2835 => "brcm,bcm2835-pwm",
            Block::Rp1 => "raspberrypi,rp1-pwm",
        }
    }

    /// The address at which the block stands, without the part that differs between boards: 2020c000, 3f20c000 and
    /// fe20c000; 1f00098000.
    fn address(self) -> &'static str {
        match self {
            Block::Bcm2835 => "20c000",
            Block::Rp1 => "098000",
        }
    }

    /// BCM2835: "BCM2835 ARM Peripherals", 9.5, and raspberrypi/linux, overlays/README, `pwm` ("Legal pin,function
    /// combinations for each channel"). RP1: "RP1 Peripherals", table of GPIO functions (`PWM0[n]`), which is what
    /// `pinctrl get` prints on the board ("GPIO12 = PWM0_CHAN0").
    fn channel(self, pin: Pin) -> Option<u32> {
        match (self, pin.number()) {
            (Block::Bcm2835, 12 | 18) => Some(0),
            (Block::Bcm2835, 13 | 19) => Some(1),
            (Block::Rp1, 12) => Some(0),
            (Block::Rp1, 13) => Some(1),
            (Block::Rp1, 18) => Some(2),
            (Block::Rp1, 19) => Some(3),
            _ => None,
        }
    }

    /// Whether a device is this block.
    fn is(self, device: &Path) -> bool {
        let name = device.file_name().unwrap_or_default().to_string_lossy();
        let compatible = fs::read(device.join("of_node/compatible"));
        let named = name.strip_suffix(".pwm").is_some_and(|address| address.ends_with(self.address()));
        // Without a device tree there is only the name.
        named && compatible.map_or(true, |list| strings(&list).any(|one| one == self.compatible()))
    }
}

/// Finds the channel below a root directory.
///
/// # Errors
/// Why there is none, and what in `config.txt` would change that.
pub fn find(root: &Path, pin: Pin) -> Result<Channel, String> {
    if Block::ALL.iter().all(|block| block.channel(pin).is_none()) {
        return Err(format!("no PWM block reaches {pin}, only GPIO12, GPIO13, GPIO18 and GPIO19"));
    }
    let mut chips: Vec<PathBuf> = fs::read_dir(root.join("sys/class/pwm"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    chips.sort();
    for chip in chips {
        let Ok(device) = fs::canonicalize(chip.join("device")) else { continue };
        let Some(block) = Block::ALL.into_iter().find(|block| block.is(&device)) else { continue };
        let Some(number) = block.channel(pin) else { continue };
        if let Some(pins) = routed(&device)
            && !pins.contains(&u32::from(pin.number()))
        {
            let pins: Vec<String> = pins.iter().map(|bcm| format!("GPIO{bcm}")).collect();
            return Err(format!("the PWM block drives {}, not {pin}; {}", pins.join(" and "), overlay(pin)));
        }
        let device = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(Channel { chip, number, device });
    }
    Err(format!("the PWM block is not enabled; {}", overlay(pin)))
}

/// The line that enables it: GPIO18 and 19 have it as function Alt5, which the overlays call 2, the others as Alt0.
fn overlay(pin: Pin) -> String {
    let bcm = pin.number();
    let function = if bcm >= 18 { 2 } else { 4 };
    format!("add dtoverlay=pwm,pin={bcm},func={function} (pwm-2chan for two lines) to config.txt and restart the board")
}

/// The lines that the device tree gives to the block; `None` where it says nothing that is understood.
///
/// The block has the numbers of its settings (`pinctrl-0`), which stand below the line controller beside it.
fn routed(device: &Path) -> Option<Vec<u32>> {
    let node = fs::canonicalize(device.join("of_node")).ok()?;
    let wanted = numbers(&fs::read(node.join("pinctrl-0")).ok()?);
    let mut pins = Vec::new();
    let mut found = 0;
    for controller in fs::read_dir(node.parent()?).ok()?.flatten() {
        if !controller.file_name().to_string_lossy().starts_with("gpio@") {
            continue;
        }
        for setting in fs::read_dir(controller.path()).ok()?.flatten() {
            let setting = setting.path();
            let Ok(phandle) = fs::read(setting.join("phandle")) else { continue };
            if numbers(&phandle).first().is_some_and(|phandle| wanted.contains(phandle)) {
                found += 1;
                pins.extend(pins_of(&setting)?);
            }
        }
    }
    (found > 0 && found == wanted.len()).then_some(pins)
}

/// As Raspberry Pi's overlays write it (numbers), or as RP1's own tree does ("gpio12").
fn pins_of(setting: &Path) -> Option<Vec<u32>> {
    if let Ok(list) = fs::read(setting.join("brcm,pins")) {
        return Some(numbers(&list));
    }
    let list = fs::read(setting.join("pins")).ok()?;
    strings(&list).map(|name| name.strip_prefix("gpio")?.parse().ok()).collect()
}

/// A device tree's numbers.
fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|number| u32::from_be_bytes(*number)).collect()
}

/// A device tree's texts.
fn strings(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes.split(|byte| *byte == 0).filter(|text| !text.is_empty()).filter_map(|text| str::from_utf8(text).ok())
}
