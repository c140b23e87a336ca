//! History: what it costs a delivery that events are kept for those who come back.

use crate::Result;
use crate::fan_out::{FanOut, Shape};
use crate::options::Options;
use crate::pairs::{Goal, Pairs};
use crate::publisher::Via;
use crate::server::{PATIENT, Server};
use crate::table::Row;

/// Measures a daemon that keeps the last 1,000 events of a topic against one that keeps none.
pub fn measure(options: &Options) -> Result<Vec<Row>> {
    let kept = Server::daemon_with(options, &format!("{PATIENT}[history]\ncount = 1000\n"))?;
    let none = Server::daemon_with(options, &format!("{PATIENT}[history]\ncount = 0\n"))?;
    let mut rows = Vec::new();
    for window in [1, 8] {
        let shape = Shape { subscribers: 100, publishers: 1, window };
        let name = format!("history of 1,000, {}, against none", shape.name());
        let connect = |_, server: &Server| FanOut::connect(server, shape, Via::Socket);
        let pairs = Pairs::measure(options, &name, &[&kept, &none], connect)?;
        rows.push(pairs.row(name, Goal::Cpu(1.05)));
    }
    Ok(rows)
}
