//! Memory and swap.
//!
//! | what | source | unit | without a value |
//! |---|---|---|---|
//! | memory | `proc/meminfo`: MemTotal, MemAvailable; used is the rest | bytes | a figure is missing |
//! | swap | the same: SwapTotal, SwapFree | bytes | a figure is missing; 0 of 0 where there is none |

use std::path::Path;

use super::{hundredths, read};
use crate::types::fleet::Space;

/// Memory, and swap.
pub fn measure(root: &Path) -> (Option<Space>, Option<Space>) {
    let Some(text) = read(root, "proc/meminfo") else { return (None, None) };
    let figure = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let space = |total: Option<u64>, available: Option<u64>| {
        let (total, available) = (total?, available?);
        let used = total.checked_sub(available)?;
        let space = Space { total: Some(total), used: Some(used), available: Some(available), percent: None };
        Some(Space { percent: space.percent().map(hundredths), ..space })
    };
    (space(figure("MemTotal"), figure("MemAvailable")), space(figure("SwapTotal"), figure("SwapFree")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tests::Tree;

    #[test]
    fn what_is_not_available_is_used_and_no_swap_is_zero_of_zero() {
        let tree = Tree::new();
        assert_eq!(measure(tree.path()), (None, None));
        tree.write(
            "proc/meminfo",
            "MemTotal: 4000 kB\nMemFree: 1 kB\nMemAvailable: 3000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
        );
        let (memory, swap) = measure(tree.path());
        let memory = memory.expect("memory");
        assert_eq!((memory.total, memory.used, memory.percent), (Some(4_096_000), Some(1_024_000), Some(25.0)));
        let swap = swap.expect("swap");
        assert_eq!((swap.total, swap.used, swap.percent()), (Some(0), Some(0), None));
    }

    #[test]
    fn a_missing_or_odd_figure_is_no_figure() {
        let tree = Tree::new();
        tree.write("proc/meminfo", "MemTotal: 4000 kB\nSwapTotal: 1 kB\nSwapFree: 2 kB\n");
        assert_eq!(measure(tree.path()), (None, None));
        tree.write(
            "proc/meminfo",
            "MemTotal: 99999999999999999 kB\nMemAvailable: 1 kB\nSwapTotal: 1 MB\nSwapFree: 1 kB\n",
        );
        assert_eq!(measure(tree.path()), (None, None));
    }
}
