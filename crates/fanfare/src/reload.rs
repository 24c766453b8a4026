//! SIGHUP: the settings are read again, from the file as it is now and from the environment and
//! the command line as they were at the start.
//!
//! Policy: all or nothing. Settings that are wrong change nothing and are told whole. Of those
//! that are right, the ones that a running hub can change are put in place; the others keep their
//! old value and are named.

use std::{
    ffi::OsString,
    sync::{Arc, atomic::Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::ArgMatches;
use fanfare_server::{Handle, ProcessCounts};

use crate::{
    log::Log,
    settings::{
        self,
        effective::{Change, Effective},
        machine::Machine,
    },
};

/// Where settings come from.
#[derive(Clone)]
pub(crate) struct Sources {
    /// The command line.
    pub(crate) flags: ArgMatches,
    /// The environment.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// The machine, for defaults.
    pub(crate) machine: Machine,
}

/// All that it takes to read the settings again.
pub(crate) struct Reload {
    pub(crate) sources: Sources,
    /// What holds.
    pub(crate) holds: Effective,
    pub(crate) hub: Handle,
    pub(crate) log: Log,
    pub(crate) counts: Arc<ProcessCounts>,
}

impl Reload {
    /// Reads the settings again and puts them in place, or says why not.
    pub(crate) fn run(&mut self) {
        match self.try_run() {
            Ok((changed, kept)) => {
                self.counts.reloads_ok.fetch_add(1, Ordering::Relaxed);
                self.counts.is_reload_failed.store(false, Ordering::Relaxed);
                self.counts.reloaded_at_ms.store(now_ms(), Ordering::Relaxed);
                tracing::info!(changed, needs_restart = kept, "the settings were read again");
            }
            Err(wrong) => {
                self.counts.reloads_failed.fetch_add(1, Ordering::Relaxed);
                self.counts.is_reload_failed.store(true, Ordering::Relaxed);
                for problem in &wrong {
                    tracing::error!("{problem}");
                }
                tracing::error!(
                    problems = wrong.len(),
                    "the settings are wrong, so those of before still hold"
                );
            }
        }
    }

    /// How many settings have changed, and how many would if the hub were started anew.
    fn try_run(&mut self) -> Result<(usize, usize), Vec<String>> {
        let read = self.read(&[])?;
        let (changed, kept): (Vec<_>, Vec<_>) =
            self.holds.changes(&read).into_iter().partition(Change::is_live);
        // What cannot change counts as if it were given as it is: defaults follow from it, and
        // what contradicts it is wrong.
        let holds = if kept.is_empty() { read } else { self.read(&kept)? };
        let changed = if kept.is_empty() { changed } else { self.holds.changes(&holds) };
        self.hub.put(holds.config.clone()).map_err(|error| vec![error.to_string()])?;
        self.log.put(&holds.config.telemetry.log);
        for Change { key, old, new, .. } in &changed {
            tracing::info!(key, old, new, "a setting has changed");
        }
        for Change { key, old, new, .. } in &kept {
            tracing::warn!(key, old, new, "a setting needs a restart, the old value holds");
        }
        self.holds = holds;
        Ok((changed.len(), kept.len()))
    }

    fn read(&self, kept: &[Change]) -> Result<Effective, Vec<String>> {
        let Sources { flags, variables, machine } = &self.sources;
        let pins = kept.iter().filter_map(Change::pin).collect();
        let read = settings::load_with(flags, variables, machine, pins);
        let mut read = read
            .map_err(|wrong| wrong.problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        // Whatever was set: there are not more files than at the start.
        read.bound_by_files(machine);
        Ok(read)
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
