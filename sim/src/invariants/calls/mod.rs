//! What breakers promise, one file each.

pub mod late;
pub mod one_caller;
pub mod spent;
pub mod trials;
pub mod unprovoked;
pub mod words;
