//! Facts about this machine, and what a process costs it, from `/proc`.

use anyhow::Context;
use serde::Serialize;

/// Ticks per second in `/proc/PID/stat`: fixed for programs on Linux, whatever the kernel's own rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// What was measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Cores that this program may use.
    pub cores: usize,
    /// The model of the processor.
    pub cpu: String,
    /// The kernel's release.
    pub kernel: String,
    /// Memory in MiB.
    pub memory_mib: u64,
}

impl Machine {
    /// Reads what can be read; `unknown` for the rest.
    pub fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (cpus, memory) = (file("/proc/cpuinfo"), file("/proc/meminfo"));
        let cpu = field(&cpus, "model name").or_else(|| field(&cpus, "Model")).unwrap_or("unknown");
        let kernel = file("/proc/sys/kernel/osrelease");
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: cpu.to_owned(),
            kernel: if kernel.is_empty() { "unknown".to_owned() } else { kernel.trim().to_owned() },
            memory_mib: field(&memory, "MemTotal").and_then(kib).unwrap_or(0) / 1024,
        }
    }
}

/// Seconds of processor time that a process has used, in user and kernel mode.
///
/// # Errors
/// When it is gone, or `/proc` is not that of Linux.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    ticks(&stat).map(|ticks| ticks / TICKS_PER_SECOND).with_context(|| format!("{path} reads otherwise than expected"))
}

/// Resident memory of a process in MiB.
///
/// # Errors
/// As [`cpu_seconds`].
pub fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let kib = field(&status, "VmRSS").and_then(kib).with_context(|| format!("{path} tells no resident memory"))?;
    Ok(f64::from(u32::try_from(kib)?) / 1024.0)
}

/// `utime` and `stime`, fields 14 and 15; the name in field 2 may hold anything, so fields are counted after its closing bracket.
fn ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

/// `1234 kB`.
fn kib(text: &str) -> Option<u64> {
    text.strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_after_any_name() {
        assert_eq!(ticks("12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0"), Some(200.0));
        assert_eq!(ticks("12 (a"), None);
        assert_eq!(field("VmPeak:\t 9 kB\nVmRSS:\t  2048 kB\n", "VmRSS").and_then(kib), Some(2048));
    }
}
