//! Edges on several lines, as fast as the kernel takes them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use gpiocdev::Request;
use gpiocdev::line::EdgeDetection;

use super::{Sim, read};
use crate::common::LIMIT;

/// Pulls lines to and fro.
///
/// Simulated interrupts come with the tick, and edges of one line within a tick are one. So each round ends with an
/// edge on one more line, which is watched here: the chip's interrupts are done in the order of the lines, so when
/// that edge is seen, those of the round have been taken.
pub struct Flood {
    lines: Vec<Pulled>,
    beat: Pulled,
    beats: Request,
    /// Edges made so far on each line.
    pub rounds: u32,
}

struct Pulled {
    line: u32,
    pull: File,
    up: bool,
}

impl Pulled {
    fn new(sim: &Sim, line: u32) -> Pulled {
        let path = sim.control(line, "pull");
        let pull = OpenOptions::new().write(true).open(path).expect("the line's pull");
        Pulled { line, pull, up: sim.is_pulled_up(line) }
    }

    fn toggle(&mut self) {
        self.up = !self.up;
        let text = if self.up { "pull-up" } else { "pull-down" };
        self.pull.write_all_at(text.as_bytes(), 0).expect("pulled");
    }
}

impl Flood {
    /// On these lines, which nobody else pulls, with the chip's last one for the beat.
    pub fn on(sim: &Sim, lines: &[u32]) -> Flood {
        let beat = sim.lines - 1;
        assert!(lines.iter().all(|line| *line < beat), "the beat comes last");
        let mut request = Request::builder();
        request.on_chip(&sim.chip).with_consumer("beat").with_line(beat).with_edge_detection(EdgeDetection::BothEdges);
        let beats = request.request().expect("the line for the beat");
        let lines = lines.iter().map(|line| Pulled::new(sim, *line)).collect();
        Flood { lines, beat: Pulled::new(sim, beat), beats, rounds: 0 }
    }

    /// So many more edges on each line.
    pub fn pour(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.lines.iter_mut().for_each(Pulled::toggle);
            self.beat.toggle();
            assert!(self.beats.wait_edge_event(LIMIT).expect("the beat's line"), "no tick within {LIMIT:?}");
            self.beats.read_edge_event().expect("the beat's edge");
            self.rounds += 1;
        }
    }

    /// How many edges the kernel has taken on each line, by its own count, if this is the only chip.
    pub fn taken(&self) -> Vec<u64> {
        let table = read("/proc/interrupts".as_ref());
        let count = |pulled: &Pulled| {
            let row = table.lines().find(|row| {
                let words: Vec<&str> = row.split_whitespace().collect();
                words.contains(&"irq_sim") && words.contains(&pulled.line.to_string().as_str())
            });
            let row = row.unwrap_or_else(|| panic!("line {} has no interrupt in\n{table}", pulled.line));
            row.split_whitespace().nth(1).and_then(|count| count.parse().ok()).expect("a count")
        };
        self.lines.iter().map(count).collect()
    }
}
