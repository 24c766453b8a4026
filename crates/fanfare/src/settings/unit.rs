//! How numbers are written: counts as `1_000`, sizes as `4MiB`, durations as `15s`.

use std::{str::FromStr, time::Duration};

use bytesize::ByteSize;

/// How a number is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    /// A size: `128KiB`, `4MB`, or bytes without a unit.
    Bytes,
    /// A plain number, `_` between its digits allowed.
    Count,
    /// A time with its unit: `15s`, `1h 30m`. The number is milliseconds.
    Duration,
}

impl Unit {
    /// Reads a number, or says what is wrong with it.
    pub(crate) fn parse(self, text: &str) -> Result<u64, String> {
        match self {
            Self::Bytes => size(text),
            Self::Count => count(text),
            Self::Duration => milliseconds(text),
        }
    }

    /// What stands for its value in `--help`.
    pub(crate) fn value_name(self) -> &'static str {
        match self {
            Self::Bytes => "SIZE",
            Self::Count => "N",
            Self::Duration => "TIME",
        }
    }

    /// Writes a number so that [`parse`](Self::parse) reads it back.
    pub(crate) fn show(self, number: u64) -> String {
        match self {
            Self::Bytes => show_size(number),
            Self::Count => show_count(number),
            Self::Duration => humantime::format_duration(Duration::from_millis(number)).to_string(),
        }
    }
}

fn count(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let starts_well = text.starts_with(|first: char| first.is_ascii_digit());
    match digits.parse() {
        Ok(number) if starts_well => Ok(number),
        _ => Err(format!("`{}` is not a whole number", text.escape_debug())),
    }
}

fn size(text: &str) -> Result<u64, String> {
    if let Ok(bytes) = count(text) {
        return Ok(bytes);
    }
    ByteSize::from_str(text)
        .map(|size| size.as_u64())
        .map_err(|_| format!("`{}` is not a size such as 128KiB or 4MiB", text.escape_debug()))
}

fn milliseconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{}` is not a duration such as 500ms, 15s or 1h", text.escape_debug());
    let duration = humantime::parse_duration(text).map_err(|_| wrong())?;
    u64::try_from(duration.as_millis()).map_err(|_| wrong())
}

/// The largest unit of which it is a whole number.
fn show_size(bytes: u64) -> String {
    let units = ["TiB", "GiB", "MiB", "KiB"];
    for (power, unit) in (1..=4).rev().zip(units) {
        let one = 1024_u64.pow(power);
        if one <= bytes && bytes.is_multiple_of(one) {
            return format!("{}{unit}", bytes / one);
        }
    }
    format!("{bytes}B")
}

/// With `_` between thousands.
fn show_count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        for (unit, text, number) in [
            (Unit::Count, "0", 0),
            (Unit::Count, "1_048_576", 1_048_576),
            (Unit::Bytes, "65_536", 65_536),
            (Unit::Bytes, "4MiB", 4 << 20),
            (Unit::Bytes, "4 MiB", 4 << 20),
            (Unit::Bytes, "4MB", 4_000_000),
            (Unit::Bytes, "1.5KiB", 1_536),
            (Unit::Duration, "15s", 15_000),
            (Unit::Duration, "1h 30m", 5_400_000),
            (Unit::Duration, "250ms", 250),
        ] {
            assert_eq!(unit.parse(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for (unit, text) in [
            (Unit::Count, ""),
            (Unit::Count, "-1"),
            (Unit::Count, "+1"),
            (Unit::Count, "_"),
            (Unit::Count, "1.5"),
            (Unit::Count, "many"),
            (Unit::Count, "99999999999999999999"),
            (Unit::Bytes, ""),
            (Unit::Bytes, "4 apples"),
            (Unit::Bytes, "-4MiB"),
            (Unit::Duration, ""),
            (Unit::Duration, "15"),
            (Unit::Duration, "15 apples"),
            (Unit::Duration, "-1s"),
            (Unit::Duration, "999999999999y"),
        ] {
            assert!(unit.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for number in [1, 999, 1_000, 1_024, 1_025, 60_000, 1_048_576, 4 << 40, 31_536_000_000] {
            for unit in [Unit::Bytes, Unit::Count, Unit::Duration] {
                assert_eq!(unit.parse(&unit.show(number)), Ok(number), "{unit:?}");
            }
        }
        assert_eq!(Unit::Bytes.show(256 * 1024), "256KiB");
        assert_eq!(Unit::Count.show(1_000_000), "1_000_000");
        assert_eq!(Unit::Duration.show(60_000), "1m");
    }
}
