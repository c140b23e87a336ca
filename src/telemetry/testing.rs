//! Trees of files for tests, and a stand-in for `vcgencmd`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::config;

/// Nothing that a test waits for takes this long.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A directory of the test's own; gone when dropped.
pub struct Tree(PathBuf);

impl Tree {
    pub fn new() -> Tree {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pinwire-telemetry-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Tree(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).unwrap();
    }

    /// Makes an executable shell script and returns where it is. The copy is made by another process: a
    /// descriptor open for writing here could be inherited by a child that another test is just starting, and
    /// would make the script "busy".
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        self.write(&format!("{name}.sh"), &format!("#!/bin/sh\n{body}\n"));
        let path = self.0.join(name);
        let copied =
            Command::new("/bin/sh").args(["-c", "cp \"$0.sh\" \"$0\" && chmod 755 \"$0\""]).arg(&path).status();
        assert!(copied.unwrap().success());
        path
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Reads until the reading is `expected`. Each try waits by itself, as long as a client would, for a program
/// that may need longer than that on a busy machine.
pub fn eventually<T: PartialEq + std::fmt::Debug>(expected: T, read: impl Fn() -> T) {
    let begun = Instant::now();
    let mut last = read();
    while last != expected && begun.elapsed() < LIMIT {
        last = read();
    }
    assert_eq!(last, expected, "after {LIMIT:?}");
}

/// What `vcgencmd` says on a Pi 4 with a weak supply.
pub const VCGENCMD: &str = r#"case "$*" in
get_throttled) echo throttled=0x50005 ;;
"measure_clock arm") echo "frequency(48)=600169920" ;;
"measure_clock core") echo "frequency(1)=250000496" ;;
measure_temp) echo "temp=48.3'C" ;;
*) echo 'error=1 error_msg="Command not registered"' ;;
esac"#;

/// Settings with a `vcgencmd`; readings are not shared, so that tests see what they write.
pub fn settings(vcgencmd: Option<PathBuf>) -> config::Telemetry {
    config::Telemetry {
        max_age: Duration::ZERO,
        vcgencmd,
        firmware_interval: Duration::from_secs(5),
        firmware_deadline: Duration::from_secs(5),
    }
}
