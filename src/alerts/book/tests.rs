//! Samples and statuses in, alerts out; with a clock of the test's own.

use super::*;
use crate::rt::clock;
use crate::types::fleet::{AlertKind, Comparison, Cpu, Disk, Space};
use crate::types::reading::Throttle;

const ID: &str = "0c9b1a52-0000-4000-8000-000000000001";

struct Bench {
    book: Book,
    start: Moment,
}

impl Bench {
    fn new() -> Bench {
        let start = Moment { now: clock::now(), wall: clock::wall() };
        Bench { book: Book::new(&config::Alerts::default(), Vec::new(), Vec::new(), start.wall), start }
    }

    fn at(&self, seconds: u64) -> Moment {
        let later = Duration::from_secs(seconds);
        Moment { now: self.start.now + later, wall: self.start.wall + later }
    }

    fn threshold(&mut self, id: &str, value: f64, duration: u64, hysteresis: f64) -> Threshold {
        let threshold = Threshold {
            id: id.into(),
            server_id: ID.into(),
            metric: AlertKind::Cpu,
            value,
            comparison: Comparison::Above,
            enabled: true,
            duration: Duration::from_secs(duration),
            hysteresis,
            created_at: self.start.wall,
            updated_at: self.start.wall,
        };
        self.book.add_threshold(threshold.clone());
        threshold
    }

    fn cpu(&mut self, percent: f64, seconds: u64) -> Vec<String> {
        self.sample(Sample { cpu: Cpu { percent: Some(percent), ..Cpu::default() }, ..Sample::default() }, seconds)
    }

    fn sample(&mut self, sample: Sample, seconds: u64) -> Vec<String> {
        told(self.book.sample(ID, "pi1", &sample, self.at(seconds)))
    }

    fn status(&mut self, status: ServerStatus, seconds: u64) -> Vec<String> {
        told(self.book.status(ID, "pi1", status, self.at(seconds)))
    }

    /// The same after a restart, from what would have been written.
    fn restart(self) -> Bench {
        let (alerts, _) = self.book.unwritten();
        let unfinished = alerts.into_iter().filter(|kept| kept.muted || kept.alert.resolved_at.is_none()).collect();
        let thresholds = self.book.thresholds(None);
        let book = Book::new(&config::Alerts::default(), thresholds, unfinished, self.start.wall);
        Bench { book, start: self.start }
    }

    fn open(&self) -> Vec<Alert> {
        let (alerts, _) = self.book.unwritten();
        alerts.into_iter().map(|kept| kept.alert).filter(|alert| alert.resolved_at.is_none()).collect()
    }
}

fn told(changes: Vec<Change>) -> Vec<String> {
    let tell = |it: Change| format!("{} {} {}", it.change.as_str(), it.alert.severity.as_str(), it.alert.message);
    changes.into_iter().map(tell).collect()
}

fn disk(path: &str, percent: f64) -> Disk {
    Disk { path: path.into(), space: Space { total: Some(1), percent: Some(percent), ..Space::default() } }
}

#[test]
fn two_thresholds_on_one_metric_have_an_alert_each_and_do_not_flap() {
    let mut bench = Bench::new();
    bench.threshold("a", 50.0, 0, 0.0);
    bench.threshold("b", 80.0, 0, 10.0);
    assert_eq!(bench.cpu(50.0, 0), [""; 0]);
    assert_eq!(bench.cpu(60.0, 5), ["created warning CPU usage is 60.0%, which exceeds threshold of > 50.0%"]);
    assert_eq!(bench.cpu(60.0, 10), [""; 0]);
    assert_eq!(bench.cpu(85.0, 15), ["created warning CPU usage is 85.0%, which exceeds threshold of > 80.0%"]);
    assert_eq!(bench.book.health(ID), Health::Warning);
    assert_eq!(bench.cpu(75.0, 20), [""; 0], "not beyond the hysteresis, and the other is still exceeded");
    assert_eq!(bench.cpu(70.0, 25), ["resolved warning CPU usage is 85.0%, which exceeds threshold of > 80.0%"]);
    assert_eq!(bench.cpu(50.0, 30).len(), 1);
    assert_eq!(bench.book.health(ID), Health::Healthy);
    assert_eq!(bench.cpu(76.0, 35), ["created critical CPU usage is 76.0%, which exceeds threshold of > 50.0%"]);
    assert_eq!(bench.book.health(ID), Health::Critical);
}

#[test]
fn a_duration_counts_from_the_first_sample_and_not_over_a_silence() {
    let mut bench = Bench::new();
    bench.threshold("a", 50.0, 10, 0.0);
    assert!(bench.cpu(60.0, 0).is_empty() && bench.cpu(60.0, 9).is_empty());
    assert_eq!(bench.cpu(60.0, 10).len(), 1);
    assert_eq!(bench.cpu(1.0, 11).len(), 1);
    assert!(bench.cpu(60.0, 20).is_empty());
    assert!(bench.status(ServerStatus::Offline, 25).is_empty() && bench.status(ServerStatus::Online, 40).is_empty());
    assert!(bench.cpu(60.0, 41).is_empty(), "nobody knows how it was meanwhile");
    assert_eq!(bench.cpu(60.0, 51).len(), 1);
}

#[test]
fn resolved_by_hand_it_is_silent_until_it_has_come_back_once_even_over_a_restart() {
    let mut bench = Bench::new();
    bench.threshold("a", 50.0, 0, 0.0);
    bench.cpu(60.0, 0);
    let id = bench.open()[0].id.clone();
    let at = bench.at(1);
    assert!(bench.book.acknowledge(&id, at).is_some());
    assert!(bench.book.acknowledge(&id, at).is_none(), "the second time changes nothing");
    assert!(bench.book.resolve(&id, at).is_some());
    assert!(bench.book.resolve(&id, at).is_none() && bench.book.acknowledge(&id, at).is_none());
    assert!(bench.cpu(60.0, 5).is_empty());
    let mut bench = bench.restart();
    assert!(bench.cpu(60.0, 10).is_empty());
    assert!(bench.cpu(50.0, 15).is_empty(), "it was resolved already");
    let (written, _) = bench.book.unwritten();
    assert!(written.iter().any(|kept| kept.alert.id == id && !kept.muted), "and the next restart knows");
    assert_eq!(bench.cpu(60.0, 20).len(), 1);
}

#[test]
fn an_open_alert_is_not_raised_twice_over_a_restart_and_ends_with_its_threshold() {
    let mut bench = Bench::new();
    let mut threshold = bench.threshold("a", 50.0, 0, 0.0);
    bench.cpu(60.0, 0);
    let mut bench = bench.restart();
    assert!(bench.cpu(61.0, 5).is_empty());
    threshold.value = 70.0;
    let at = bench.at(6);
    assert!(bench.book.change_threshold(threshold.clone(), at).is_empty(), "the next sample decides");
    assert_eq!(bench.cpu(61.0, 10).len(), 1);
    assert_eq!(bench.cpu(71.0, 15).len(), 1);
    threshold.enabled = false;
    assert_eq!(told(bench.book.change_threshold(threshold.clone(), at)).len(), 1);
    assert!(bench.cpu(71.0, 20).is_empty());
    threshold.enabled = true;
    assert!(bench.book.change_threshold(threshold, at).is_empty());
    assert_eq!(bench.cpu(71.0, 25).len(), 1);
    let orphaned = {
        let (alerts, _) = bench.book.unwritten();
        Book::new(&config::Alerts::default(), Vec::new(), alerts, bench.start.wall)
    };
    assert!(orphaned.unwritten().0.iter().all(|kept| kept.alert.resolved_at.is_some()));
    assert_eq!(bench.book.remove_threshold("a", at).len(), 1);
    assert!(bench.book.remove_threshold("a", at).is_empty() && bench.open().is_empty());
}

#[test]
fn an_agent_is_missed_after_a_while() {
    let mut bench = Bench::new();
    assert!(bench.status(ServerStatus::Unknown, 0).is_empty());
    assert!(bench.status(ServerStatus::Offline, 0).is_empty());
    let (changes, due) = bench.book.tick(bench.at(59));
    assert!(changes.is_empty() && due == Some(bench.at(60).now));
    let (changes, due) = bench.book.tick(bench.at(60));
    assert_eq!(told(changes), ["created critical The agent of pi1 has been offline for 1m"]);
    assert_eq!(due, None);
    let mut bench = bench.restart();
    assert!(bench.status(ServerStatus::Offline, 100).is_empty());
    assert!(bench.book.tick(bench.at(200)).0.is_empty());
    assert_eq!(bench.status(ServerStatus::Online, 201).len(), 1);
    bench.status(ServerStatus::Offline, 210);
    bench.status(ServerStatus::Online, 220);
    assert_eq!(bench.book.tick(bench.at(300)).1, None, "it came back in time");
}

#[test]
fn what_is_built_in_is_watched_without_a_threshold() {
    let mut bench = Bench::new();
    let volts = |bits| Sample { throttle: Some(Throttle { bits }), ..Sample::default() };
    assert!(bench.sample(volts(0x1_0000), 0).is_empty(), "that was once");
    assert_eq!(bench.sample(volts(1), 5).len(), 1);
    assert!(bench.sample(volts(0), 10).is_empty() && bench.sample(volts(1), 15).is_empty());
    assert!(bench.sample(volts(0), 20).is_empty());
    assert_eq!(bench.sample(volts(0), 80).len(), 1, "a minute without");
    let clock = |synchronised| Sample { clock_synchronised: Some(synchronised), ..Sample::default() };
    assert!(bench.sample(clock(false), 100).is_empty());
    assert_eq!(bench.sample(clock(false), 700), ["created warning The clock has not been synchronised for 10m"]);
    assert_eq!(bench.sample(clock(true), 705).len(), 1);
    let store = |bench: &mut Bench, why| {
        let at = bench.at(0);
        told(bench.book.store_state(ID, "hub", why, at))
    };
    assert_eq!(store(&mut bench, Some("disk full")), ["created critical The hub's store works from memory: disk full"]);
    assert!(store(&mut bench, Some("another reason")).is_empty());
    assert_eq!(store(&mut bench, None).len(), 1);
}

#[test]
fn each_disk_has_an_alert_of_its_own() {
    let mut bench = Bench::new();
    let disks = |disks: &[(&str, f64)]| Sample {
        disks: Some(disks.iter().map(|(path, percent)| disk(path, *percent)).collect()),
        ..Sample::default()
    };
    assert_eq!(
        bench.sample(disks(&[("/", 91.0), ("/data", 98.0)]), 0),
        [
            "created warning Disk / is 91.0% full, which exceeds threshold of > 90.0%",
            "created critical Disk /data is 98.0% full, which exceeds threshold of > 97.0%"
        ]
    );
    let mut bench = bench.restart();
    assert!(bench.sample(disks(&[("/", 91.0), ("/data", 96.5)]), 5).is_empty());
    assert_eq!(
        bench.sample(disks(&[("/", 89.0), ("/data", 95.0)]), 10),
        [
            "resolved warning Disk / is 91.0% full, which exceeds threshold of > 90.0%",
            "created warning Disk /data is 95.0% full, which exceeds threshold of > 90.0%",
            "resolved critical Disk /data is 98.0% full, which exceeds threshold of > 97.0%"
        ]
    );
    assert_eq!(bench.sample(disks(&[("/", 1.0)]), 15).len(), 1, "it was taken away");
}

#[test]
fn a_server_leaves_nothing_and_what_is_not_written_has_a_bound() {
    let mut bench = Bench::new();
    bench.threshold("a", 50.0, 0, 0.0);
    bench.cpu(60.0, 0);
    let at = bench.at(1);
    assert_eq!(bench.book.remove_server(ID, at).len(), 1);
    let (alerts, gone) = bench.book.unwritten();
    assert_eq!((alerts.len(), gone, bench.book.threshold_count(ID)), (0, vec![ID.to_owned()], 0));
    bench.threshold("a", 50.0, 0, 0.0);
    bench.cpu(60.0, 2);
    let open = bench.open().remove(0).id;
    for second in 0..UNWRITTEN as u64 {
        bench.book.status("other", "x", ServerStatus::Offline, bench.at(second * 100));
        bench.book.tick(bench.at(second * 100 + 60));
        bench.book.status("other", "x", ServerStatus::Online, bench.at(second * 100 + 61));
    }
    let (alerts, _) = bench.book.unwritten();
    assert_eq!((alerts.len(), bench.book.take_forgotten()), (UNWRITTEN, 1));
    assert!(bench.book.newer(&open).is_some(), "an open one is kept");
    bench.book.written(&alerts, &[]);
    assert!(bench.book.unwritten().0.is_empty());
}
