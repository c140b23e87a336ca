//! What the workshop promises, shown on the simulation: all or nothing, and one event per change.

use super::*;
use crate::config::Backend;
use crate::types::caller::Caller;
use crate::types::event::Body;
use crate::types::line::{Bias, Level, LineSetting};

type Settings<'a> = &'a [(Pin, LineSetting)];
type Told<'a> = &'a [(&'a str, u8, Level)];
type Seen = Arc<Mutex<Vec<(String, u8, Level)>>>;

fn pin(bcm: u8) -> Pin {
    Pin::new(bcm).expect("a BCM number below 28")
}

fn output(bcm: u8, level: Level) -> (Pin, LineSetting) {
    (pin(bcm), LineSetting::Output { level })
}

fn input(bcm: u8, bias: Bias) -> (Pin, LineSetting) {
    (pin(bcm), LineSetting::Input { bias })
}

fn settings(backend: Backend) -> config::Gpio {
    let line = |(name, bcm): (&str, u8)| (name.to_owned(), config::Line::plain(pin(bcm)));
    config::Gpio { backend, lines: [("a-lamp", 17), ("button", 4)].map(line).into(), ..config::Gpio::default() }
}

fn places() -> Places {
    Places { root: "/nonexistent".into(), state_dir: None }
}

/// Sinks for what must not happen.
fn silent() -> Sinks {
    Sinks::new(|event| panic!("nothing changed: {event:?}"), |event| panic!("nothing happens by itself: {event:?}"))
}

fn caller() -> Caller {
    Caller { id: None, name: "test".into(), rights: None }
}

/// A simulated workshop and what its sink has seen.
fn workshop() -> (Gpio, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let publish = move |event: Event| match event.body {
        Body::GpioState { resource, pin, level, pwm_duty: None, .. } => {
            log.lock().expect("no test panics in the sink").push((resource.to_string(), pin.number(), level));
        }
        other => panic!("not a fact of this room: {other:?}"),
    };
    let sinks = Sinks::new(publish, |event| panic!("nothing happens by itself: {event:?}"));
    (Gpio::new(&settings(Backend::Sim), &places(), sinks).expect("the simulation always starts"), seen)
}

fn take(seen: &Seen) -> Vec<(String, u8, Level)> {
    std::mem::take(&mut seen.lock().expect("no test panics in the sink"))
}

#[test]
fn auto_says_that_it_simulates() {
    for backend in [Backend::Auto, Backend::Sim] {
        let info = Gpio::new(&settings(backend), &places(), silent()).expect("the simulation always starts").backend();
        assert_eq!((info.name, info.simulated), ("sim", true));
        assert!(info.why.contains("simulated"), "{}", info.why);
    }
}

#[test]
fn names_lead_to_lines_and_lines_to_names() {
    let (gpio, _) = workshop();
    for (name, expected) in
        [("GPIO17", Some(17)), ("17", Some(17)), ("pin11", Some(17)), ("a-lamp", Some(17)), ("A-LAMP", None)]
    {
        assert_eq!(gpio.resolve(name).map(Pin::number), expected, "{name}");
    }
    assert_eq!(&*gpio.resource(pin(17)), "a-lamp");
    assert_eq!(&*gpio.resource(pin(4)), "button");
    assert_eq!(&*gpio.resource(pin(5)), "GPIO5");
}

#[test]
fn each_change_of_a_level_is_told_exactly_once_and_in_order() {
    use Level::{High, Low};
    let (gpio, seen) = workshop();
    let table: [(Settings<'_>, Told<'_>); 7] = [
        (&[output(17, Low)], &[]),
        (&[output(17, High)], &[("a-lamp", 17, High)]),
        (&[output(17, High)], &[]),
        (&[output(22, High), output(17, Low), output(5, Low)], &[("GPIO22", 22, High), ("a-lamp", 17, Low)]),
        (&[input(22, Bias::Floating)], &[]),
        (&[input(22, Bias::Down), input(5, Bias::Up)], &[("GPIO22", 22, Low), ("GPIO5", 5, High)]),
        (&[output(6, High), output(6, High)], &[("GPIO6", 6, High)]),
    ];
    for (settings, expected) in table {
        gpio.update(&caller(), settings).expect("valid settings");
        let expected: Vec<_> = expected.iter().map(|(name, bcm, level)| (name.to_string(), *bcm, *level)).collect();
        assert_eq!(take(&seen), expected, "{settings:?}");
    }
}

#[test]
fn a_simulated_input_is_told_once_and_gives_way_to_the_next_configuration() {
    let (gpio, seen) = workshop();
    gpio.simulate_input(&caller(), pin(4), Level::Low).expect("an input");
    assert_eq!(take(&seen), []);
    gpio.simulate_input(&caller(), pin(4), Level::High).expect("an input");
    gpio.simulate_input(&caller(), pin(4), Level::High).expect("an input");
    assert_eq!(take(&seen), [("button".to_owned(), 4, Level::High)]);
    gpio.update(&caller(), &[input(4, Bias::Down)]).expect("valid settings");
    assert_eq!(take(&seen), [("button".to_owned(), 4, Level::Low)]);
}

#[test]
fn an_update_that_cannot_be_done_whole_changes_and_tells_nothing() {
    let (gpio, seen) = workshop();
    let all: Vec<Pin> = (0..28).map(pin).collect();
    let before = gpio.read(&all).expect("all lines exist");
    let table: [(Settings<'_>, GpioError); 4] = [
        (&[output(17, Level::High), input(2, Bias::Down)], GpioError::FixedPullUp { pin: pin(2) }),
        (&[output(17, Level::High), input(3, Bias::Floating)], GpioError::FixedPullUp { pin: pin(3) }),
        (&[output(17, Level::High), output(17, Level::Low)], GpioError::Conflict { pin: pin(17) }),
        (&[output(17, Level::High), input(17, Bias::Up)], GpioError::Conflict { pin: pin(17) }),
    ];
    for (settings, expected) in table {
        assert!(expected.to_string().starts_with("Failed to "), "{expected}");
        assert_eq!(gpio.update(&caller(), settings), Err(expected), "{settings:?}");
        assert_eq!(gpio.read(&all).expect("all lines exist"), before);
        assert_eq!(take(&seen), []);
    }
    gpio.update(&caller(), &[output(2, Level::Low), input(3, Bias::Up)])
        .expect("the I²C pins can be outputs or pulled up");
}

#[test]
fn an_output_is_not_driven_from_outside() {
    let (gpio, _) = workshop();
    gpio.update(&caller(), &[output(4, Level::Low)]).expect("valid settings");
    assert_eq!(gpio.simulate_input(&caller(), pin(4), Level::High), Err(GpioError::SimulatedOutput { pin: pin(4) }));
}

#[test]
fn concurrent_writers_leave_a_gapless_alternation_of_levels() {
    let (gpio, seen) = workshop();
    std::thread::scope(|scope| {
        for level in [Level::High, Level::Low] {
            let gpio = &gpio;
            scope.spawn(move || {
                (0..500).for_each(|_| gpio.update(&caller(), &[output(17, level)]).expect("valid settings"))
            });
        }
    });
    let levels: Vec<Level> = take(&seen).into_iter().map(|(_, _, level)| level).collect();
    assert_eq!(levels.first(), Some(&Level::High));
    assert!(levels.windows(2).all(|pair| pair[0] != pair[1]), "an event without a change");
}

mod outputs;
mod reload;
