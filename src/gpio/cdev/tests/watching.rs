//! What the watcher is told: edges with their numbers, what others do, and the chip's going and coming.

use super::*;

fn foreign(told: &Receiver<Told>) -> (Pin, LineChangeKind, Option<String>) {
    match next(told) {
        Told::Line(pin, change) => (pin, change.kind, change.consumer),
        other => panic!("not a line's change: {other:?}"),
    }
}

#[test]
fn edges_come_with_the_kernels_numbers_and_times() {
    if absent() {
        return;
    }
    let sim = Sim::new("edges", 28, None);
    let mut lines = sim.open();
    let told = watch(&mut *lines);
    let inverted = Hold { active_low: true, ..input(None, Edge::Both, 0) };
    lines.hold(&[(pin(5), input(None, Edge::Both, 0)), (pin(6), inverted)]).expect("free");
    let mut last = 0;
    for (number, (line, up, level)) in [
        (5, true, Level::High),
        (6, true, Level::Low),
        (5, false, Level::Low),
        (6, false, Level::High),
        (5, true, Level::High),
    ]
    .into_iter()
    .enumerate()
    {
        sim.pull(line, up);
        let edge = next_edge(&told);
        assert_eq!((u32::from(edge.pin.number()), edge.level, edge.lost), (line, level, 0));
        let number = u32::try_from(number).expect("a few");
        assert_eq!(edge.seqno, Some((number + 1, number / 2 + 1)));
        assert!(edge.monotonic_ns > last);
        last = edge.monotonic_ns;
    }
    // A change of the other line neither loses edges nor makes any.
    lines.hold(&[(pin(6), output(Level::High))]).expect("ours");
    sim.pull(5, false);
    let edge = next_edge(&told);
    assert_eq!((edge.pin, edge.level, edge.seqno, edge.lost), (pin(5), Level::Low, Some((6, 4)), 0));
    lines.stop(LIMIT);
}

#[test]
fn the_kernel_debounces() {
    if absent() {
        return;
    }
    let sim = Sim::new("debounce", 28, None);
    let mut lines = sim.open();
    let told = watch(&mut *lines);
    lines.hold(&[(pin(5), input(None, Edge::Both, 100))]).expect("free");
    assert!(lines.debounces() && lines.reports_edges(pin(5)));
    for up in [true, false, true, false, true] {
        sim.pull(5, up);
        pause(TICK);
    }
    let edge = next_edge(&told);
    assert_eq!((edge.level, edge.seqno, edge.lost), (Level::High, Some((1, 1)), 0));
    assert_eq!(lines.inspect(pin(5)).expect("its line").level, Some(Level::High));
    assert_eq!(told.try_recv().ok(), None);
}

#[test]
fn every_edge_is_told_or_counted_as_lost() {
    if absent() {
        return;
    }
    const PULLS: u32 = 3000;
    let sim = Sim::new("overflow", 28, None);
    let mut lines = sim.open();
    lines.hold(&[(pin(5), input(None, Edge::Both, 0)), (pin(6), input(None, Edge::Both, 0))]).expect("free");
    // Nobody reads yet, so the kernel keeps the newest and forgets the rest.
    for number in 0..PULLS {
        sim.pull(5, number % 2 == 0);
        pause(TICK);
    }
    let told = watch(&mut *lines);
    sim.pull(5, true);
    let mut received = 0;
    let mut lost = 0;
    while received + lost <= PULLS {
        let edge = next_edge(&told);
        received += 1;
        lost += edge.lost;
        let (_, line_seqno) = edge.seqno.expect("numbers");
        assert!(received + lost >= line_seqno, "{edge:?} after {received} received and {lost} lost");
    }
    assert_eq!(received + lost, PULLS + 1);
    // As many as the kernel keeps, and those that came while it was read.
    assert!((1024..1040).contains(&received), "{received}");
    assert_eq!(told.try_recv().ok(), None);
}

#[test]
fn edges_not_read_when_their_line_is_let_go_are_told() {
    if absent() {
        return;
    }
    let sim = Sim::new("leftover", 28, None);
    let mut lines = sim.open();
    lines.hold(&[(pin(5), input(None, Edge::Both, 0))]).expect("free");
    let told = watch(&mut *lines);
    sim.pull(5, true);
    assert_eq!(next_edge(&told).level, Level::High);
    for number in 0..40 {
        let up = number % 2 == 1;
        sim.pull(5, up);
        until("the line is at its level", || sim.value(5) == up);
        pause(TICK);
        lines.release(&[pin(5)]);
        assert_eq!(next_edge(&told).level, Level::from_bool(up));
        lines.hold(&[(pin(5), input(None, Edge::Both, 0))]).expect("free");
    }
}

#[test]
fn what_others_do_is_told_and_what_we_do_is_not() {
    if absent() {
        return;
    }
    let sim = Sim::new("foreign", 28, None);
    let mut lines = sim.open();
    let told = watch(&mut *lines);
    let pins: Vec<Pin> = (0..20).map(pin).collect();
    let holds = |level| pins.iter().map(|pin| (*pin, output(level))).collect::<Vec<_>>();
    let inputs: Vec<(Pin, Hold)> = pins.iter().map(|pin| (*pin, input(None, Edge::None, 0))).collect();
    // More changes than the kernel keeps, several times.
    for _ in 0..5 {
        lines.hold(&holds(Level::High)).expect("free");
        lines.hold(&inputs).expect("ours");
        lines.hold(&holds(Level::Low)).expect("ours");
        lines.release(&pins);
    }
    for line in [3, 25] {
        let other = sim.other(line);
        let line = pin(u8::try_from(line).expect("small"));
        assert_eq!(foreign(&told), (line, LineChangeKind::Requested, Some("gpioset".into())));
        drop(other);
        assert_eq!(foreign(&told), (line, LineChangeKind::Released, None));
    }
    assert_eq!(told.try_recv().ok(), None);
}

/// A recorder that is held up by the first change of a line it is told of.
struct HeldUp(Recorder, Mutex<Receiver<()>>);

impl Watcher for HeldUp {
    fn edges(&self, edges: &[RawEdge]) {
        self.0.edges(edges);
    }

    fn line_changed(&self, pin: Pin, change: LineChange) {
        self.0.line_changed(pin, change);
        let _ = self.1.lock().expect("no panic in here").recv_timeout(LIMIT);
    }

    fn chip_lost(&self, why: &str) {
        self.0.chip_lost(why);
    }

    fn chip_returned(&self) {
        self.0.chip_returned();
    }

    fn next_tick(&self) -> Option<Instant> {
        None
    }

    fn tick(&self, _now: Instant) {}
}

#[test]
fn what_the_kernel_did_not_report_is_found_by_looking() {
    if absent() {
        return;
    }
    let sim = Sim::new("flood", 28, None);
    let mut lines = sim.open();
    let (sender, told) = channel();
    let (release, gate) = channel::<()>();
    lines.watch(Arc::new(HeldUp(Recorder(sender), Mutex::new(gate)))).expect("a thread");
    let _first = sim.other(27);
    assert_eq!(foreign(&told), (pin(27), LineChangeKind::Requested, Some("gpioset".into())));
    // Nobody reads now, and these are more than the kernel keeps: the next one it forgets.
    let outputs: Vec<(Pin, Hold)> = (0..20).map(|bcm| (pin(bcm), output(Level::High))).collect();
    let inputs: Vec<(Pin, Hold)> = (0..20).map(|bcm| (pin(bcm), input(None, Edge::None, 0))).collect();
    lines.hold(&outputs).expect("free");
    lines.hold(&inputs).expect("ours");
    let second = sim.other(25);
    drop(release);
    assert_eq!(foreign(&told), (pin(25), LineChangeKind::Requested, Some("gpioset".into())));
    drop(second);
    assert_eq!(foreign(&told), (pin(25), LineChangeKind::Released, None));
    assert_eq!(told.try_recv().ok(), None);
}

#[test]
fn a_chip_that_vanishes_is_told_and_found_again() {
    if absent() {
        return;
    }
    let sim = Sim::new("vanish", 28, None);
    let mut lines = sim.open();
    let told = watch(&mut *lines);
    lines.hold(&[(pin(5), output(Level::High)), (pin(6), input(None, Edge::Both, 0))]).expect("free");
    drop(sim);
    assert_eq!(next(&told), Told::Lost("it was removed".into()));
    let gone = GpioError::ChipGone { pin: pin(5), why: "it was removed".into() };
    assert_eq!(lines.hold(&[(pin(5), output(Level::Low))]), Err(gone.clone()));
    assert_eq!(lines.inspect(pin(5)), Err(gone));
    assert!(!lines.reports_edges(pin(6)));
    lines.release(&[pin(5)]);
    let sim = Sim::new("vanish", 28, None);
    assert_eq!(next(&told), Told::Returned);
    assert_eq!(sim.consumer(5), None, "nothing is taken by itself");
    lines.hold(&[(pin(5), output(Level::High)), (pin(6), input(None, Edge::Both, 0))]).expect("free");
    assert!(sim.value(5));
    sim.pull(6, true);
    assert_eq!(next_edge(&told).seqno, Some((1, 1)));
    let other = sim.other(7);
    assert_eq!(foreign(&told), (pin(7), LineChangeKind::Requested, Some("gpioset".into())));
    drop(other);
}

#[test]
fn a_chip_that_vanishes_unwatched_is_noticed_by_the_next_call() {
    if absent() {
        return;
    }
    let sim = Sim::new("unwatched", 28, None);
    let mut lines = sim.open();
    lines.hold(&[(pin(5), output(Level::High))]).expect("free");
    drop(sim);
    let gone = GpioError::ChipGone { pin: pin(5), why: "it was removed".into() };
    assert_eq!(lines.hold(&[(pin(5), output(Level::Low))]), Err(gone));
    let told = watch(&mut *lines);
    assert_eq!(next(&told), Told::Lost("it was removed".into()));
}
