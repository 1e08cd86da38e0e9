//! Real partitions: five agents, each in a network namespace with its own address, cut from one another by nftables.
//!
//! No root of the host is needed: each test starts itself again inside a user namespace and sets everything up there. Where the kernel or
//! the tools forbid that, the test says why and is skipped; with `QUORATE_TEST_REQUIRE_ALL=1` that is a failure.

mod network;
mod plumbing;
mod scenarios;
mod scene;
