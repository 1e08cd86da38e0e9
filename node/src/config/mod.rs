//! Configuration: what the file says, what flags and environment say over it, and the settings that result.
//!
//! The file is read key by key, so that all its errors are told at once. Defaults stand in [`settings`], and for checks in
//! `quorate_core::check`.

mod check;
mod command;
mod errors;
mod file;
mod flags;
mod keys;
mod reader;
mod services;
mod settings;

pub use command::{Args, run};
pub use file::{check_level, load};
pub use flags::Flags;

pub use settings::{FileSettings, LogFormat, LogSettings, Settings, check_advertised, default_data_dir, host_name};
