//! Numbers as people read them: a figure with its unit, a tick of an axis.

use crate::outcome::Unit;

/// A multiple of a base unit that has a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Multiple {
    /// How many base units it is.
    pub(super) factor: f64,
    /// What stands after the number.
    pub(super) name: &'static str,
}

/// A figure with three significant digits, or all digits before the point, and its unit.
pub(super) fn figure(value: f64, unit: Unit) -> String {
    if !value.is_finite() {
        return not_finite(value).to_owned();
    }
    match unit {
        Unit::Count => count(value),
        Unit::PerSecond => format!("{} /s", count(value)),
        Unit::Ratio => format!("{} ×", three_digits(value)),
        Unit::Share => format!("{} %", percent(value * 100.0)),
        Unit::Bytes | Unit::Seconds if value == 0.0 => format!("0 {}", base(unit)),
        Unit::Bytes if value.abs() < 1024.0 => format!("{} B", count(value)),
        Unit::Bytes | Unit::Seconds => in_multiple(value, multiples(unit)),
    }
}

/// A number for the tick of a logarithmic axis, where each has its own multiple: `10 µs`, `20k`.
pub(super) fn tick(value: f64, unit: Unit) -> String {
    if value == 0.0 || !value.is_finite() {
        return grouped(value, 0);
    }
    let multiple = multiple_for(value, multiples(unit));
    let number = without_zeros(&three_digits(value / multiple.factor)).to_owned();
    match unit {
        Unit::Bytes | Unit::Seconds | Unit::Share => format!("{number} {}", multiple.name),
        Unit::Count | Unit::PerSecond | Unit::Ratio => format!("{number}{}", multiple.name),
    }
}

/// The named multiples of a unit on an axis, from small to large.
pub(super) fn multiples(unit: Unit) -> &'static [Multiple] {
    match unit {
        Unit::Bytes => &BYTES,
        Unit::Count | Unit::PerSecond => &COUNTS,
        Unit::Ratio => &[Multiple { factor: 1.0, name: "" }],
        Unit::Seconds => &SECONDS,
        Unit::Share => &[Multiple { factor: 0.01, name: "%" }],
    }
}

/// The largest multiple that is not larger than a value, or else the smallest.
pub(super) fn multiple_for(value: f64, multiples: &[Multiple]) -> Multiple {
    // What is a rounding error below a multiple is shown as one of it, not as 1,000 of the last.
    let reached = |multiple: &&Multiple| multiple.factor * (1.0 - 1e-9) <= value.abs();
    let largest = multiples.iter().rev().find(reached).or_else(|| multiples.first());
    largest.copied().unwrap_or(Multiple { factor: 1.0, name: "" })
}

/// A number with a fixed number of decimals and a comma at each thousand.
pub(super) fn grouped(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return not_finite(value).to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let is_negative = value < 0.0 && text.contains(|digit: char| ('1'..='9').contains(&digit));
    let mut out = String::from(if is_negative { "-" } else { "" });
    for (index, digit) in whole.char_indices() {
        if index != 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

/// A whole number in full; any other with three significant digits.
fn count(value: f64) -> String {
    let is_whole = value.fract() == 0.0 && value.abs() < PLAIN_MAX;
    if is_whole { grouped(value, 0) } else { three_digits(value) }
}

/// At least three significant digits, and all before the point. Numbers that are too long that way
/// have an exponent.
fn three_digits(value: f64) -> String {
    // The exponent after rounding: 9.996 has as many decimals as 10.0.
    let scientific = format!("{value:.2e}");
    let exponent = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok());
    match exponent.unwrap_or(0) {
        _ if value == 0.0 => "0".to_owned(),
        exponent @ PLAIN_EXPONENT_MIN..=2 => {
            grouped(value, usize::try_from(2 - exponent).unwrap_or(0))
        }
        3.. if value.abs() < PLAIN_MAX => grouped(value, 0),
        _ => scientific,
    }
}

/// A number of percent. Near 100 it keeps what is missing: 99.999 is not 100.
fn percent(value: f64) -> String {
    let missing = 100.0 - value;
    if missing <= 0.0 || 1.0 <= missing {
        return three_digits(value);
    }
    (1..=MISSING_DECIMALS_MAX)
        .map(|decimals| grouped(value, decimals))
        .find(|text| {
            let shown: f64 = text.parse().unwrap_or(value);
            ((100.0 - shown) - missing).abs() <= missing * 0.005
        })
        .unwrap_or_else(|| format!("100 - {missing:.2e}"))
}

/// A value in the largest multiple that it fills after rounding.
fn in_multiple(value: f64, multiples: &[Multiple]) -> String {
    let multiple = multiple_for(value, multiples);
    let text = three_digits(value / multiple.factor);
    let next = multiples.iter().find(|next| multiple.factor < next.factor);
    if let Some(next) = next {
        let shown: f64 = text.replace(',', "").parse().unwrap_or(0.0);
        if next.factor <= shown.abs() * multiple.factor {
            return format!(
                "{} {}",
                three_digits(shown * multiple.factor / next.factor),
                next.name
            );
        }
    }
    format!("{text} {}", multiple.name)
}

/// A number without the zeros at its end that say nothing.
fn without_zeros(text: &str) -> &str {
    match text.contains('.') && !text.contains('e') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

/// The name of a base unit.
fn base(unit: Unit) -> &'static str {
    multiples(unit).iter().find(|multiple| multiple.factor == 1.0).map_or("", |base| base.name)
}

/// What is shown for a value that is no number.
fn not_finite(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "∞",
        f64::NEG_INFINITY => "-∞",
        _ => "no number",
    }
}

const SECONDS: [Multiple; 4] = [
    Multiple { factor: 1e-9, name: "ns" },
    Multiple { factor: 1e-6, name: "µs" },
    Multiple { factor: 1e-3, name: "ms" },
    Multiple { factor: 1.0, name: "s" },
];

const BYTES: [Multiple; 5] = [
    Multiple { factor: 1.0, name: "B" },
    Multiple { factor: 1024.0, name: "KiB" },
    Multiple { factor: 1_048_576.0, name: "MiB" },
    Multiple { factor: 1_073_741_824.0, name: "GiB" },
    Multiple { factor: 1_099_511_627_776.0, name: "TiB" },
];

const COUNTS: [Multiple; 4] = [
    Multiple { factor: 1.0, name: "" },
    Multiple { factor: 1e3, name: "k" },
    Multiple { factor: 1e6, name: "M" },
    Multiple { factor: 1e9, name: "G" },
];

/// Numbers from here on have an exponent: an f64 does not hold all their digits.
const PLAIN_MAX: f64 = 1e15;

/// Numbers below ten to this power have an exponent: they are longer without.
const PLAIN_EXPONENT_MIN: i32 = -4;

/// A share of one in 10^10 events is the last that is told from none.
const MISSING_DECIMALS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_the_multiple_they_fill() {
        for (value, text) in [
            (0.0, "0 s"),
            (4.2e-10, "0.420 ns"),
            (83e-9, "83.0 ns"),
            (1.5e-6, "1.50 µs"),
            (999.4e-6, "999 µs"),
            (999.96e-6, "1.00 ms"),
            (0.001, "1.00 ms"),
            (0.0123, "12.3 ms"),
            (1.0, "1.00 s"),
            (-0.002, "-2.00 ms"),
            (86400.0, "86,400 s"),
        ] {
            assert_eq!(figure(value, Unit::Seconds), text);
        }
    }

    #[test]
    fn bytes_have_binary_multiples() {
        for (value, text) in [
            (0.0, "0 B"),
            (512.0, "512 B"),
            (0.5, "0.500 B"),
            (1023.0, "1,023 B"),
            (1024.0, "1.00 KiB"),
            (1023.7 * 1024.0, "1.00 MiB"),
            (1000.0 * 1024.0, "1,000 KiB"),
            (-1.5 * 1_048_576.0, "-1.50 MiB"),
            (3.0e15, "2,728 TiB"),
        ] {
            assert_eq!(figure(value, Unit::Bytes), text);
        }
    }

    #[test]
    fn counts_keep_their_digits() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (7.0, "7"),
            (1000.0, "1,000"),
            (-1234567.0, "-1,234,567"),
            (3.456, "3.46"),
            (1234.5, "1,234"),
            (1e15, "1.00e15"),
            (f64::MAX, "1.80e308"),
            (5e-324, "4.94e-324"),
        ] {
            assert_eq!(figure(value, Unit::Count), text);
        }
        assert_eq!(figure(48123.7, Unit::PerSecond), "48,124 /s");
    }

    #[test]
    fn ratios_and_shares_keep_what_matters() {
        assert_eq!(figure(1.0669, Unit::Ratio), "1.07 ×");
        assert_eq!(figure(0.0, Unit::Ratio), "0 ×");
        for (value, text) in [
            (0.0, "0 %"),
            (0.5, "50.0 %"),
            (0.0001, "0.0100 %"),
            (0.99, "99.0 %"),
            (0.999, "99.9 %"),
            (0.9995, "99.95 %"),
            (0.99999, "99.999 %"),
            (0.999_999_996, "99.9999996 %"),
            (1.0, "100 %"),
            (1.25, "125 %"),
        ] {
            assert_eq!(figure(value, Unit::Share), text);
        }
        assert!(figure(1.0 - 1e-14, Unit::Share).starts_with("100 - "));
    }

    #[test]
    fn what_is_no_number_is_said_so() {
        let units = [Unit::Seconds, Unit::Bytes, Unit::Count, Unit::PerSecond, Unit::Ratio];
        for unit in units.into_iter().chain([Unit::Share]) {
            assert_eq!(figure(f64::NAN, unit), "no number");
            assert_eq!(figure(f64::INFINITY, unit), "∞");
            assert_eq!(figure(f64::NEG_INFINITY, unit), "-∞");
            assert_eq!(tick(f64::NAN, unit), "no number");
        }
    }

    #[test]
    fn ticks_are_short() {
        for (value, unit, text) in [
            (1e-5, Unit::Seconds, "10 µs"),
            (10f64.powi(-3), Unit::Seconds, "1 ms"),
            (2.5e-3, Unit::Seconds, "2.5 ms"),
            (4096.0, Unit::Bytes, "4 KiB"),
            (100.0, Unit::Count, "100"),
            (1000.0, Unit::Count, "1k"),
            (20_000.0, Unit::PerSecond, "20k"),
            (1e6, Unit::Count, "1M"),
            (0.1, Unit::Ratio, "0.1"),
            (100.0, Unit::Ratio, "100"),
            (0.001, Unit::Share, "0.1 %"),
            (1e-6, Unit::Share, "0.0001 %"),
            (0.0, Unit::Seconds, "0"),
        ] {
            assert_eq!(tick(value, unit), text);
        }
    }

    #[test]
    fn thousands_are_grouped() {
        for (value, decimals, text) in [
            (999.0, 0, "999"),
            (1000.0, 0, "1,000"),
            (123456.789, 2, "123,456.79"),
            (-0.001, 2, "0.00"),
            (-0.01, 2, "-0.01"),
        ] {
            assert_eq!(grouped(value, decimals), text);
        }
    }
}
