//! Membership traps.
