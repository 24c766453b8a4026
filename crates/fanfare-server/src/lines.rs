//! The lines of a body that comes in chunks.
//!
//! Policy: a line that lies in one chunk is not copied. What is held between chunks is the
//! beginning of one line, never longer than a line may be, and nothing when there is none.

use std::mem;

use bytes::{Buf, Bytes};
use memchr::{memchr, memchr2};

/// What ends a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LineEnd {
    /// CRLF, CR or LF: an event stream (WHATWG HTML, section 9.2.6).
    Any,
    /// LF, perhaps with a CR before it: NDJSON.
    Lf,
}

/// Splits a body into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    line_end: LineEnd,
    /// Bytes that a line may have.
    bytes_max: usize,
    /// What was pushed and not looked at yet.
    chunk: Bytes,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
    /// Whether the last byte was a CR that ended a line: an LF after it ends no other.
    after_cr: bool,
    /// The number of the last line.
    number: u64,
}

/// A line is too long; holds how many bytes it may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LineTooLong(pub(crate) usize);

impl Lines {
    pub(crate) fn new(line_end: LineEnd, bytes_max: usize) -> Self {
        let (chunk, begun) = (Bytes::new(), Vec::new());
        Self { line_end, bytes_max, chunk, begun, after_cr: false, number: 0 }
    }

    /// Takes the next bytes; those before were looked at.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "lines are taken until there is none");
        self.chunk = chunk;
    }

    /// The number of the last line that was looked at, from 1 on.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes that are held between chunks.
    pub(crate) fn held_bytes(&self) -> usize {
        self.begun.capacity()
    }

    /// The next line that is whole, without its end.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        if !self.chunk.is_empty() && mem::take(&mut self.after_cr) && self.chunk[0] == b'\n' {
            self.chunk.advance(1);
        }
        if self.chunk.is_empty() {
            return Ok(None);
        }
        let end = match self.line_end {
            LineEnd::Any => memchr2(b'\r', b'\n', &self.chunk),
            LineEnd::Lf => memchr(b'\n', &self.chunk),
        };
        let bytes = self.begun.len() + end.unwrap_or(self.chunk.len());
        if bytes > self.bytes_max {
            self.number += 1;
            return Err(LineTooLong(self.bytes_max));
        }
        let Some(end) = end else {
            self.begun.extend_from_slice(&mem::take(&mut self.chunk));
            return Ok(None);
        };
        let rest = self.chunk.split_to(end);
        self.after_cr = self.chunk[0] == b'\r';
        self.chunk.advance(1);
        self.number += 1;
        Ok(Some(self.joined(rest)))
    }

    /// What is left when the body ended without a line end.
    pub(crate) fn last(&mut self) -> Option<Bytes> {
        debug_assert!(self.chunk.is_empty(), "lines are taken until there is none");
        self.number += u64::from(!self.begun.is_empty());
        (!self.begun.is_empty()).then(|| self.joined(Bytes::new()))
    }

    fn joined(&mut self, rest: Bytes) -> Bytes {
        let mut line = if self.begun.is_empty() {
            rest
        } else {
            let mut line = mem::take(&mut self.begun);
            line.extend_from_slice(&rest);
            line.into()
        };
        if self.line_end == LineEnd::Lf && line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &mut Lines, chunks: &[&[u8]]) -> Vec<Result<Bytes, LineTooLong>> {
        let mut found = Vec::new();
        for chunk in chunks {
            lines.push(Bytes::copy_from_slice(chunk));
            while let Some(line) = lines.next().transpose() {
                let failed = line.is_err();
                found.push(line);
                if failed {
                    return found;
                }
            }
        }
        found.extend(lines.last().map(Ok));
        found
    }

    #[test]
    fn a_line_has_an_end_of_its_kind() {
        let read = |line_end, text: &str| {
            let mut lines = Lines::new(line_end, 9);
            let found = read(&mut lines, &[text.as_bytes()]);
            assert_eq!(lines.number(), found.len() as u64);
            found.into_iter().map(|line| line.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(read(LineEnd::Lf, "a\r\n\n\rb\nc"), ["a", "", "\rb", "c"]);
        assert_eq!(read(LineEnd::Any, "a\r\n\n\rb\nc"), ["a", "", "", "b", "c"]);
        assert!(read(LineEnd::Lf, "").is_empty());
    }

    #[test]
    fn a_line_is_bounded_and_nothing_is_held_after_it() {
        let mut lines = Lines::new(LineEnd::Lf, 100);
        assert_eq!(read(&mut lines, &[&[b'x'; 100], b"\n"]).len(), 1);
        assert_eq!(lines.held_bytes(), 0);
        lines.push(Bytes::from_static(&[b'x'; 60]));
        assert_eq!(lines.next(), Ok(None));
        assert!(lines.held_bytes() >= 60);
        lines.push(Bytes::from_static(&[b'x'; 41]));
        assert_eq!((lines.next(), lines.number()), (Err(LineTooLong(100)), 2));
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            text in "([ab]{0,3}(\r\n|\n|\r)?){0,12}",
            cuts in prop::collection::vec(0..60_usize, 0..8),
            any: bool,
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < text.len()).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let bytes = text.as_bytes();
            let chunks: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let line_end = if any { LineEnd::Any } else { LineEnd::Lf };
            let (mut whole, mut pieces) = (Lines::new(line_end, 5), Lines::new(line_end, 5));
            prop_assert_eq!(read(&mut whole, &[bytes]), read(&mut pieces, &chunks));
            prop_assert_eq!(whole.number(), pieces.number());
        }
    }
}
