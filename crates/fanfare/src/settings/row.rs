//! What a row of the table of settings says, and its words for people.

use std::{net::SocketAddr, ops::RangeInclusive};

use fanfare_core::Retention;
use fanfare_server::Config;

use super::{machine::Machine, unit::Unit};

/// One setting.
#[derive(Debug)]
pub(crate) struct Row {
    /// The flag, as typed.
    pub(crate) flag: &'static str,
    /// The variable of the environment.
    pub(crate) variable: &'static str,
    /// The key in the TOML file.
    pub(crate) key: &'static str,
    /// What holds when it is not given.
    pub(crate) default: Fallback,
    /// How its text is read, and where the value goes.
    pub(crate) value: Value,
    /// Whether a running hub takes a new value, when it is told to read its settings again.
    pub(crate) live: bool,
    /// What it is, in one sentence.
    pub(crate) help: &'static str,
}

impl Row {
    /// What its text may be, in words.
    pub(crate) fn allowed(&self) -> String {
        match &self.value {
            Value::Address(_) => "IP:PORT, such as [::1]:8080".to_owned(),
            Value::Choice { of, .. } => of.join(", "),
            Value::Names { words, .. } | Value::Text { words, .. } => (*words).to_owned(),
            Value::Number { unit, range, .. } => {
                format!("{} to {}", unit.show(*range.start()), unit.show(*range.end()))
            }
            Value::Switch(_) => "true or false".to_owned(),
        }
    }

    /// The default, in words.
    pub(crate) fn default_words(&self) -> &'static str {
        match self.default {
            Fallback::Machine { words, .. } => words,
            Fallback::Text("") => "none",
            Fallback::Text(text) => text,
        }
    }

    /// Whether it may also stand in a `[[channels]]` table.
    pub(crate) fn is_per_channel(&self) -> bool {
        matches!(
            self.value,
            Value::Number { set: Set::Channel(_), .. } | Value::Choice { set: Set::Channel(_), .. }
        )
    }
}

/// What holds when a setting is not given.
#[derive(Debug)]
pub(crate) enum Fallback {
    /// Found out from the machine; `words` say how.
    Machine {
        /// For help and README.
        words: &'static str,
        /// Finds it out.
        find: fn(&Machine) -> u64,
    },
    /// This text, read as if it had been given.
    Text(&'static str),
}

/// How a setting's text is read, and where the value goes.
#[derive(Debug)]
pub(crate) enum Value {
    /// An IP address with a port.
    Address(fn(&mut Config, SocketAddr)),
    /// One of a few words.
    Choice {
        /// The words.
        of: &'static [&'static str],
        /// Keeps it.
        set: Set<&'static str>,
    },
    /// Any number of names: the flag repeats, commas separate, the file has an array.
    Names {
        /// Reads one of them.
        parse: fn(&str) -> Result<String, String>,
        /// Keeps them all.
        set: fn(&mut Config, Vec<String>),
        /// What is allowed, for people.
        words: &'static str,
    },
    /// A number, size or duration.
    Number {
        /// How it is written.
        unit: Unit,
        /// What is allowed; durations are in milliseconds.
        range: RangeInclusive<u64>,
        /// Keeps it.
        set: Set<u64>,
    },
    /// On or off.
    Switch(fn(&mut Config, bool)),
    /// Text of a kind of its own.
    Text {
        /// Reads it.
        parse: fn(&str) -> Result<String, String>,
        /// Keeps it.
        set: fn(&mut Config, String),
        /// What is allowed, for people.
        words: &'static str,
    },
}

/// Where a value goes.
#[derive(Debug)]
pub(crate) enum Set<T> {
    /// Into what a channel keeps: for all channels, or for those of a `[[channels]]` table.
    Channel(fn(&mut Retention, T)),
    /// Into the hub's own settings.
    Hub(fn(&mut Config, T)),
}
