//! Outputs that fail safe: leases, rules, sequences, signals and what ends them, on the simulation.

use std::sync::mpsc::{Receiver as Events, channel};

use super::*;
use crate::config::{Initial, Line, Safe};
use crate::types::line::Duty;
use crate::types::output::{LeaseWish, Sequence, Step};

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

/// What was told, in words: `relay high`, `relay 25 %`, `lease: holder gone`.
struct Bench {
    gpio: Gpio,
    told: Events<String>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Line)) -> Bench {
        Bench::with(change, |_| {}, None)
    }

    /// A configured output `relay` (GPIO17), started.
    fn with(change: impl FnOnce(&mut Line), all: impl FnOnce(&mut config::Gpio), dir: Option<PathBuf>) -> Bench {
        let mut line = Line { mode: Some(Mode::Output), initial: Initial::Level(Level::Low), ..Line::plain(pin(17)) };
        change(&mut line);
        let mut config = config::Gpio { backend: Backend::Sim, ..config::Gpio::default() };
        config.lines.insert("relay".into(), line);
        all(&mut config);
        let (sender, told) = channel();
        let told_too = sender.clone();
        let sinks = Sinks::new(
            move |event| sender.send(words(event)).expect("somebody listens"),
            move |event| told_too.send(words(event)).is_ok(),
        );
        let gpio = Gpio::new(&config, &Places { state_dir: dir, ..places() }, sinks).expect("the simulation");
        gpio.start().expect("a thread");
        Bench { gpio, told }
    }

    fn next(&self) -> String {
        self.told.recv_timeout(LIMIT).expect("something happens")
    }

    fn set(&self, who: &Caller, level: Level) -> Result<(), GpioError> {
        self.gpio.update(who, &[output(17, level)])
    }

    fn level(&self, bcm: u8) -> Option<Level> {
        self.gpio.read(&[pin(bcm)]).expect("it exists")[0].level
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.gpio.seal("the test ends");
        self.gpio.stop(LIMIT);
    }
}

fn words(event: Event) -> String {
    match event.body {
        Body::GpioState { resource, pwm_duty: Some(duty), .. } => format!("{resource} {duty} %"),
        Body::GpioState { resource, level, edges: None, .. } => format!("{resource} {}", level.as_str()),
        Body::GpioState { resource, level, edges: Some(edges), .. } => {
            format!("{resource} {} after {}", level.as_str(), edges.count)
        }
        Body::GpioLease { reason, .. } => format!("lease: {reason}"),
        other => format!("{other:?}"),
    }
}

fn client(id: u64) -> Caller {
    Caller { id: Some(CallerId(id)), name: format!("client {id}").into(), rights: None }
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn lease(lease: Duration, grace: Duration) -> LeaseWish {
    LeaseWish { pins: vec![pin(17)], lease, grace, holder: None }
}

#[test]
fn a_lease_whose_holder_vanishes_ends_in_the_safe_state() {
    let bench = Bench::new(|_| {});
    bench.gpio.lease(&client(1), &lease(LIMIT, millis(20))).expect("nobody has it");
    bench.set(&client(1), Level::High).expect("the holder may");
    assert_eq!(bench.next(), "relay high");
    let refused = bench.set(&client(2), Level::Low).expect_err("leased");
    assert!(refused.to_string().contains("leased by client 1"), "{refused}");
    bench.gpio.gone(CallerId(1));
    assert_eq!((bench.next(), bench.next()), ("relay low".into(), "lease: holder gone".into()));
    bench.set(&client(2), Level::High).expect("it is free again");
}

#[test]
fn a_lease_that_is_not_renewed_ends_and_one_that_is_goes_on() {
    let bench = Bench::new(|line| line.safe = Safe::Level(Level::High));
    let granted = bench.gpio.lease(&client(1), &lease(millis(30), millis(1))).expect("nobody has it");
    assert_eq!(bench.gpio.renew_lease(&client(1), &granted.id).expect("in time"), granted);
    assert_eq!((bench.next(), bench.next()), ("relay high".into(), "lease: not renewed".into()));
    assert!(matches!(bench.gpio.renew_lease(&client(1), &granted.id), Err(GpioError::NoSuch { .. })));
}

#[test]
fn an_output_stays_on_no_longer_than_it_may_and_off_no_shorter_than_it_must() {
    let bench = Bench::new(|line| (line.max_on, line.min_off) = (Some(millis(20)), LIMIT));
    bench.set(&client(1), Level::High).expect("it was never on");
    assert_eq!((bench.next(), bench.next()), ("relay high".into(), "relay low".into()));
    let refused = bench.set(&client(1), Level::High).expect_err("too soon");
    assert!(refused.to_string().contains("min_off"), "{refused}");
    bench.set(&client(1), Level::Low).expect("off is always allowed");
}

#[test]
fn interlocked_outputs_are_never_on_together() {
    let bench = Bench::with(
        |line| line.interlock = vec![pin(18)],
        |config| {
            config.lines.insert("other".into(), Line { interlock: vec![pin(17)], ..Line::plain(pin(18)) });
        },
        None,
    );
    let me = client(1);
    bench.set(&me, Level::High).expect("the other is off");
    let refused = bench.gpio.update(&me, &[output(18, Level::High)]).expect_err("interlocked");
    assert!(refused.to_string().contains("interlock: GPIO17 is on"), "{refused}");
    bench.gpio.update(&me, &[output(17, Level::Low), output(18, Level::High)]).expect("one goes as the other comes");
    assert!(bench.gpio.set_pwm(&me, pin(17), 50.0, Duty::FULL).is_err(), "a signal is on, too");
    bench.gpio.update(&me, &[output(18, Level::High), output(17, Level::High)]).expect_err("both at once");
    assert_eq!((bench.level(17), bench.level(18)), (Some(Level::Low), Some(Level::High)));
}

#[test]
fn a_line_whose_writer_is_gone_goes_safe_after_its_grace_unless_somebody_else_writes_it() {
    let bench = Bench::new(|line| line.on_disconnect = Some(millis(20)));
    for (writers, expected) in [(vec![1], "relay low"), (vec![2, 3], "relay low")] {
        for writer in &writers {
            bench.set(&client(*writer), Level::High).expect("free");
        }
        assert_eq!(bench.next(), "relay high");
        bench.gpio.gone(CallerId(writers[0]));
        if let Some(last) = writers.get(1) {
            assert!(bench.told.recv_timeout(millis(60)).is_err(), "it is somebody else's now");
            bench.gpio.gone(CallerId(*last));
        }
        assert_eq!(bench.next(), expected);
    }
}

#[test]
fn sequences_play_to_their_end_and_give_way_to_a_write() {
    let bench = Bench::new(|_| {});
    let step = |at, level| Step { at, levels: vec![(pin(17), level)] };
    let blink = |rounds| Sequence {
        steps: vec![step(Duration::ZERO, Level::High), step(millis(2), Level::Low)],
        period: millis(4),
        rounds,
    };
    let started = bench.gpio.play(&client(1), blink(Some(2))).expect("it can be played");
    assert_eq!(started.duration, Some(millis(6)));
    for expected in ["relay high", "relay low", "relay high", "relay low"] {
        assert_eq!(bench.next(), expected);
    }
    assert!(bench.gpio.cancel(&client(1), &started.id).is_err(), "it has ended");

    let endless = bench.gpio.play(&client(1), blink(None)).expect("it can be played");
    assert_eq!((bench.next(), bench.next()), ("relay high".into(), "relay low".into()));
    assert_eq!(bench.gpio.report(&[pin(17)]).expect("it exists")[0].sequence, Some(endless.id.clone()));
    bench.set(&client(2), Level::Low).expect("nobody leases it");
    assert!(bench.gpio.cancel(&client(1), &endless.id).is_err(), "a write ends it");
}

#[test]
fn a_signal_is_told_by_its_duty_and_ends_low() {
    let bench = Bench::new(|line| line.mode = Some(Mode::Pwm));
    assert_eq!(bench.next(), "relay 0 %");
    let quarter = Duty::from_fraction(0.25).expect("a fraction");
    bench.gpio.update(&client(1), &[(pin(17), LineSetting::Fraction { duty: quarter })]).expect("configured for it");
    assert_eq!(bench.next(), "relay 25 %");
    let state = &bench.gpio.read(&[pin(17)]).expect("it exists")[0];
    assert_eq!(state.pwm.map(|pwm| (pwm.frequency, pwm.duty)), Some((100.0, quarter)));
    assert!(bench.gpio.set_pwm(&client(1), pin(17), 5000.0, quarter).is_err(), "too fast for software");
    bench.gpio.make_safe("a test");
    assert_eq!(bench.level(17), Some(Level::Low));
    assert_eq!(bench.gpio.read(&[pin(17)]).expect("it exists")[0].pwm, None);
}

#[test]
fn after_the_seal_nobody_writes_any_more() {
    let bench = Bench::new(|_| {});
    bench.set(&client(1), Level::High).expect("free");
    bench.gpio.seal("a test");
    assert_eq!(bench.level(17), Some(Level::Low));
    assert_eq!(bench.set(&client(1), Level::High), Err(GpioError::ShuttingDown { pin: pin(17) }));
}

#[test]
fn lines_that_clients_may_not_touch_are_refused_and_readable() {
    let bench = Bench::new(|_| {});
    let refused = bench.gpio.update(&client(1), &[output(0, Level::High)]).expect_err("an EEPROM line");
    assert_eq!(refused, GpioError::Denied { pin: pin(0) });
    assert!(bench.gpio.lease(&client(1), &LeaseWish { pins: vec![pin(1)], ..lease(LIMIT, LIMIT) }).is_err());
    assert_eq!(bench.level(0), Some(Level::Low));
}

#[test]
fn a_kept_level_is_the_first_one_of_the_next_start() {
    let dir = std::env::temp_dir().join(format!("pinwire-outputs-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let start = || Bench::with(|line| line.persist = true, |_| {}, Some(dir.clone()));
    let bench = start();
    bench.set(&client(1), Level::High).expect("free");
    drop(bench);
    assert_eq!(start().next(), "relay high", "the safe state of the shutdown is not what was wanted last");
    std::fs::write(dir.join("outputs"), "relay sideways\n\u{0}\n").expect("written");
    assert_eq!(start().level(17), Some(Level::Low), "what cannot be read is not believed");
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn an_interlock_holds_within_one_update_for_signals_too() {
    let interlocked = |all: &mut config::Gpio| {
        let lamp = Line { mode: Some(Mode::Pwm), interlock: vec![pin(17)], ..Line::plain(pin(22)) };
        all.lines.insert("lamp".into(), lamp);
    };
    let bench = Bench::with(|relay| relay.interlock = vec![pin(22)], interlocked, None);
    let half = LineSetting::Fraction { duty: Duty::from_fraction(0.5).expect("a fraction") };
    let both = bench.gpio.update(&client(1), &[(pin(22), half), output(17, Level::High)]);
    assert!(matches!(both, Err(GpioError::Rule { .. })), "{both:?}");
    assert_eq!((bench.level(22), bench.level(17)), (Some(Level::Low), Some(Level::Low)));
    bench.gpio.update(&client(1), &[(pin(22), half), output(17, Level::Low)]).expect("one of them");
}

/// Whoever waits for the lines meanwhile is overtaken by others; its write is later than theirs all the same.
#[test]
fn writers_that_wait_for_each_other_meet_no_rule_that_nobody_set() {
    let sinks = Sinks::new(|_| {}, |_| true);
    let gpio = Arc::new(Gpio::new(&settings(Backend::Sim), &places(), sinks).expect("the simulation"));
    let (sender, refused) = channel();
    for _ in 0..8 {
        let (gpio, sender) = (Arc::clone(&gpio), sender.clone());
        let write = move || {
            let levels = [Level::High, Level::Low].into_iter().cycle().take(2_000);
            let _ = sender.send(levels.filter_map(|level| gpio.update(&caller(), &[output(4, level)]).err()).next());
        };
        Worker::spawn("writer", write).expect("a thread");
    }
    for _ in 0..8 {
        assert_eq!(refused.recv_timeout(LIMIT), Ok(None));
    }
}

#[test]
fn a_lease_ends_what_others_play_on_its_lines_and_is_not_given_twice() {
    let bench = Bench::new(|_| {});
    let steps = vec![Step { at: Duration::ZERO, levels: vec![(pin(17), Level::High)] }];
    let forever = Sequence { steps, period: millis(1), rounds: None };
    let started = bench.gpio.play(&client(1), forever).expect("nobody leases it");
    let granted = bench.gpio.lease(&client(2), &lease(LIMIT, LIMIT)).expect("nobody leases it");
    assert!(bench.gpio.cancel(&client(2), &started.id).is_err(), "the lease has ended it");
    let again = bench.gpio.lease(&client(2), &lease(LIMIT, LIMIT)).expect_err("it has one");
    assert!(again.to_string().contains(&format!("in your own lease '{}'", granted.id)), "{again}");
}

#[test]
fn what_is_configured_as_an_input_is_never_driven() {
    let bench = Bench::with(
        |_| {},
        |config| {
            config.lines.insert("button".into(), Line { mode: Some(Mode::Input), ..Line::plain(pin(4)) });
        },
        None,
    );
    let me = client(1);
    let step = Step { at: Duration::ZERO, levels: vec![(pin(4), Level::High)] };
    let sequence = Sequence { steps: vec![step], period: millis(1), rounds: Some(1) };
    let refusals = [
        bench.gpio.update(&me, &[output(4, Level::High)]),
        bench.gpio.set_pwm(&me, pin(4), 50.0, Duty::FULL).map(drop),
        bench.gpio.play(&me, sequence).map(drop),
    ];
    for refused in refusals {
        assert!(matches!(&refused, Err(GpioError::Refused { why, .. }) if why.contains("gpio.pins.button.mode")));
    }
    bench.gpio.update(&me, &[input(4, Bias::Up)]).expect("it may be an input");
}

#[test]
fn the_end_of_a_signal_by_a_sequence_is_told() {
    let bench = Bench::new(|line| line.mode = None);
    let half = Duty::from_fraction(0.5).expect("a fraction");
    bench.gpio.set_pwm(&client(1), pin(17), 100.0, half).expect("slow enough");
    assert_eq!(bench.next(), "relay 50 %");
    let step = |at, level| Step { at, levels: vec![(pin(17), level)] };
    let steps = vec![step(Duration::ZERO, Level::High), step(millis(1), Level::Low)];
    bench.gpio.play(&client(1), Sequence { steps, period: millis(1), rounds: Some(1) }).expect("it can be played");
    assert_eq!((bench.next(), bench.next()), ("relay 100 %".into(), "relay low".into()));
}
