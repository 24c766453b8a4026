//! Arguments that have to be in a range: what is not is told before anything runs.

use std::str::FromStr;

/// Rates a second, and times in seconds, are within these.
const LEAST: f64 = 1e-6;
const GREATEST: f64 = 1e9;
/// Streams on a connection of HTTP/2.
const STREAMS_MAX: usize = 1_024;

/// A number of things, at least one.
pub(crate) fn some<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| *number >= T::from(1));
    number.ok_or_else(|| "it has to be a number from 1".to_owned())
}

/// A rate or a time.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=GREATEST).contains(number));
    number.ok_or_else(|| "it has to be a number above 0".to_owned())
}

/// A rate or a time that may be zero.
pub(crate) fn not_negative(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=GREATEST).contains(number));
    number.ok_or_else(|| "it has to be a number from 0".to_owned())
}

/// Streams on a connection.
pub(crate) fn streams(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=STREAMS_MAX).contains(number));
    number.ok_or_else(|| format!("it has to be a number from 1 to {STREAMS_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_refused() {
        assert_eq!((some("1"), some("70000")), (Ok(1u32), Ok(70_000u32)));
        assert_eq!((streams("1024"), positive("0.5")), (Ok(1_024), Ok(0.5)));
        assert_eq!(not_negative("0"), Ok(0.0));
        assert!(some::<usize>("0").is_err() && some::<u64>("-1").is_err());
        assert!(streams("0").is_err() && streams("1025").is_err());
        for wrong in ["0", "-1", "NaN", "inf", "1e-300", "1e300", "x"] {
            assert!(positive(wrong).is_err(), "{wrong}");
        }
        assert!(not_negative("-0.1").is_err() && not_negative("inf").is_err());
    }
}
