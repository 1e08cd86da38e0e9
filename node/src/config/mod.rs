//! Configuration: what the file says, what flags and environment say over it, and the settings that result.
//!
//! The file is read key by key, so that all its errors are told at once. Defaults stand in [`settings`], and for checks in
//! `quorate_core::check`.

mod api;
mod check;
mod command;
mod detection;
mod document;
mod errors;
mod exports;
mod familiar;
mod file;
mod flags;
mod keys;
mod log;
mod objective;
pub mod place;
mod queue_board;
mod reader;
pub mod request;
mod schema;
mod services;
mod settings;
mod yaml;

pub use api::Restricted;
pub use command::{Args, run};
pub use document::flattened;
#[cfg(feature = "statsd")]
pub use exports::StatsdTags;
pub use exports::{HttpLabels, MetricNames, OtlpSettings, StatsdSettings, metric_prefix};
pub use file::load;
pub use flags::Flags;
pub use log::check_level;
pub use objective::Objective;
pub use queue_board::PASSWORD as QUEUE_BOARD_PASSWORD;
pub use request::Requested;
pub use services::{Configured, MAX_INSTANCES};

pub use settings::{
    FileSettings, LogFormat, LogSettings, RecordSettings, Settings, check_advertised, default_data_dir, host_name,
};
