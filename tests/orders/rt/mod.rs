//! In the place of `src/rt`: the same names, in shuttle's hands.

pub mod socket;
pub mod sync;

pub use pinwire::rt::pulse;

pub mod clock {
    //! Time passes when a test says so; see [`super::socket::pass`].
    use std::sync::OnceLock;
    use std::time::{Instant, SystemTime};

    static START: OnceLock<Instant> = OnceLock::new();

    pub fn now() -> Instant {
        *START.get_or_init(Instant::now) + super::socket::passed()
    }

    pub fn wall() -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

pub mod random {
    /// Random enough, and the same each time.
    pub fn bytes<const N: usize>() -> std::io::Result<[u8; N]> {
        Ok([7; N])
    }
}

pub mod worker {
    use std::time::Duration;

    use shuttle::thread::{JoinHandle, spawn};

    pub struct Worker(JoinHandle<()>);

    impl Worker {
        pub fn spawn(_: &'static str, body: impl FnOnce() + Send + 'static) -> std::io::Result<Worker> {
            Ok(Worker(spawn(body)))
        }

        pub fn join(self, _: Duration) {
            self.0.join().expect("a worker");
        }
    }
}
