//! What the machine gives: cores, memory, open files. Defaults are made from it.

use std::{fs, path::Path, thread};

use fanfare_server::{Budgeted, limits::FILES_RESERVED};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the machine gives this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// Cores that it may use.
    pub(crate) cores: u64,
    /// Bytes of memory that it is to use: unless a setting says so, half of the machine's, or of
    /// its control group's if that is less.
    pub(crate) budget_bytes: u64,
    /// Files that it may hold open.
    pub(crate) open_files_max: u64,
    /// Fetches of upstreams that are to have files at once; none where there are no upstreams.
    pub(crate) fetches: u64,
}

impl Machine {
    /// Finds out, and raises the limit of open files as far as it goes.
    pub(crate) fn probe() -> Self {
        Self {
            cores: thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            budget_bytes: budget(memory_bytes()),
            open_files_max: raise_open_files(),
            fetches: 0,
        }
    }

    /// The defaults that follow from the budget.
    pub(crate) fn budgeted(&self) -> Budgeted {
        Budgeted(self.budget_bytes)
    }

    /// Connections for which there are files: the rest is for operators, refusals, the hub, and
    /// fetches, so that those never keep anybody out.
    pub(crate) fn connections_max(&self) -> u64 {
        self.peers_max().saturating_sub(self.fetches).max(1)
    }

    /// Fetches for which there are files: half of them is for who reads what is fetched.
    pub(crate) fn fetches_max(&self) -> u64 {
        (self.peers_max() / 2).max(1)
    }

    /// Fetches unless a setting says otherwise.
    pub(crate) fn fetches_default(&self) -> u64 {
        self.fetches_max().min(FETCHES)
    }

    /// The machine with files for so many fetches, or for as many as it has files for.
    pub(crate) fn with_fetches(self, fetches: u64) -> Self {
        Self { fetches: fetches.min(self.fetches_max()), ..self }
    }

    /// Connections and fetches for which there are files.
    fn peers_max(&self) -> u64 {
        self.open_files_max.saturating_sub(FILES_RESERVED as u64)
    }
}

/// Raises the soft limit of open files to the hard one and answers what holds then.
fn raise_open_files() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    // A system may refuse although the limit allows it; then the soft limit stays.
    let holds = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => before.current,
    };
    holds.unwrap_or(u64::MAX)
}

/// What a hub uses of so much memory, the least that is allowed at least: whole mebibytes, which
/// people can read.
fn budget(memory_bytes: u64) -> u64 {
    (memory_bytes / 2 / MIB * MIB).clamp(BUDGET_BYTES_MIN, BUDGET_BYTES_MAX)
}

fn memory_bytes() -> u64 {
    let installed = fs::read_to_string("/proc/meminfo").ok().and_then(|text| installed(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let allowed = group_limits(&groups).min();
    installed.unwrap_or(MEMORY_BYTES_UNKNOWN).min(allowed.unwrap_or(u64::MAX))
}

/// The memory that `/proc/meminfo` tells.
fn installed(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The limits of the process's control group and of all that hold it. A group without a limit
/// says `max`, which is no number and so no limit.
fn group_limits(groups: &str) -> impl Iterator<Item = u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let leaf = root.join(own);
    let above: Vec<_> = leaf.ancestors().take_while(|path| path.starts_with(root)).collect();
    let files: Vec<_> = above.iter().map(|path| path.join("memory.max")).collect();
    files.into_iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}

const MIB: u64 = 1 << 20;
/// What the setting allows.
pub(crate) const BUDGET_BYTES_MIN: u64 = 64 << 20;
/// See [`BUDGET_BYTES_MIN`].
pub(crate) const BUDGET_BYTES_MAX: u64 = 64 << 40;
/// Fetches of a machine that has files for them.
const FETCHES: u64 = 1_000;
/// Taken where the memory cannot be found out.
const MEMORY_BYTES_UNKNOWN: u64 = 1024 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       16302280 kB\nMemFree:        1 kB\n";
        assert_eq!(installed(text), Some(16_302_280 * 1024));
        assert_eq!(installed("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn the_budget_is_half_of_the_memory_in_whole_mebibytes() {
        assert_eq!(budget((1 << 30) + 4_096), 512 << 20);
        assert_eq!(budget(1 << 20), BUDGET_BYTES_MIN);
    }

    #[test]
    fn fetches_have_files_that_connections_have_not() {
        let reserved = FILES_RESERVED as u64;
        let of = |peers| {
            let open_files_max = reserved + peers;
            Machine { cores: 1, budget_bytes: BUDGET_BYTES_MIN, open_files_max, fetches: 0 }
        };
        let most = of(3_000);
        assert_eq!((most.connections_max(), most.fetches_max()), (3_000, 1_500));
        assert_eq!((most.fetches_default(), of(448).fetches_default()), (1_000, 224));
        assert_eq!(most.with_fetches(1_000).connections_max(), 2_000);
        assert_eq!((of(1).connections_max(), of(1).fetches_max()), (1, 1));
        for peers in 2..9 {
            let most = of(peers).with_fetches(u64::MAX);
            assert!(most.connections_max() + most.fetches + reserved <= most.open_files_max);
        }
    }

    #[test]
    fn this_machine_has_something() {
        let machine = Machine::probe();
        assert!(1 <= machine.cores && BUDGET_BYTES_MIN <= machine.budget_bytes);
        let soft = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert_eq!(machine.open_files_max, soft);
    }
}
