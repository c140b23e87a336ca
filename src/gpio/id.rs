//! Names for what clients come back to: leases and sequences.

use std::fmt::Write;

/// A name nobody can guess: whoever knows a lease's may renew it. 64 random bits.
pub fn fresh(kind: &str) -> String {
    let mut random = [0_u8; 8];
    // The kernel has randomness once it is up; without, the counter-like clock still keeps names apart.
    if rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK) != Ok(random.len()) {
        let stamp = crate::rt::clock::wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        random = (stamp.as_nanos() as u64).to_le_bytes();
    }
    let mut id = format!("{kind}-");
    for byte in random {
        let _ = write!(id, "{byte:02x}");
    }
    id
}
