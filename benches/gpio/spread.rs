//! Many times in few figures.

use std::time::Duration;

/// What is left of a number of times, in microseconds.
#[derive(Clone, Copy)]
pub struct Spread {
    pub mean: f64,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    /// There is at least one time.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Spread {
        let mut times: Vec<f64> = times.into_iter().map(|time| time.as_secs_f64() * 1e6).collect();
        times.sort_by(f64::total_cmp);
        let last = times.len() - 1;
        let at = |share: f64| times[(last as f64 * share).round() as usize];
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        Spread { mean, p50: at(0.5), p99: at(0.99), max: times[last] }
    }
}

/// The middle one of some figures; there is at least one.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    (figures[last / 2] + figures[last.div_ceil(2)]) / 2.0
}
