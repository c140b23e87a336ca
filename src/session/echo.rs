//! `/echo`: sends back what it gets, text as text and binary as binary, through the same code as everyone
//! else's frames. For conformance suites; only there with `--debug-echo`.

use super::{Conversation, End, Line};
use crate::wire::frame;

pub struct Echo;

impl Conversation for Echo {
    fn begin(&mut self, _line: &mut Line) -> Result<(), End> {
        Ok(())
    }

    fn message(&mut self, line: &mut Line, payload: &[u8], text: bool) -> Result<(), End> {
        match std::str::from_utf8(payload) {
            Ok(payload) if text => frame::text(&mut line.replies, payload),
            _ => frame::binary(&mut line.replies, payload),
        }
        Ok(())
    }
}
