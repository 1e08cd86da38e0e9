//! Spans of time and points in time, in words.

use jiff::Timestamp;

/// A duration in milliseconds as a person says it: `40 ms`, `5 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn words(ms: u64) -> String {
    let seconds = ms / 1000;
    let two = |big: u64, unit: &str, small: u64, lesser: &str| match small {
        0 => format!("{big} {unit}"),
        _ => format!("{big} {unit} {small} {lesser}"),
    };
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86400 => two(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86400, "d", seconds / 3600 % 24, "h"),
    }
}

/// ` for 5 s`, from `start` until `end`, both RFC 3339; nothing when either cannot be read.
pub fn since(start: &str, end: &str) -> String {
    let (Ok(start), Ok(end)) = (start.parse::<Timestamp>(), end.parse::<Timestamp>()) else { return String::new() };
    let ms = end.as_millisecond().saturating_sub(start.as_millisecond());
    u64::try_from(ms).map_or_else(|_| String::new(), |ms| format!(" for {}", words(ms)))
}

/// A time as a person reads it, `2026-11-21 07:00:00 UTC`; as it came when it cannot be read.
pub fn clock(rfc3339: &str) -> String {
    match rfc3339.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => super::style::clean(rfc3339),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_in_words() {
        let cases = [(0, "0 ms"), (999, "999 ms"), (5_400, "5 s"), (200_000, "3 min 20 s"), (3_600_000, "1 h")];
        for (ms, text) in cases {
            assert_eq!(words(ms), text);
        }
        assert_eq!(words(90_061_000), "1 d 1 h");
        assert_eq!(since("2026-11-21T07:00:00Z", "2026-11-21T07:00:05Z"), " for 5 s");
        assert_eq!(since("x", "y"), "");
        assert_eq!(clock("2026-11-21T07:00:00.123Z"), "2026-11-21 07:00:00 UTC");
    }
}
