//! Whole samples: of captured trees, and of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crossbeam_channel::bounded;

use super::*;
use crate::config;

/// A directory of the test's own; gone when dropped.
pub struct Tree(PathBuf);

impl Tree {
    pub fn new() -> Tree {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pinwire-collect-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Tree(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        std::fs::write(path, content).expect("a file");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn collector(root: &Path, containers: Option<Containers>) -> Collector {
    let settings = config::Telemetry {
        max_age: Duration::ZERO,
        vcgencmd: None,
        firmware_interval: Duration::from_secs(5),
        firmware_deadline: Duration::from_secs(5),
    };
    Collector::new(root, Arc::new(Telemetry::new(root, &settings)), containers)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn of_an_empty_tree_nothing_is_known_but_the_time() {
    let tree = Tree::new();
    let sample = collector(tree.path(), None).sample();
    assert!(sample.at.is_some());
    assert_eq!(Sample { at: None, ..sample }, Sample::default());
}

#[test]
fn a_captured_board_says_what_was_captured() {
    let mut collector = collector(&fixture("pi4"), None);
    let sample = collector.sample();
    assert!(sample.memory.total.is_some_and(|total| total > 1 << 30), "{sample:?}");
    assert!(sample.uptime_seconds.is_some() && sample.temperature_celsius.is_some(), "{sample:?}");
    assert_eq!((sample.cpu.percent, sample.clock_synchronised), (None, None), "nothing was captured of these");
}

#[test]
fn the_load_is_three_numbers_or_none() {
    let tree = Tree::new();
    for (text, expected) in [
        ("0.52 0.58 0.59 1/467 12345\n", Some([0.52, 0.58, 0.59])),
        ("0.52 0.58\n", None),
        ("0.52 x 0.59\n", None),
        ("inf 0 0\n", None),
        ("", None),
    ] {
        tree.write("proc/loadavg", text);
        assert_eq!(load(tree.path()), expected, "{text:?}");
    }
}

#[test]
fn in_a_captured_tree_the_time_daemon_says_whether_the_clock_is_right() {
    let tree = Tree::new();
    assert_eq!(clock_synchronised(tree.path()), None);
    tree.write("run/systemd/timesync/clock", "");
    assert_eq!(clock_synchronised(tree.path()), Some(false));
    tree.write("run/systemd/timesync/synchronized", "");
    assert_eq!(clock_synchronised(tree.path()), Some(true));
}

#[test]
fn this_machine_has_a_processor_a_root_a_loopback_and_busy_processes() {
    let mut collector = collector(Path::new("/"), None);
    collector.sample();
    let burn = clock::now() + Duration::from_millis(50);
    while clock::now() < burn {}
    let (second, _, fourth) = (collector.sample(), collector.sample(), collector.sample());
    assert!(second.cpu.percent.is_some_and(|percent| percent > 0.0 && percent <= 100.0), "{:?}", second.cpu);
    assert_eq!(second.cpu.cores.map(|n| n as usize), second.cpu.per_core_percent.as_ref().map(Vec::len));
    assert_eq!(second.main_disk().map(|disk| disk.path.as_str()), Some("/"));
    let interfaces = second.interfaces.as_deref().expect("interfaces");
    let lo = interfaces.iter().find(|interface| interface.name == "lo").expect("lo");
    assert!(lo.sent_rate.is_some() && second.traffic().bytes_sent >= lo.traffic.bytes_sent);
    assert!(second.load.is_some() && second.clock_synchronised.is_some() && second.swap.is_some());
    let processes = fourth.processes.expect("processes");
    // This test was busy, or others were busier.
    let is_busy =
        |process: &Process| process.cpu_percent.is_some_and(|percent| percent > 0.0) && process.user.is_some();
    assert!(processes.iter().any(is_busy), "{processes:?}");
}

#[test]
fn processes_are_looked_through_in_every_third_sample() {
    let tree = Tree::new();
    let write = |pid: u32| {
        let line = format!("{pid} (x) R 1 {}1 1 0 0 20 0 1 0 5 1000 256 184 1\n", "0 ".repeat(9));
        tree.write(&format!("proc/{pid}/stat"), &line);
    };
    write(1);
    let mut collector = collector(tree.path(), None);
    let mut count = || collector.sample().processes.map(|processes| processes.len());
    assert_eq!(count(), Some(1));
    write(2);
    assert_eq!((count(), count(), count()), (Some(1), Some(1), Some(2)));
}

#[test]
fn an_engine_that_hangs_holds_up_no_sample_for_longer_than_its_limit() {
    let tree = Tree::new();
    let (release, held) = bounded::<()>(0);
    let list = || Some(vec![Container { id: "0123456789ab".into(), ..Container::default() }]);
    let containers = move || {
        // Answers at once for the first time, and then only when the test says so.
        let _ = held.recv();
        list()
    };
    let mut collector = collector(tree.path(), Some(Box::new(containers)));
    let begun = clock::now();
    assert_eq!(collector.sample().containers, None, "it hangs");
    assert!(clock::now() - begun >= containers::LIMIT);
    release.send(()).expect("it waits");
    assert_eq!(collector.sample().containers, list(), "the answer to the first question");
    assert_eq!(collector.sample().containers, list(), "it hangs again: the last answer");
    drop(release);
    assert_eq!(collector.sample().containers, list());
}

#[test]
fn without_docker_there_are_no_containers_and_with_an_empty_one_there_are_none_of_them() {
    let tree = Tree::new();
    assert_eq!(collector(tree.path(), Some(Box::new(|| None))).sample().containers, None);
    assert_eq!(collector(tree.path(), Some(Box::new(|| Some(Vec::new())))).sample().containers, Some(Vec::new()));
}
