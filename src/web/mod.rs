//! What browsers get: the live page and the documents, built into the binary.

/// The live page.
pub const PAGE: &str = include_str!("page.html");
/// The page's own program.
pub const SCRIPT: &str = include_str!("page.js");
/// What it shows of the fleet.
pub const FLEET_SCRIPT: &str = include_str!("fleet.js");
/// The look of all pages.
pub const STYLE: &str = include_str!("style.css");
/// The API's description for people.
pub const DOCS: &str = include_str!("docs.html");
/// Renders the description.
pub const DOCS_SCRIPT: &str = include_str!("docs.js");
