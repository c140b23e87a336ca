//! What browsers get: the live page and the documents, built into the binary.

use crate::types::features;

/// The live page.
pub const PAGE: &str = include_str!("page.html");
/// The page's own program.
pub const SCRIPT: &str = include_str!("page.js");
/// What it shows of the fleet.
pub const FLEET_SCRIPT: &str = match features::HUB.built_in {
    true => include_str!("fleet.js"),
    false => include_str!("no_fleet.js"),
};
/// The look of all pages.
pub const STYLE: &str = include_str!("style.css");
/// The API's description for people.
pub const DOCS: &str = include_str!("docs.html");
/// Renders the description.
pub const DOCS_SCRIPT: &str = include_str!("docs.js");
