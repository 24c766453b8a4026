//! What is to be seen of a hub from outside: its metrics, its files, its memory.

use std::fs;

use crate::support::{http, hub::Hub, metric};

impl Hub {
    /// A metric, by its name with its labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = http::get(self.admin(), "/metrics");
        let found = metric(text.text(), name);
        found.unwrap_or_else(|| panic!("no {name} in {}", text.text())) as u64
    }

    /// How many files the process has open.
    pub(crate) fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Memory of the process alone, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = fs::read_to_string(path).unwrap();
        let pss = |line: &str| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB").map(kib);
        text.lines().find_map(pss).unwrap()
    }
}

fn kib(text: &str) -> usize {
    text.trim().parse::<usize>().unwrap() * 1_024
}
