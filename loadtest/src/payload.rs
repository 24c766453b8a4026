//! What a load test publishes: data that says when it was sent and which of its channel it is.
//!
//! `0000000123456789012 0000000042 xxxx…`: nanoseconds since the generator began, the number of the
//! event in its channel from 1, and padding.

use std::{io::Write as _, sync::OnceLock, time::Instant};

/// The shortest data that has room for stamp and number, in bytes.
pub(crate) const DATA_BYTES_MIN: usize = STAMP_DIGITS + 1 + NUMBER_DIGITS + 1;

const STAMP_DIGITS: usize = 19;
const NUMBER_DIGITS: usize = 10;

/// Nanoseconds since the generator began.
pub(crate) fn now_ns() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Appends data of `size` bytes, at least [`DATA_BYTES_MIN`], stamped with this moment.
pub(crate) fn write(out: &mut Vec<u8>, number: u64, size: usize) {
    let end = out.len() + size.max(DATA_BYTES_MIN);
    // Writing to memory does not fail.
    let _infallible = write!(out, "{:019} {number:010} ", now_ns());
    out.resize(end, b'x');
}

/// The stamp in nanoseconds and the number in data; none if it is not of a load test.
pub(crate) fn read(data: &[u8]) -> Option<(u64, u64)> {
    let stamp = digits(data.get(..STAMP_DIGITS)?)?;
    let number = digits(data.get(STAMP_DIGITS + 1..STAMP_DIGITS + 1 + NUMBER_DIGITS)?)?;
    (data[STAMP_DIGITS] == b' ' && data.get(DATA_BYTES_MIN - 1) == Some(&b' '))
        .then_some((stamp, number))
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
            let before = now_ns();
            write(&mut data, 42, size);
            assert_eq!(data.len(), size.max(DATA_BYTES_MIN));
            let (stamp, number) = read(&data).unwrap();
            assert_eq!(number, 42);
            assert!((before..=now_ns()).contains(&stamp));
        }
    }

    #[test]
    fn other_data_is_told_apart() {
        let mut data = Vec::new();
        write(&mut data, 7, 100);
        assert_eq!(read(&data[..20]), None);
        assert_eq!(read(b"hello"), None);
        data[3] = b'x';
        assert_eq!(read(&data), None);
    }
}
