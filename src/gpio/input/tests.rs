//! Edges of several lines on their way to a hub that has room, or not.

use super::*;
use crate::types::event::LineChangeKind;

/// An input whose events are kept.
struct Rig {
    input: Input,
    room: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Event>>>,
}

impl Rig {
    fn new(config: &config::Gpio, debounced: bool) -> Rig {
        let (room, seen) = (Arc::new(AtomicBool::new(true)), Arc::<Mutex<Vec<Event>>>::default());
        let (has_room, log) = (Arc::clone(&room), Arc::clone(&seen));
        let post = move |event| {
            let taken = has_room.load(Ordering::Relaxed);
            if taken {
                log.lock().expect("no test panics in the sink").push(event);
            }
            taken
        };
        let sinks = Arc::new(Sinks::new(|event| panic!("no client caused this: {event:?}"), post));
        let resources = Arc::new(Resources::new(config));
        Rig { input: Input::new(config, &resources, &sinks, debounced), room, seen }
    }

    fn edge(&self, bcm: u8, level: Level, monotonic_ns: u64) {
        self.input.edges(&[RawEdge { pin: pin(bcm), level, monotonic_ns, seqno: None, lost: 0 }]);
    }

    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.seen.lock().expect("no test panics in the sink"))
    }

    /// What was told of lines' levels: name, level, count, lost.
    fn told(&self) -> Vec<(String, Level, u32, u32)> {
        let short = |event: Event| match event.body {
            Body::GpioState { resource, level, pwm_duty: None, edges: Some(edges), .. } => {
                (resource.to_string(), level, edges.count, edges.lost)
            }
            other => panic!("not an edge: {other:?}"),
        };
        self.take().into_iter().map(short).collect()
    }
}

fn pin(bcm: u8) -> Pin {
    Pin::new(bcm).expect("a BCM number below 28")
}

/// A button on GPIO4 whose rising edges count, debounced.
fn config() -> config::Gpio {
    let button = config::Line { edge: Edge::Rising, debounce: Duration::from_secs(60), ..config::Line::plain(pin(4)) };
    config::Gpio { lines: [("button".to_owned(), button)].into(), edge_events: 2, ..config::Gpio::default() }
}

#[test]
fn each_line_has_its_name_and_its_own_settings() {
    let rig = Rig::new(&config(), true);
    let now = clock::monotonic_ns();
    for (bcm, level) in [(4, Level::High), (4, Level::Low), (17, Level::High), (17, Level::Low)] {
        rig.edge(bcm, level, now);
    }
    let expected = [("button", Level::High), ("GPIO17", Level::High), ("GPIO17", Level::Low)]
        .map(|(n, l)| (n.to_owned(), l, 1, 0));
    assert_eq!(rig.told(), expected);
    assert_eq!(rig.input.counters(pin(4)), EdgeCounters { rising: 1, ..EdgeCounters::default() });
    assert_eq!(rig.input.counters(pin(17)), EdgeCounters { rising: 1, falling: 1, ..EdgeCounters::default() });
    assert_eq!(rig.input.next_tick(), None);
}

#[test]
fn an_event_carries_the_wall_time_of_its_edge() {
    let rig = Rig::new(&config(), true);
    // Some machines have booted a second ago.
    let ago = Duration::from_nanos(clock::monotonic_ns()).min(Duration::from_secs(3600)) / 2;
    let expected = clock::wall() - ago;
    rig.edge(17, Level::High, clock::monotonic_ns() - ago.as_nanos() as u64);
    let told = rig.take().remove(0).at;
    let off = told.duration_since(expected).unwrap_or_else(|early| early.duration());
    // Room for a machine that is busy between two lines of this test.
    assert!(off < Duration::from_secs(10), "{off:?}");
}

#[test]
fn only_a_backend_that_does_not_debounce_is_helped() {
    let rig = Rig::new(&config(), false);
    rig.edge(4, Level::High, clock::monotonic_ns());
    rig.edge(17, Level::High, clock::monotonic_ns());
    assert_eq!(rig.told().len(), 1, "no debouncing for a line without");
    let due = rig.input.next_tick().expect("the button waits");
    let minute = due - clock::now();
    assert!((Duration::from_secs(50)..=Duration::from_secs(60)).contains(&minute), "{minute:?}");
    rig.input.arrange(pin(4), Edge::Both, Duration::from_nanos(1));
    rig.input.know(pin(4), Level::High);
    rig.edge(4, Level::Low, clock::monotonic_ns() - 1);
    rig.input.tick(clock::now());
    assert_eq!(rig.told(), [("button".to_owned(), Level::Low, 1, 0)]);
}

#[test]
fn a_line_arranged_anew_tells_first_what_it_had_counted() {
    let rig = Rig::new(&config(), true);
    (0..5).for_each(|_| rig.edge(17, Level::High, clock::monotonic_ns()));
    rig.take();
    rig.input.arrange(pin(17), Edge::Falling, Duration::ZERO);
    rig.input.know(pin(17), Level::High);
    assert_eq!(rig.told(), [("GPIO17".to_owned(), Level::High, 3, 0)]);
    rig.edge(17, Level::High, clock::monotonic_ns());
    assert_eq!(rig.told(), [], "only falling edges count now");
    rig.input.forget(pin(17));
    assert_eq!(rig.input.counters(pin(17)), EdgeCounters::default());
    rig.edge(17, Level::High, clock::monotonic_ns());
    assert_eq!(rig.told().len(), 1, "as the configuration has it");
}

#[test]
fn a_hub_without_room_is_asked_again_without_waiting() {
    let rig = Rig::new(&config(), true);
    rig.room.store(false, Ordering::Relaxed);
    (0..2).for_each(|_| rig.edge(17, Level::High, clock::monotonic_ns()));
    assert!(rig.input.next_tick().is_some_and(|due| due <= clock::now() + line::RETRY));
    rig.room.store(true, Ordering::Relaxed);
    rig.edge(4, Level::High, clock::monotonic_ns());
    assert_eq!(rig.told().len(), 1, "one line's loss is not another's");
    rig.edge(17, Level::Low, clock::monotonic_ns());
    rig.input.arrange(pin(17), Edge::Both, Duration::ZERO);
    assert_eq!(rig.told(), [("GPIO17".to_owned(), Level::Low, 1, 2)]);
}

#[test]
fn what_is_overdue_is_seen_to_be_due() {
    let rig = Rig::new(&config(), true);
    let ago = clock::monotonic_ns() - Duration::from_secs(1).as_nanos() as u64;
    (0..5).for_each(|_| rig.edge(17, Level::High, ago));
    assert_eq!(rig.take().len(), 2);
    let now = clock::now();
    assert!(rig.input.next_tick().is_some_and(|due| due <= now), "looked at after the clock");
    rig.input.tick(now);
    assert_eq!(rig.told(), [("GPIO17".to_owned(), Level::High, 3, 0)]);
}

#[test]
fn a_lost_chip_leaves_no_count_untold_and_is_passed_on() {
    let rig = Rig::new(&config(), true);
    let heard = Arc::<Mutex<Vec<bool>>>::default();
    let log = Arc::clone(&heard);
    rig.input.on_chip(move |there| log.lock().expect("nothing panics in the hook").push(there));
    (0..5).for_each(|_| rig.edge(17, Level::High, clock::monotonic_ns()));
    rig.take();
    rig.input.chip_lost("it was unplugged");
    assert_eq!(rig.told(), [("GPIO17".to_owned(), Level::High, 3, 0)]);
    assert_eq!(rig.input.next_tick(), None);
    rig.input.chip_lost("it is still not there");
    rig.input.chip_returned();
    assert_eq!(*heard.lock().expect("nothing panics in the hook"), [false, true]);
}

#[test]
fn what_others_do_with_a_line_is_passed_on() {
    let rig = Rig::new(&config(), true);
    let change = LineChange {
        kind: LineChangeKind::Requested,
        consumer: Some("gpiomon".into()),
        direction: None,
        bias: None,
        active_low: false,
    };
    rig.input.line_changed(pin(4), change.clone());
    match rig.take().remove(0).body {
        Body::GpioLine { resource, pin: line, change: told } => {
            assert_eq!((&*resource, line, told), ("button", pin(4), change));
        }
        other => panic!("{other:?}"),
    }
}
