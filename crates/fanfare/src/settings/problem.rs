//! What is wrong with the settings, each with the place where it was given.

use std::{error::Error, fmt};

/// Where a setting was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// Nowhere: it is the default of this flag.
    Default(&'static str),
    /// In the TOML file.
    File {
        /// The file, as it was named.
        path: String,
        /// Its line, from 1.
        line: usize,
        /// The key, or nothing if the whole line is meant.
        key: String,
    },
    /// On the command line.
    Flag(&'static str),
    /// In the environment.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(flag) => write!(f, "the default of {flag}"),
            Self::File { path, line, key } if key.is_empty() => write!(f, "{path}:{line}"),
            Self::File { path, line, key } => write!(f, "{path}:{line}: {key}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) place: Place,
    /// What was wrong, and what is allowed.
    pub(crate) what: String,
}

impl Problem {
    /// A problem at a place.
    pub(crate) fn new(place: Place, what: impl Into<String>) -> Self {
        Self { place, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Everything that is wrong with the settings: at least one problem.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wrong {
    /// In the order in which they were met.
    pub(crate) problems: Vec<Problem>,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl Error for Wrong {}

/// `; did you mean …?` if a known name is near to a wrong one, or nothing.
pub(crate) fn did_you_mean<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearness = |name| strsim::normalized_damerau_levenshtein(wrong, name);
    known
        .max_by(|a, b| nearness(a).total_cmp(&nearness(b)))
        .filter(|name| NEARNESS_MIN <= nearness(name))
        .map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// Below it a name is not taken for a slip of another.
const NEARNESS_MIN: f64 = 0.7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised() {
        let known = ["listen", "workers", "ring_bytes"];
        let hint = |wrong| did_you_mean(wrong, known.into_iter());
        assert_eq!(hint("worker"), "; did you mean workers?");
        assert_eq!(hint("ring-bytes"), "; did you mean ring_bytes?");
        assert_eq!(hint("zebra"), "");
        // A beginning that all names share says nothing.
        assert_eq!(did_you_mean("FANFARE_FOO", ["FANFARE_WORKERS"].into_iter()), "");
    }

    #[test]
    fn a_place_can_be_found() {
        let place = |key: &str| Place::File { path: "f.toml".into(), line: 3, key: key.into() };
        assert_eq!(place("workers").to_string(), "f.toml:3: workers");
        assert_eq!(place("").to_string(), "f.toml:3");
    }
}
