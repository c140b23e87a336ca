//! Order, limits, and what is left after a crash.

use std::fs::OpenOptions;

use super::*;

fn run(stream: &str) -> Run {
    Run { stream: stream.into(), boot_id: Some("boot".into()) }
}

fn entry(text: &str) -> Entry {
    let packed = Packed { text: text.as_bytes().to_vec(), stamp_at: 1 };
    Entry { seq: 0, monotonic_ns: 7, synchronised: true, kind: Kind::Sample, packed }
}

fn push(spool: &mut Spool, from: u64, to: u64) {
    for number in from..=to {
        spool.push(entry(&format!("record {number}")), Instant::now());
    }
}

/// Everything there is to hand out, as stream and number; each text must be the one of its number.
fn rest(spool: &mut Spool) -> Vec<(String, u64)> {
    std::iter::from_fn(|| spool.next())
        .map(|(run, entry)| {
            assert_eq!(entry.packed, super::tests::entry(&format!("record {}", entry.seq)).packed);
            (run.stream.to_string(), entry.seq)
        })
        .collect()
}

fn of(stream: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<(String, u64)> {
    numbers.into_iter().map(|number| (stream.to_owned(), number)).collect()
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("pinwire-spool-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Dir(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(&self.0).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn records_are_handed_out_in_order_and_again_until_they_are_stored() {
    let mut spool = Spool::new(run("a"), 1 << 20, None);
    push(&mut spool, 1, 5);
    assert_eq!(rest(&mut spool), of("a", 1..=5));
    push(&mut spool, 6, 6);
    assert_eq!(rest(&mut spool), of("a", 6..=6));
    spool.stored("a", 2);
    spool.stored("unknown", 5);
    assert_eq!(rest(&mut spool), []);
    spool.rewind(&[("a".into(), 3)]);
    assert_eq!(rest(&mut spool), of("a", 4..=6));
    spool.rewind(&[]);
    assert_eq!(rest(&mut spool), of("a", 4..=6));
    // A hub that already has what this connection did not hand out yet.
    spool.rewind(&[]);
    spool.stored("a", 5);
    assert_eq!(rest(&mut spool), of("a", 6..=6));
}

#[test]
fn full_memory_without_a_directory_drops_the_oldest_and_counts_what_was_unsent() {
    let mut spool = Spool::new(run("a"), 10 * entry("record 1").bytes(), None);
    push(&mut spool, 1, 4);
    assert_eq!(rest(&mut spool).len(), 4);
    push(&mut spool, 5, 9);
    push(&mut spool, 10, 20);
    let kept = rest(&mut spool);
    assert_eq!(kept.last(), Some(&("a".to_owned(), 20)));
    let first = kept[0].1;
    assert!(first > 5, "{kept:?}");
    assert_eq!(kept, of("a", first..=20));
    assert_eq!(spool.take_dropped(), first - 5);
    assert_eq!(spool.take_dropped(), 0);
}

#[test]
fn full_memory_moves_on_to_files_and_nothing_is_lost() {
    let dir = Dir::new("files");
    let mut spool = Spool::new(run("a"), 10 * entry("record 1").bytes(), Some((&dir.0, 1 << 20)));
    push(&mut spool, 1, 100);
    assert!(!dir.files().is_empty());
    assert_eq!(rest(&mut spool), of("a", 1..=100));
    spool.rewind(&[("a".into(), 30)]);
    assert_eq!(rest(&mut spool), of("a", 31..=100));
    // Reading and writing at the same time.
    spool.rewind(&[("a".into(), 40)]);
    let mut seen = Vec::new();
    for number in 101..=150 {
        push(&mut spool, number, number);
        seen.extend(spool.next().map(|(_, entry)| entry.seq));
    }
    seen.extend(rest(&mut spool).into_iter().map(|(_, seq)| seq));
    assert_eq!(seen, (41..=150).collect::<Vec<u64>>());
    spool.stored("a", 150);
    assert_eq!(dir.files(), Vec::<PathBuf>::new());
    assert_eq!(spool.take_dropped(), 0);
}

#[test]
fn what_an_earlier_run_left_goes_first_also_with_a_torn_end() {
    let dir = Dir::new("torn");
    let cap = Some((dir.0.as_path(), 1 << 20));
    let mut first = Spool::new(run("a"), 1 << 20, cap);
    push(&mut first, 1, 3);
    first.spill_all(Instant::now());
    assert_eq!(first.take_unsynced().len(), 1);
    drop(first);
    let mut second = Spool::new(run("b"), 1 << 20, cap);
    push(&mut second, 1, 2);
    second.spill_all(Instant::now());
    drop(second);
    // The last record of b is cut in the middle, and a file is no spool file at all.
    let torn = dir.files().pop().expect("a file");
    let length = fs::metadata(&torn).expect("there").len();
    OpenOptions::new().write(true).open(&torn).expect("opens").set_len(length - 3).expect("cut");
    fs::write(dir.0.join("00000000000000ff.seg"), b"nonsense").expect("written");

    let mut third = Spool::new(run("c"), 1 << 20, cap);
    push(&mut third, 1, 2);
    assert_eq!(third.streams(), [Arc::from("a"), Arc::from("b"), Arc::from("c")]);
    let all = [of("a", 1..=3), of("b", 1..=1), of("c", 1..=2)].concat();
    assert_eq!(rest(&mut third), all);
    third.rewind(&[("b".into(), 1), ("a".into(), 2)]);
    assert_eq!(rest(&mut third), [of("a", 3..=3), of("c", 1..=2)].concat());
    third.stored("a", 3);
    assert_eq!(third.streams(), [Arc::from("c")]);
    assert_eq!(dir.files(), Vec::<PathBuf>::new());
}

#[test]
fn files_have_a_cap_and_the_oldest_goes_first() {
    let dir = Dir::new("cap");
    let cap = 4096;
    let mut spool = Spool::new(run("a"), 4 * entry("record 1").bytes(), Some((&dir.0, cap)));
    push(&mut spool, 1, 1000);
    let bytes: u64 = dir.files().iter().map(|file| fs::metadata(file).expect("there").len()).sum();
    assert!(bytes <= cap, "{bytes}");
    let kept = rest(&mut spool);
    let first = kept[0].1;
    assert!(first > 900 && kept == of("a", first..=1000), "{first}");
    assert_eq!(spool.take_dropped(), first - 1);
}

#[test]
fn young_records_stay_in_memory() {
    let dir = Dir::new("young");
    let mut spool = Spool::new(run("a"), 1 << 20, Some((&dir.0, 1 << 20)));
    for (number, monotonic_ns) in [(1, 10), (2, 20), (3, 30)] {
        let entry = Entry { monotonic_ns, ..entry(&format!("record {number}")) };
        spool.push(entry, Instant::now());
    }
    spool.spill_older(20, Instant::now());
    assert_eq!((spool.memory.len(), dir.files().len()), (2, 1));
    assert_eq!(rest(&mut spool).len(), 3);
}

#[test]
fn a_directory_that_cannot_be_written_leaves_memory() {
    let dir = Dir::new("readonly");
    let mut spool = Spool::new(run("a"), 10 * entry("record 1").bytes(), Some((&dir.0, 1 << 20)));
    fs::remove_dir_all(&dir.0).expect("removed");
    push(&mut spool, 1, 20);
    assert!(spool.take_dropped() > 0);
    assert_eq!(rest(&mut spool).last(), Some(&("a".to_owned(), 20)));
}
