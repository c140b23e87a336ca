//! Taking, changing and letting go of lines, as others see it.

use super::*;

#[test]
fn lines_taken_together_are_what_was_said() {
    if absent() {
        return;
    }
    let sim = Sim::new("take", 28, None);
    let mut lines = sim.open();
    let inverted = Hold { active_low: true, ..output(Level::High) };
    lines
        .hold(&[
            (pin(4), input(Some(Bias::Up), Edge::Both, 0)),
            (pin(17), output(Level::High)),
            (pin(22), inverted),
            (pin(27), output(Level::Low)),
        ])
        .expect("all are free");
    assert_eq!(sim.info(4), "unnamed \"pinwire\" input active-high [used pull-up]");
    assert_eq!(sim.info(17), "unnamed \"pinwire\" output active-high [used]");
    assert_eq!(sim.info(22), "unnamed \"pinwire\" output active-low [used]");
    assert_eq!([4, 17, 22, 27].map(|line| sim.value(line)), [true, true, false, false]);
    let mut state = |bcm| {
        let state = lines.inspect(pin(bcm)).expect("its line");
        (state.direction, state.level, state.bias, state.active_low, state.consumer)
    };
    let (i, o) = (Some(Direction::Input), Some(Direction::Output));
    assert_eq!(state(4), (i, Some(Level::High), Some(Bias::Up), false, None));
    assert_eq!(state(22), (o, Some(Level::High), None, true, None), "levels are logical");
    assert_eq!(state(5), (i, None, None, false, None), "to read it would be to take it");
    assert!(lines.reports_edges(pin(4)) && !lines.reports_edges(pin(17)) && !lines.reports_edges(pin(5)));
}

#[test]
fn a_change_leaves_the_other_lines_of_its_request_as_they_are() {
    if absent() {
        return;
    }
    let sim = Sim::new("change", 28, None);
    let mut lines = sim.open();
    let both = input(Some(Bias::Up), Edge::Both, 0);
    lines.hold(&[(pin(5), output(Level::High)), (pin(6), output(Level::Low)), (pin(7), both)]).expect("all are free");
    lines.hold(&[(pin(6), output(Level::High))]).expect("a level");
    assert_eq!([5, 6, 7].map(|line| sim.value(line)), [true; 3]);
    // Of the bias nothing is said: it stays.
    lines.hold(&[(pin(7), output(Level::Low)), (pin(6), output(Level::Low))]).expect("a change and a level");
    assert_eq!([5, 6, 7].map(|line| sim.value(line)), [true, false, false]);
    assert_eq!(sim.info(7), "unnamed \"pinwire\" output active-high [used pull-up]");
    lines.hold(&[(pin(5), input(Some(Bias::Down), Edge::Rising, 0))]).expect("a change");
    assert_eq!([5, 6, 7].map(|line| sim.value(line)), [false; 3]);
    assert!(!sim.is_output(5) && sim.is_output(6) && sim.is_output(7));
    // Several requests, a new line, and one that is as it should be, at once.
    lines.hold(&[(pin(8), output(Level::Low))]).expect("free");
    lines
        .hold(&[
            (pin(9), output(Level::High)),
            (pin(8), output(Level::High)),
            (pin(7), output(Level::High)),
            (pin(6), output(Level::Low)),
        ])
        .expect("all of it");
    assert_eq!([6, 7, 8, 9].map(|line| sim.value(line)), [false, true, true, true]);
}

#[test]
fn a_line_that_somebody_holds_stops_the_whole_update() {
    if absent() {
        return;
    }
    let sim = Sim::new("held", 28, Some((17, "spi0 CS1")));
    let mut lines = sim.open();
    lines.hold(&[(pin(6), output(Level::Low))]).expect("free");
    let before = sim.infos();
    let error = lines
        .hold(&[(pin(5), output(Level::High)), (pin(6), output(Level::High)), (pin(17), output(Level::High))])
        .expect_err("17 is held");
    let text = "Failed to update pin `GPIO17`: line 17 is held by 'spi0 CS1'; end that first";
    assert_eq!(error.to_string(), text);
    assert_eq!(sim.infos(), before);
    assert!(!sim.value(5) && !sim.value(6));
    let other = sim.other(20);
    let error = lines.hold(&[(pin(20), output(Level::Low))]).expect_err("gpioset has it");
    assert_eq!(error, GpioError::Held { pin: pin(20), consumer: "gpioset".into() });
    let state = lines.inspect(pin(20)).expect("its line");
    assert_eq!((state.level, state.consumer.as_deref()), (None, Some("gpioset")));
    drop(other);
    lines.hold(&[(pin(20), output(Level::Low))]).expect("it is free again");
}

#[test]
fn an_output_as_it_is_keeps_its_level() {
    if absent() {
        return;
    }
    let sim = Sim::new("as-is", 28, None);
    sim.pull(5, true);
    let mut lines = sim.open();
    let inverted = Hold { active_low: true, ..as_is() };
    lines.hold(&[(pin(5), as_is()), (pin(6), as_is()), (pin(7), inverted)]).expect("all are free");
    assert!([5, 6, 7].iter().all(|line| sim.is_output(*line)));
    assert_eq!([5, 6, 7].map(|line| sim.value(line)), [true, false, false]);
    assert_eq!(lines.inspect(pin(7)).expect("its line").level, Some(Level::High));
    // Driven now: the pull is no longer what makes the level.
    sim.pull(5, false);
    assert!(sim.value(5));
    lines.hold(&[(pin(5), Hold { active_low: true, ..as_is() })]).expect("turned around");
    assert!(sim.value(5), "the level on the wire stays");
    assert_eq!(lines.inspect(pin(5)).expect("its line").level, Some(Level::Low));
    lines.hold(&[(pin(6), input(None, Edge::None, 0))]).expect("an input");
    sim.pull(6, true);
    lines.hold(&[(pin(6), as_is())]).expect("an output");
    assert!(sim.value(6) && sim.is_output(6));
}

#[test]
fn more_settings_than_one_request_carries_become_several_requests() {
    if absent() {
        return;
    }
    let sim = Sim::new("many", 28, None);
    let mut lines = sim.open();
    let all: Vec<(Pin, Hold)> = (0..28).map(|bcm| (pin(bcm), input(None, Edge::Both, u64::from(bcm) + 1))).collect();
    lines.hold(&all).expect("in several requests");
    let held = |sim: &Sim| sim.infos().values().filter(|info| info.contains("\"pinwire\"")).count();
    assert_eq!(held(&sim), 28);
    assert!((0..28).all(|bcm| lines.reports_edges(pin(bcm))));
    // A request that is full says so, and nothing has changed.
    let error = lines.hold(&[(pin(0), output(Level::High))]).expect_err("no room");
    assert!(error.to_string().contains("the kernel has room for (10)"), "{error}");
    assert!(!sim.is_output(0));
    let pins: Vec<Pin> = (0..28).map(pin).collect();
    lines.release(&pins);
    assert_eq!(held(&sim), 0);
}

#[test]
fn a_line_let_go_is_an_input_and_free_with_the_last_of_its_request() {
    if absent() {
        return;
    }
    let sim = Sim::new("release", 28, None);
    let mut lines = sim.open();
    lines.hold(&[(pin(5), output(Level::High)), (pin(6), output(Level::High))]).expect("free");
    lines.release(&[pin(5), pin(9)]);
    assert_eq!(sim.info(5), "unnamed \"pinwire\" input active-high [used]");
    assert!(sim.value(6) && sim.is_output(6));
    lines.hold(&[(pin(5), output(Level::High))]).expect("taken back");
    assert!(sim.value(5) && sim.is_output(5));
    lines.release(&[pin(5)]);
    lines.release(&[pin(6)]);
    assert_eq!((sim.consumer(5), sim.consumer(6)), (None, None));
    lines.hold(&[(pin(5), output(Level::High))]).expect("free");
    drop(lines);
    assert_eq!(sim.consumer(5), None);
}

#[test]
fn a_bias_is_set_with_the_line() {
    if absent() {
        return;
    }
    let sim = Sim::new("bias", 28, None);
    let mut lines = sim.open();
    for (bias, up) in [(Bias::Up, true), (Bias::Down, false), (Bias::Up, true)] {
        lines.hold(&[(pin(5), input(Some(bias), Edge::Both, 0))]).expect("free or ours");
        let state = lines.inspect(pin(5)).expect("its line");
        assert_eq!((sim.is_pulled_up(5), state.bias), (up, Some(bias)));
        assert_eq!(state.level, Some(Level::from_bool(up)));
    }
}
