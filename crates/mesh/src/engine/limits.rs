//! Named limits of what an agent keeps.

/// Contacts named by the owner.
pub const MAX_CONTACTS: usize = 64;
/// Agents forgotten whose old words are still known as such.
pub const MAX_GONE: usize = 4096;
/// Agents known, whether in the roster or left.
pub const MAX_AGENTS: usize = 4096;
/// Instances known.
pub const MAX_INSTANCES: usize = 100_000;
/// Instances one agent may be home to.
pub const MAX_INSTANCES_PER_HOME: usize = 10_000;
/// Highest incarnation and term believed: far beyond any honest one, far below what overflows.
pub const MAX_INCARNATION: u64 = 1 << 60;
/// Latest epoch of the roster believed without proof: no mesh comes so far, and there is one after it.
pub const MAX_ROSTER_EPOCH: u64 = 1 << 60;
/// Furthest that a certificate of too few signers may carry the terms ahead: a single member can sign one.
pub const MAX_TERM_LEAP: u64 = 1 << 32;
/// Bytes of a certificate.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;
/// Certificates of instances not yet known.
pub const MAX_ORPHANS: usize = 10_000;
/// Decisions in one packet.
pub const MAX_DECISIONS: usize = 64;
/// Proposals that are made in one turn: each takes a signature.
pub const MAX_PROPOSALS_PER_TURN: usize = 256;
/// Rounds of proposals, pings and roll calls remembered.
pub const MAX_NONCES: usize = 10_000;
/// Outputs waiting to be taken; beyond this, sends are dropped.
pub const MAX_OUTPUTS: usize = 100_000;
/// Instances for which second opinions are asked, and looks that are taken on request, in one second.
pub const MAX_SECOND_OPINIONS_PER_S: usize = 256;
/// Bytes of one part of a repair.
pub const MAX_DELTA_BYTES: usize = 256 * 1024;
