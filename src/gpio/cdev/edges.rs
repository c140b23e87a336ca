//! What the kernel's numbers tell of edges that were lost.

use crate::types::line::{Edge, Level};

/// How far a number may fall behind the last one before it is taken for a new beginning.
const HALF: u32 = u32::MAX / 2;

/// One line's numbers, within its request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Track {
    /// Of the last edge; the kernel's first one is 1.
    last: u32,
    /// After the last edge, as long as the line has not been reconfigured.
    level: Option<Level>,
}

impl Track {
    /// How many edges are known to have been lost just before this one.
    ///
    /// Numbers are missing where the kernel's buffer overflowed (it drops the oldest). Where both edges are reported
    /// and none is missing, two in a row with the same level say that one between them came and went before the
    /// kernel looked: interrupts that are faster than its thread become one edge.
    pub fn lost(&mut self, line_seqno: u32, level: Level, edge: Edge) -> u32 {
        let ahead = line_seqno.wrapping_sub(self.last);
        let missing = if ahead == 0 || ahead > HALF { 0 } else { ahead - 1 };
        let same = self.level == Some(level);
        self.last = line_seqno;
        self.level = Some(level);
        if missing == 0 && same && edge == Edge::Both { 1 } else { missing }
    }

    /// The line was reconfigured: the kernel goes on counting, but the level may be another one.
    pub fn reconfigured(&mut self) {
        self.level = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Level::{High, Low};

    #[test]
    fn gaps_in_the_numbers_are_counted_and_so_are_edges_that_were_merged() {
        type Seen = &'static [(u32, Level, u32)];
        let table: [(&str, Edge, Seen); 7] = [
            ("nothing lost", Edge::Both, &[(1, High, 0), (2, Low, 0), (3, High, 0)]),
            ("the first ones lost", Edge::Both, &[(1977, High, 1976), (1978, Low, 0)]),
            ("a gap between", Edge::Rising, &[(1, High, 0), (5, High, 3), (6, High, 0)]),
            ("merged by the kernel", Edge::Both, &[(1, High, 0), (2, High, 1), (3, Low, 0)]),
            ("a gap explains the level", Edge::Both, &[(1, High, 0), (3, High, 1)]),
            ("the numbers start again", Edge::Both, &[(9, High, 8), (1, Low, 0), (2, High, 0)]),
            ("the numbers wrap", Edge::Rising, &[(7, High, 6), (u32::MAX, High, 0), (0, High, 0), (2, High, 1)]),
        ];
        for (what, edge, seen) in table {
            let mut track = Track::default();
            for (seqno, level, lost) in seen {
                assert_eq!(track.lost(*seqno, *level, edge), *lost, "{what}: number {seqno}");
            }
        }
    }

    #[test]
    fn a_reconfigured_line_may_begin_with_any_level() {
        let mut track = Track::default();
        track.lost(1, High, Edge::Both);
        track.reconfigured();
        assert_eq!(track.lost(2, High, Edge::Both), 0);
        assert_eq!(track.lost(4, Low, Edge::Both), 1, "the kernel's numbers go on");
    }
}
