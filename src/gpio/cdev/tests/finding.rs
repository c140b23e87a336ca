//! Which chip is taken, and what is said when there is none.

use super::*;

fn why_not(chip: Option<&str>) -> String {
    let config = config::Gpio { chip: chip.map(str::to_owned), ..config::Gpio::default() };
    open(&config).err().expect("no such chip")
}

#[test]
fn a_chip_is_found_by_its_label_or_by_a_line_and_looking_touches_nothing() {
    if absent() {
        return;
    }
    let sim = Sim::named("find-a", 8, Some((3, "bus")), &[(1, "GPIO17"), (2, "FIND_ME"), (5, "GPIO2")]);
    let before = sim.infos();
    let (mut lines, why) = open(&sim.settings()).expect("by label");
    assert_eq!(why, format!("{} 'find-a' (/dev/{}, 8 lines)", sim.name, sim.name));
    assert_eq!(lines.inspect(pin(3)).expect("its line").consumer.as_deref(), Some("bus"));
    assert_eq!(lines.inspect(pin(8)), Err(GpioError::Unsupported { pin: pin(8) }));

    let by = |name: &str| {
        let config = config::Gpio { chip: Some(name.to_owned()), ..config::Gpio::default() };
        open(&config).expect("by a line's name").0
    };
    // BCM numbers are offsets, unless the lines themselves are called GPIOn.
    assert!(by("FIND_ME").inspect(pin(17)).is_err());
    let mut named = by("GPIO17");
    assert!(named.inspect(pin(17)).is_ok());
    // Offset 3 is nobody else's by name; offset 1 is GPIO17's.
    assert_eq!(named.inspect(pin(3)).expect("by its number").consumer.as_deref(), Some("bus"));
    assert_eq!(named.inspect(pin(1)), Err(GpioError::Unsupported { pin: pin(1) }));
    named.hold(&[(pin(17), output(Level::High))]).expect("it is free");
    assert!(sim.value(1) && !sim.value(5));
    drop(named);
    let after = sim.infos();
    assert!((0..8).filter(|line| *line != 1).all(|line| before[&line] == after[&line]), "{before:?}\n{after:?}");
}

#[test]
fn a_chip_that_is_not_there_is_told_with_those_that_are() {
    if absent() {
        return;
    }
    let sim = Sim::new("a-laptops-own", 4, None);
    let why = why_not(Some("nonesuch"));
    assert!(why.contains("gpio.chip: no chip is labelled 'nonesuch'"), "{why}");
    assert!(why.contains(&format!("{} 'a-laptops-own'", sim.name)), "{why}");
    // Nothing but a Raspberry Pi's chip is taken unasked.
    let why = why_not(None);
    assert!(why.contains("pinctrl-bcm2835, pinctrl-bcm2711, pinctrl-rp1") && why.contains("'a-laptops-own'"), "{why}");
}
