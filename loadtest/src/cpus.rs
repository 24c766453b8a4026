//! Which cores the generator and the server run on.

use std::{io, sync::OnceLock};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A set of cores, by number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Cpus(Vec<usize>);

impl std::str::FromStr for Cpus {
    type Err = String;

    /// Reads a list as `taskset -c` takes it: `0,2-3`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no list of cores such as 0,2-3");
        let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n < CpuSet::MAX_CPU);
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first = number(first).ok_or_else(wrong)?;
            let last = number(last).filter(|last| *last >= first).ok_or_else(wrong)?;
            cores.extend(first..=last);
        }
        Ok(Self(cores))
    }
}

impl std::fmt::Display for Cpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

impl Cpus {
    /// The cores that this program was started on.
    pub(crate) fn all() -> io::Result<&'static Self> {
        static ALL: OnceLock<Cpus> = OnceLock::new();
        // Read once: a thread that keeps to some cores sees only those.
        if let Some(all) = ALL.get() {
            return Ok(all);
        }
        let set = sched_getaffinity(None)?;
        let cores = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
        Ok(ALL.get_or_init(|| Self(cores)))
    }

    /// The cores for the server and for the generator when none were named: a half each, or the
    /// only one for both.
    pub(crate) fn halves() -> io::Result<(Self, Self)> {
        let Self(cores) = Self::all()?;
        let (server, generator) = cores.split_at(cores.len().div_ceil(2));
        let generator = if generator.is_empty() { server } else { generator };
        Ok((Self(server.to_vec()), Self(generator.to_vec())))
    }

    /// Keeps the calling thread, and what it starts from now on, to these cores.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|core| set.set(*core));
        Ok(sched_setaffinity(None, &set)?)
    }

    /// Whether some are in both.
    pub(crate) fn overlap(&self, other: &Self) -> bool {
        self.0.iter().any(|core| other.0.contains(core))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_those_of_the_cores_at_the_start() -> io::Result<()> {
        let before = Cpus::halves()?;
        before.1.enter()?;
        assert_eq!(Cpus::halves()?, before);
        assert_eq!(before.0 == before.1, Cpus::all()?.len() == 1);
        Ok(())
    }

    #[test]
    fn cores_in_both_are_found() {
        let cpus = |text: &str| text.parse::<Cpus>().unwrap();
        assert!(cpus("0,2-4").overlap(&cpus("4-5")));
        assert!(!cpus("0,2-4").overlap(&cpus("1,5")));
    }

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!("0,2-4".parse(), Ok(Cpus(vec![0, 2, 3, 4])));
        assert_eq!("3".parse::<Cpus>().map(|cpus| cpus.to_string()), Ok("3".to_owned()));
        for wrong in ["", "a", "3-1", "0,", "99999"] {
            assert!(wrong.parse::<Cpus>().is_err(), "{wrong}");
        }
    }
}
