//! What a load test publishes: data that says when it was sent and which of its channel it is.
//!
//! `0000000123456789012 0000000042 tuvw…`: nanoseconds since the generator began, the number of the
//! event in its channel from 1, and padding that depends on the number and on the place in it.

mod chunk;

use std::{io::Write as _, sync::OnceLock, time::Instant};

pub(crate) use self::chunk::{take, write_chunk};

/// The shortest data that has room for stamp and number, in bytes.
pub(crate) const DATA_BYTES_MIN: usize = STAMP_DIGITS + 1 + NUMBER_DIGITS + 1;

const STAMP_DIGITS: usize = 19;
const NUMBER_DIGITS: usize = 10;

/// Letters of the padding; a prime number of them.
const LETTERS: usize = 23;
/// After so many bytes the padding repeats.
const PERIOD: usize = LETTERS * LETTERS;
/// The padding twice over, so that every run of [`PERIOD`] bytes is a slice of it. Each row of
/// letters begins one later than the row before. None of them means anything to JSON or a form.
static PADDING: [u8; 2 * PERIOD] = {
    let mut padding = [0; 2 * PERIOD];
    let mut at = 0;
    while at < padding.len() {
        padding[at] = b'a' + ((at + at / LETTERS) % LETTERS) as u8;
        at += 1;
    }
    padding
};

/// When the generator began.
fn began() -> Instant {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    *BEGAN.get_or_init(Instant::now)
}

/// Nanoseconds since the generator began.
pub(crate) fn now_ns() -> u64 {
    began().elapsed().as_nanos() as u64
}

/// A moment on the clock of [`now_ns`].
pub(crate) fn ns_at(moment: Instant) -> u64 {
    moment.saturating_duration_since(began()).as_nanos() as u64
}

/// Appends data of `size` bytes, at least [`DATA_BYTES_MIN`].
pub(crate) fn write(out: &mut Vec<u8>, stamp_ns: u64, number: u64, size: usize) {
    // Writing to memory does not fail.
    let _infallible = write!(out, "{stamp_ns:019} {number:010} ");
    let period = padding(number);
    let mut left = size.saturating_sub(DATA_BYTES_MIN);
    while left > 0 {
        let run = left.min(PERIOD);
        out.extend_from_slice(&period[..run]);
        left -= run;
    }
}

/// The stamp in nanoseconds and the number in data; none if it is not of a load test, or if its
/// padding was changed.
pub(crate) fn read(data: &[u8]) -> Option<(u64, u64)> {
    let stamp = digits(data.get(..STAMP_DIGITS)?)?;
    let number = digits(data.get(STAMP_DIGITS + 1..STAMP_DIGITS + 1 + NUMBER_DIGITS)?)?;
    let spaces = data[STAMP_DIGITS] == b' ' && data.get(DATA_BYTES_MIN - 1) == Some(&b' ');
    let period = padding(number);
    let good = |run: &[u8]| *run == period[..run.len()];
    (spaces && data[DATA_BYTES_MIN..].chunks(PERIOD).all(good)).then_some((stamp, number))
}

/// The first [`PERIOD`] bytes of the padding of event `number`.
fn padding(number: u64) -> &'static [u8] {
    let begin = (number % PERIOD as u64) as usize;
    &PADDING[begin..begin + PERIOD]
}

fn digits(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0u64, |sum, &byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_its_size_and_is_read_back() {
        for size in [0, DATA_BYTES_MIN, 100, 4096] {
            let mut data = Vec::new();
            write(&mut data, 1_234_567, 42, size);
            assert_eq!(data.len(), size.max(DATA_BYTES_MIN));
            assert_eq!(read(&data), Some((1_234_567, 42)));
            assert!(data.iter().all(|byte| matches!(byte, b'0'..=b'9' | b' ' | b'a'..=b'w')));
        }
    }

    #[test]
    fn other_data_is_told_apart() {
        let mut data = Vec::new();
        write(&mut data, 1, 7, 100);
        assert_eq!(read(&data[..20]), None);
        assert_eq!(read(b"hello"), None);
        data[3] = b'x';
        assert_eq!(read(&data), None);
    }

    #[test]
    fn padding_that_was_changed_or_moved_is_told_apart() {
        let mut data = Vec::new();
        write(&mut data, 1, 7, 2_000);
        for at in DATA_BYTES_MIN..data.len() {
            let right = data[at];
            data[at] ^= 1;
            assert_eq!(read(&data), None, "at {at}");
            data[at] = right;
        }
        for missing in [1, LETTERS, 64, 512, 1_024] {
            let mut short = data.clone();
            short.drain(100..100 + missing);
            assert_eq!(read(&short), None, "without {missing} bytes");
        }
        let mut next = Vec::new();
        write(&mut next, 1, 8, 2_000);
        next[..DATA_BYTES_MIN].copy_from_slice(&data[..DATA_BYTES_MIN]);
        assert_eq!(read(&next), None, "the padding of the next event");
    }

    #[test]
    fn moments_are_on_the_clock_of_now() {
        let before_ns = now_ns();
        let moment_ns = ns_at(Instant::now());
        assert!((before_ns..=now_ns()).contains(&moment_ns));
    }
}
