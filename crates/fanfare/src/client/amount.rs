//! Amounts as people read them, in few columns.

use unicode_width::UnicodeWidthChar;

/// All digits, in threes.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many subscribers.
pub(crate) fn subscribers(number: u64) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} subscriber{plural}", count(number))
}

/// Three digits and what they are multiplied with.
pub(crate) fn short(number: f64) -> String {
    scaled(number, 1_000.0, &["", "k", "M", "G", "T"])
}

/// A size in binary units.
pub(crate) fn bytes(number: f64) -> String {
    scaled(number, 1_024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// A rate: what is slow has a digit more, for it is not nothing.
pub(crate) fn rate(per_second: f64) -> String {
    if 0.0 < per_second && per_second < 0.095 { "<0.1".to_owned() } else { short(per_second) }
}

/// A time in its two largest units.
pub(crate) fn time(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// A latency.
pub(crate) fn latency(ms: f64) -> String {
    match ms {
        ..1.0 => format!("{ms:.2} ms"),
        ..10.0 => format!("{ms:.1} ms"),
        ..1_000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1_000.0),
    }
}

/// A part of a whole, in percent.
pub(crate) fn percent(used: u64, of: u64) -> u64 {
    if of == 0 { 0 } else { (used as f64 * 100.0 / of as f64).round() as u64 }
}

/// Text of others as part of a line of ours: nothing in it moves the cursor, hides, or turns the
/// direction of what follows.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let is_sign = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}');
        if character.is_control() || is_sign {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The columns that a text takes in a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|character| character.width().unwrap_or_default()).sum()
}

fn scaled(number: f64, step: f64, units: &[&str]) -> String {
    let (mut scaled, mut power) = (number.max(0.0), 0);
    // 999.5 would be rounded up to a digit more.
    while step - 0.5 <= scaled && power + 1 < units.len() {
        scaled /= step;
        power += 1;
    }
    let unit = units.get(power).copied().unwrap_or_default();
    let is_whole = scaled.fract() == 0.0 && power == 0;
    if 9.95 <= scaled || is_whole {
        format!("{scaled:.0}{unit}")
    } else {
        format!("{scaled:.1}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (0.0, "0"),
            (7.0, "7"),
            (7.26, "7.3"),
            (9.96, "10"),
            (999.0, "999"),
            (999.6, "1.0k"),
            (1_234.0, "1.2k"),
            (99_950.0, "100k"),
            (2_500_000.0, "2.5M"),
            (1e18, "1000000T"),
            (-1.0, "0"),
        ] {
            assert_eq!(short(number), expected);
        }
        assert_eq!([rate(0.0), rate(0.04), rate(0.3)], ["0", "<0.1", "0.3"]);
        assert_eq!([bytes(0.0), bytes(1_023.0), bytes(1_536.0)], ["0 B", "1023 B", "1.5 KiB"]);
        assert_eq!(bytes(268_435_456.0), "256 MiB");
        assert_eq!([count(0), count(1_234), count(1_234_567)], ["0", "1,234", "1,234,567"]);
    }

    #[test]
    fn a_part_of_nothing_is_nothing() {
        assert_eq!([percent(1, 3), percent(0, 0), percent(5, 4)], [33, 0, 125]);
    }

    #[test]
    fn times_have_two_units() {
        let of_ms = [0, 59_999, 61_000, 3_661_000, 90_061_000].map(time);
        assert_eq!(of_ms, ["0s", "59s", "1m 1s", "1h 1m", "1d 1h"]);
        let of_ms = [0.034, 3.26, 18.4, 2_530.0].map(latency);
        assert_eq!(of_ms, ["0.03 ms", "3.3 ms", "18 ms", "2.5 s"]);
    }

    #[test]
    fn text_of_others_cannot_play() {
        assert_eq!(visible("größe/'a'"), "größe/'a'");
        assert_eq!(visible("a\u{1b}[2J\u{202e}b"), "a\\u{1b}[2J\\u{202e}b");
        assert_eq!((width("größe"), width("新聞"), width("e\u{301}")), (5, 4, 1));
    }
}
