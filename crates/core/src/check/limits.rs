//! Limits of a check's settings; a peer's registration is held to them as well.

use std::time::Duration;

/// Shortest period.
pub const MIN_PERIOD: Duration = Duration::from_millis(100);
/// Shortest timeout.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(10);
/// Longest of any duration but a certificate's.
pub const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);
/// Longest time before a certificate's end that can be asked for.
pub const MAX_EXPIRY: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Highest threshold.
pub const MAX_THRESHOLD: u32 = 100;
/// Most retries in one round.
pub const MAX_RETRIES: u32 = 10;
/// Most headers.
pub const MAX_HEADERS: usize = 64;
/// Bytes of one header, of the path, of a name or of a file's path.
pub const MAX_TEXT_BYTES: usize = 4096;
/// Bytes of a request body or of what is sent over TCP.
pub const MAX_PAYLOAD_BYTES: usize = 16 * 1024;
/// Most steps of a dialogue.
pub const MAX_STEPS: usize = 16;
/// Bytes read of an answer.
pub const MAX_READ_BYTES: u32 = 1024 * 1024;
/// Most redirects followed.
pub const MAX_REDIRECTS: u32 = 20;
/// Bytes of a regular expression.
pub const MAX_REGEX_BYTES: usize = 1024;
/// Bytes of a JSON path.
pub const MAX_JSON_PATH_BYTES: usize = 256;
/// Bytes of data in an echo request.
pub const MAX_ECHO_BYTES: u16 = 8192;
/// Bytes of the name of a role, a database or a gRPC service.
pub const MAX_NAME_BYTES: usize = 255;
/// Bytes of a program's output kept.
pub const MAX_OUTPUT_BYTES: u32 = 64 * 1024;
/// Most restarts that can be allowed.
pub const MAX_RESTARTS: u32 = 10_000;
/// Most assertions of one check.
pub const MAX_ASSERTIONS: usize = 32;
