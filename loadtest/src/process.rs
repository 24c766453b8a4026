//! What a process and the machine use, from `/proc`.

use std::{collections::HashMap, ffi::OsString, fs, io, path::PathBuf};

/// The figures of a server's processes at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Nanoseconds of CPU that the scheduler gave to all threads.
    pub(crate) cpu_ns: u64,
    /// Proportional set size in bytes: memory in RAM, shared pages divided among their users.
    pub(crate) pss_bytes: u64,
    /// Resident set size in bytes: the same with shared pages in full.
    pub(crate) rss_bytes: u64,
    /// The part of it that no file backs, in bytes. Unlike the other two it does not depend on how
    /// many processes run the same binary.
    pub(crate) anonymous_bytes: u64,
    /// Open file descriptors.
    pub(crate) descriptors: u64,
}

/// The processes of a server: the one that was started and its children.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut looked = 0;
    while looked < family.len() {
        let path = format!("/proc/{pid}/task/{pid}/children", pid = family[looked]);
        let children = fs::read_to_string(path).unwrap_or_default();
        family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        looked += 1;
    }
    family
}

/// Nanoseconds of CPU of a process's threads.
pub(crate) fn cpu_ns(pid: u32) -> io::Result<u64> {
    Ok(threads_ns(pid)?.values().sum())
}

/// Nanoseconds of CPU of each thread of a process, by its id.
pub(crate) fn threads_ns(pid: u32) -> io::Result<HashMap<OsString, u64>> {
    let mut threads = HashMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        // A thread may end between the listing and the look.
        let Ok(line) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        let ns = line.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        threads.insert(task.file_name(), ns);
    }
    Ok(threads)
}

/// Nanoseconds in which the machine's cores were not idle, in steps of clock ticks.
pub(crate) fn machine_busy_ns() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks: Vec<u64> = stat
        .lines()
        .next()
        .into_iter()
        .flat_map(|line| line.split_whitespace().skip(1).take(8))
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy: u64 = ticks.iter().sum::<u64>() - ticks.iter().skip(3).take(2).sum::<u64>();
    Ok(busy * (1_000_000_000 / rustix::param::clock_ticks_per_second()))
}

/// What a server uses now.
pub(crate) fn usage(pid: u32) -> io::Result<Usage> {
    let mut sum = Usage::default();
    for pid in family(pid) {
        sum.cpu_ns += cpu_ns(pid)?;
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        sum.pss_bytes += kilobytes(&rollup, "Pss:") * 1024;
        sum.rss_bytes += kilobytes(&rollup, "Rss:") * 1024;
        sum.anonymous_bytes += kilobytes(&rollup, "Anonymous:") * 1024;
        sum.descriptors += fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
    }
    Ok(sum)
}

/// Memory of the kernel that sockets use, in bytes: its slabs that cannot be reclaimed, and the
/// buffers of TCP. It is the machine's, so both ends of a loopback connection are in it.
pub(crate) fn kernel_bytes() -> io::Result<u64> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let sockets = fs::read_to_string("/proc/net/sockstat")?;
    let pages = sockets
        .lines()
        .find(|line| line.starts_with("TCP:"))
        .and_then(|line| line.split(' ').next_back()?.parse::<u64>().ok())
        .unwrap_or(0);
    Ok(kilobytes(&memory, "SUnreclaim:") * 1024 + pages * rustix::param::page_size() as u64)
}

/// The value in kB of a line that begins with `name`.
fn kilobytes(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// How many cores the machine has.
pub(crate) fn cores() -> usize {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpus.lines().filter(|line| line.starts_with("processor")).count().max(1)
}

/// What the machine is, for reports, as name and value.
pub(crate) fn machine() -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(PathBuf::from(path)).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let cores = cores();
    let memory = kilobytes(&read("/proc/meminfo"), "MemTotal:") >> 20;
    vec![
        ("processor".to_owned(), format!("{model}, {cores} cores")),
        ("memory".to_owned(), format!("{memory} GiB")),
        ("kernel".to_owned(), read("/proc/sys/kernel/osrelease").trim().to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_sees_what_it_uses() {
        let pid = std::process::id();
        let before = usage(pid).unwrap();
        let file = fs::File::open("/proc/self/stat").unwrap();
        let mut sum = 0u64;
        while cpu_ns(pid).unwrap() < before.cpu_ns + 20_000_000 {
            sum = (0..100_000u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        let after = usage(pid).unwrap();
        assert!(after.pss_bytes > 100_000 && after.pss_bytes < 1 << 40);
        assert!(after.descriptors >= 4, "the three of every process and {file:?}");
        assert!(kernel_bytes().unwrap() > 1 << 20);
        assert!(family(pid).contains(&pid));
    }

    #[test]
    fn values_are_found_by_name() {
        assert_eq!(kilobytes("Rss: 12 kB\nPss:   7 kB\n", "Pss:"), 7);
        assert_eq!(kilobytes("", "Pss:"), 0);
    }
}
