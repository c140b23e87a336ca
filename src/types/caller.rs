//! Who asks: a session, or one HTTP request.

use std::sync::Arc;

use super::rights::Rights;

/// A caller's number; none is used twice while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId(pub u64);

/// Who wants something of a line, so that others can be told whose it is.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `None` for one HTTP request, which leaves nothing behind that could end with it.
    pub id: Option<CallerId>,
    /// For people: the peer's address, or the name it gave itself.
    pub name: Arc<str>,
    /// What the key it came in with allows; `None`: everything.
    pub rights: Option<Arc<Rights>>,
}
