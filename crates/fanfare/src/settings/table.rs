//! The one table of settings: flags, variables, TOML keys, `--help` and the README's table are
//! all made from these rows, or checked against them.

mod bounds;
mod clients;
mod listeners;
mod process;
mod upstreams;

use super::row::Row;

/// Settings that belong together.
pub(crate) struct Group {
    /// What `--help` and the manual print above them.
    pub(crate) heading: &'static str,
    /// They themselves.
    pub(crate) rows: &'static [Row],
}

/// All settings by group, in the order of `--help`.
pub(crate) fn groups() -> [Group; 5] {
    [
        Group { heading: "Listeners", rows: listeners::ROWS },
        Group { heading: "Clients", rows: clients::ROWS },
        Group { heading: "Memory and channels", rows: bounds::ROWS },
        Group { heading: "Upstreams", rows: upstreams::ROWS },
        Group { heading: "Process", rows: process::ROWS },
    ]
}

/// All settings, in the same order.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    groups().into_iter().flat_map(|group| group.rows)
}

/// The row of a TOML key.
pub(crate) fn by_key(key: &str) -> Option<&'static Row> {
    rows().find(|row| row.key == key)
}

/// The row of a variable.
pub(crate) fn by_variable(variable: &str) -> Option<&'static Row> {
    rows().find(|row| row.variable == variable)
}

/// A number as `usize`; the ranges of the table end far below what 64 bits hold.
fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A number as `u32`; the ranges of the rows that use this end below 2^32.
fn half(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One less than the workers that the core counts: HTTP/2 is the last one.
const WORKERS_MAX: u64 = fanfare_core::limits::WORKERS_MAX as u64 - 1;
/// Ten million sockets: more than any kernel gives one process unless it is told to.
const CONNECTIONS_MAX: u64 = 10_000_000;
/// A million a second: more than a node can do.
const RATE_MAX: u64 = 1_000_000;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const TIB: u64 = 1024 * 1024 * MIB;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::row::{Fallback, Set, Value};

    #[test]
    fn flag_variable_and_key_are_one_name() {
        for row in rows() {
            let name = row.flag.strip_prefix("--").unwrap().replace('-', "_");
            let many = matches!(row.value, Value::Names { .. });
            let key = match name.strip_suffix('y') {
                Some(stem) if many => format!("{stem}ies"),
                _ if many => format!("{name}s"),
                _ => name,
            };
            assert_eq!(row.key, key);
            assert_eq!(row.variable, format!("FANFARE_{}", key.to_uppercase()));
        }
    }

    #[test]
    fn no_name_is_there_twice() {
        for (index, row) in rows().enumerate() {
            assert!(rows().take(index).all(|other| other.key != row.key), "{}", row.key);
        }
    }

    #[test]
    fn the_ranges_fit_where_the_numbers_go() {
        for row in rows() {
            let Value::Number { range, set, .. } = &row.value else { continue };
            assert!(range.start() < range.end(), "{}", row.key);
            // The memory of a machine passes 2^32, and is `usize` where it does; so do 30 days.
            let is_whole = ["connection_age_max", "memory_max", "rings_bytes_max"];
            if matches!(set, Set::Hub(_)) && !is_whole.contains(&row.key) {
                assert!(*range.end() <= u64::from(u32::MAX), "{}", row.key);
            }
        }
    }

    #[test]
    fn the_words_of_a_default_have_the_number_of_the_code() {
        let files = format!("open files \u{2212} {}", fanfare_server::limits::FILES_RESERVED);
        for key in ["connections_max", "upstream_fetches_max"] {
            let row = by_key(key).unwrap();
            let Fallback::Machine { words, .. } = row.default else { panic!("it has a default") };
            assert!(words.contains(&files), "{key}");
        }
    }

    #[test]
    fn the_help_is_one_sentence_without_full_stop() {
        for row in rows() {
            assert!(!row.help.ends_with('.') && row.help.len() <= 90, "{}", row.help);
        }
    }
}
