//! The hub's sequence goes on where the database says, and what is durable is kept there.

use std::sync::Arc;

use crate::config::Config;
use crate::hub::{Bounds, Hub};
use crate::store::Store;

/// To be called before anybody can publish. Without a durable topic nothing is kept, and the epoch is this start's.
pub(super) fn begin(config: &Config, hub: &Arc<Hub>, store: &Arc<Store>) {
    let Some(sequence) = store.begin_sequence(&config.topics) else { return };
    let durable = config.topics.iter().filter(|topic| topic.durable);
    let kept = durable.map(|topic| {
        let bounds = Bounds { count: topic.keep, age: Some(topic.keep_for) };
        (topic.pattern.clone(), bounds)
    });
    let store = Arc::clone(store);
    let keeper = move |batch, told| -> Box<dyn Fn() -> bool + Send> {
        let handed = store.keep_events(batch, told);
        Box::new(move || handed.give_up())
    };
    let bytes = usize::try_from(config.store.durable_bytes).unwrap_or(usize::MAX);
    // The database bounds them; what an event takes is not counted to the byte.
    hub.keep_with(sequence, kept.collect(), bytes + bytes / 4, Box::new(keeper));
}
