//! Who asks for something of the fleet.

use super::KeyId;
use crate::types::fleet::{Issuer, Role};

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Who runs the daemon: shows the configured key, or a key of the store that may administer, or nobody has decided
    /// yet who may come in.
    Operator {
        key: Option<KeyId>,
    },
    User {
        id: String,
        username: String,
        role: Role,
    },
    /// An agent's key: speaks for its server only.
    Agent {
        key: KeyId,
        server_id: String,
    },
}

impl Principal {
    pub fn is_admin(&self) -> bool {
        matches!(self, Principal::Operator { .. } | Principal::User { role: Role::Admin, .. })
    }

    /// Whether what belongs to `owner` (a user's id; `None`: to the administrators) is there for them at all.
    pub fn may_see(&self, owner: Option<&str>) -> bool {
        match self {
            Principal::User { id, role, .. } => *role == Role::Admin || owner == Some(id),
            Principal::Operator { .. } => true,
            Principal::Agent { .. } => false,
        }
    }

    /// Whether they may change something, or give orders, where they [may see](Principal::may_see).
    pub fn may_change(&self) -> bool {
        match self {
            Principal::User { role, .. } => *role >= Role::Operator,
            Principal::Operator { .. } => true,
            Principal::Agent { .. } => false,
        }
    }

    /// As the one who gives an order, from this address.
    pub fn issuer(&self, from: impl std::fmt::Display) -> Issuer {
        let (who, id) = match self {
            Principal::Operator { key } => ("operator".to_owned(), key.map(|key| key.as_str().to_owned())),
            Principal::User { id, username, .. } => (username.clone(), Some(id.clone())),
            Principal::Agent { key, .. } => ("agent".to_owned(), Some(key.as_str().to_owned())),
        };
        Issuer { who, id, from: from.to_string() }
    }
}
