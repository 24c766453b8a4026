//! What the system says of this process. What it does not say is 0.

use std::fs;

use rustix::{
    param::clock_ticks_per_second,
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Figures of the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    /// Time on a processor, over all threads.
    pub(crate) cpu_seconds: f64,
    /// Memory that is resident.
    pub(crate) resident_bytes: u64,
    /// Files that are open, sockets included.
    pub(crate) open_files: u64,
    /// How many may be.
    pub(crate) open_files_max: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// When it started, in Unix seconds.
    pub(crate) started_at_seconds: f64,
}

impl Process {
    /// The figures of this moment.
    pub(crate) fn read() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| -> u64 {
            let value =
                |line: &str| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok();
            status.lines().find_map(value).unwrap_or_default()
        };
        Self {
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            resident_bytes: field("VmRSS:") * 1_024,
            open_files: open_files(),
            open_files_max: getrlimit(Resource::Nofile).current.unwrap_or_default(),
            threads: field("Threads:"),
            started_at_seconds: started_at_seconds(),
        }
    }
}

/// The system counts it from its own start, which it counts from 1970.
fn started_at_seconds() -> f64 {
    let after_boot = || -> Option<f64> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program, in parentheses, may hold spaces.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks: u64 = fields.split_whitespace().nth(START_TIME_FIELD)?.parse().ok()?;
        Some(ticks as f64 / clock_ticks_per_second() as f64)
    };
    let boot = || -> Option<f64> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
    };
    after_boot().zip(boot()).map_or(0.0, |(after, boot)| boot + after)
}

/// Since Linux 6.2 the directory's size is the count; before it is 0, and they are counted.
fn open_files() -> u64 {
    let size = fs::metadata(FILES).map_or(0, |directory| directory.len());
    if size > 0 { size } else { fs::read_dir(FILES).map_or(0, |files| files.count() as u64) }
}

const FILES: &str = "/proc/self/fd";
/// Which field after the name it is (proc_pid_stat(5): the 22nd of all).
const START_TIME_FIELD: usize = 19;

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_figures_are_those_of_a_process_that_runs() {
        let (before, file) = (Process::read(), fs::File::open("/proc/self/status").unwrap());
        let process = Process::read();
        assert!(process.cpu_seconds >= before.cpu_seconds && process.cpu_seconds > 0.0);
        assert!(process.resident_bytes > 1024 * 1024 && process.threads > 0);
        assert!((1..process.open_files_max).contains(&process.open_files));
        drop(file);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age_seconds = now - process.started_at_seconds;
        assert!((-2.0..86_400.0).contains(&age_seconds), "{age_seconds}");
    }
}
