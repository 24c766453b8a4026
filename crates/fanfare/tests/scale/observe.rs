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
        self.mapped("Pss:")
    }

    /// The part of it that no file backs: without the code, which is large if it is unoptimised.
    pub(crate) fn anonymous_memory(&self) -> usize {
        self.mapped("Anonymous:")
    }

    fn mapped(&self, what: &str) -> usize {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = fs::read_to_string(path).unwrap();
        let bytes = |line: &str| line.strip_prefix(what)?.trim().strip_suffix(" kB").map(kib);
        text.lines().find_map(bytes).unwrap()
    }
}

fn kib(text: &str) -> usize {
    text.trim().parse::<usize>().unwrap() * 1_024
}
