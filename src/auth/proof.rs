//! How a hub shows an agent that it knows the agent's key, before the agent shows the key itself: whoever only poses as
//! the hub learns nothing, and is obeyed in nothing.
//!
//! HMAC-SHA256 under the stored digest of the key's secret, over a fixed text, the agent's own random bytes and the
//! key's id. The digest is no secret the agent needs: it makes it from its key.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::Gate;
use super::key::{Digest, KeyId, mint};
use crate::rt::clock;

/// Says what is proven, so that no other use of the digest makes a proof by accident.
const PURPOSE: &[u8] = b"pinwire hub proof 1\0";

/// Random bytes in an agent's question.
pub const NONCE_BYTES: usize = 32;

/// The proof for one question.
pub fn of(digest: &Digest, nonce: &[u8], key_id: &str) -> [u8; 32] {
    mac(digest, nonce, key_id).finalize().into_bytes().into()
}

/// Whether `proof` is the one of this question; the comparison takes the same time for all.
pub fn is_good(proof: &[u8], digest: &Digest, nonce: &[u8], key_id: &str) -> bool {
    mac(digest, nonce, key_id).verify_slice(proof).is_ok()
}

impl Gate {
    /// The proof for the agent that named this key and these random bytes. It tells nobody whether there is such a key:
    /// for one that opens nothing it is a random one.
    ///
    /// # Errors
    /// A kernel without `getrandom`.
    pub fn prove(&self, key_id: &str, nonce: &[u8]) -> std::io::Result<[u8; 32]> {
        // Drawn in any case, so that the time tells nothing either.
        let nobody = mint()?.digest;
        let known = KeyId::parse(key_id).and_then(|id| self.keys.agents_digest(id, clock::wall()));
        Ok(of(&known.unwrap_or(nobody), nonce, key_id))
    }
}

fn mac(digest: &Digest, nonce: &[u8], key_id: &str) -> Hmac<Sha256> {
    // A key of exactly this length is taken by every HMAC.
    let mut mac = Hmac::<Sha256>::new(&<[u8; 64]>::into(padded(&digest.0)));
    mac.update(PURPOSE);
    mac.update(nonce);
    mac.update(key_id.as_bytes());
    mac
}

/// A key shorter than SHA-256's block counts as filled up with zeros (RFC 2104).
fn padded(digest: &[u8; 32]) -> [u8; 64] {
    let mut block = [0; 64];
    block[..32].copy_from_slice(digest);
    block
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Keys, Minted, Record};
    use super::*;
    use crate::config::Auth;
    use crate::types::rights::Rights;

    #[test]
    fn a_proof_is_the_hmac_that_was_agreed_upon() {
        // python3: hmac.new(sha256(b"secret").digest(), b"pinwire hub proof 1\0" + bytes(32) + b"0123456789", "sha256")
        let digest = Digest::of("secret");
        let proof = of(&digest, &[0; NONCE_BYTES], "0123456789");
        let hex: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "fec845d9ba3ed69472b7183a4f60cbc06be432223c4fd98b8e3d2cb9d5ea9820");
        assert!(is_good(&proof, &digest, &[0; NONCE_BYTES], "0123456789"));
        for (other, nonce, id) in [
            (Digest::of("other"), [0; NONCE_BYTES], "0123456789"),
            (digest, [1; NONCE_BYTES], "0123456789"),
            (digest, [0; NONCE_BYTES], "0123456780"),
        ] {
            assert!(!is_good(&proof, &other, &nonce, id));
        }
        assert!(!is_good(&proof[..31], &digest, &[0; NONCE_BYTES], "0123456789"));
    }

    #[test]
    fn only_an_agents_good_key_is_proven_and_the_rest_looks_alike() {
        let (keys, agents, operators) = (Keys::none(), mint().expect("random"), mint().expect("random"));
        let record = |minted: &Minted, server_id: Option<&str>, revoked| Record {
            id: minted.id,
            digest: minted.digest,
            expires: None,
            revoked,
            server_id: server_id.map(Arc::from),
            rights: Arc::new(Rights::all()),
        };
        let gate = Gate::new(&Auth::Stored, Arc::clone(&keys));
        let records = |revoked| vec![record(&agents, Some("s"), revoked), record(&operators, None, false)];
        keys.replace(records(false), false, clock::wall());
        let nonce = [7; NONCE_BYTES];
        let good = |minted: &Minted| {
            let proof = gate.prove(minted.id.as_str(), &nonce).expect("random");
            is_good(&proof, &minted.digest, &nonce, minted.id.as_str())
        };
        assert!(good(&agents) && !good(&operators));
        let nobody = || gate.prove("0123456789", &nonce).expect("random");
        assert_ne!(nobody(), nobody(), "never the same");
        keys.replace(records(true), false, clock::wall());
        assert!(!good(&agents), "a revoked key is nobody's");
    }
}
