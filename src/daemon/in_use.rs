//! Word of the lines in use, left for `pinwire safe`: it comes after a daemon that could not see to them itself.

use std::path::Path;

use crate::config::{Config, lines_file, lines_in_use};

/// Writes which lines there are, where a service manager has given a directory for it. Whole or not at all: a new file
/// takes the old one's place.
pub(super) fn leave_word(config: &Config) {
    let Some(file) = lines_file(&|name| std::env::var(name).ok()) else { return };
    if let Err(error) = replace(&file, &lines_in_use(config)) {
        let file = file.display();
        log::warn!(
            "'{file}' cannot be written ({error}): should the daemon be killed, `pinwire safe` goes by its configuration file alone"
        );
    }
}

fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, text)?;
    std::fs::rename(&fresh, file)
}
