//! A streaming publish: a chunked body of lines, each of them an event. To `/events` they are
//! `{"channel":"narrow/17","data":"..."}`, exactly like this and without escapes, for
//! `/channels/narrow/17`, and the same with `streams` and with an object as data. To any other path
//! they are `data: ...` for that path, with empty lines between them.

use std::mem;

use memchr::memchr;

use crate::bare::{chunked::Chunked, request::REQUEST_BYTES_MAX, server::Server};

/// How far a streaming publish has come.
#[derive(Default)]
pub(super) struct Lines {
    /// Where in its framing.
    body: Chunked,
    /// The channel of all lines, if they do not name it.
    channel: Option<usize>,
    /// A line whose end has not come yet.
    begun: Vec<u8>,
    /// The number of its first event.
    first: u64,
    /// The number of its last event so far.
    last: u64,
    /// How many there were.
    accepted: u64,
}

impl Lines {
    /// Lines for a channel, or for those that they name.
    pub(super) fn to(channel: Option<usize>) -> Self {
        Self { channel, ..Self::default() }
    }

    /// Whether the body has ended.
    pub(super) fn is_done(&self) -> bool {
        self.body == Chunked::Done
    }

    /// What the publisher is told at the end.
    pub(super) fn answer(&self) -> String {
        let Self { first, last, accepted, .. } = self;
        match accepted {
            0 => r#"{"first_id":null,"last_id":null,"accepted":0}"#.to_owned(),
            _ => format!(
                r#"{{"first_id":"bare-{first}","last_id":"bare-{last}","accepted":{accepted}}}"#
            ),
        }
    }
}

impl Server {
    /// Takes a streaming publish off the front of the bytes and sends on each of its lines.
    pub(super) fn relay(
        &mut self,
        lines: &mut Lines,
        bytes: &mut &[u8],
    ) -> Result<(), &'static str> {
        while let Some(mut data) = lines.body.next(bytes)? {
            while let Some(end) = memchr(b'\n', data) {
                if lines.begun.is_empty() {
                    self.line(lines, &data[..end])?;
                } else {
                    lines.begun.extend_from_slice(&data[..end]);
                    self.begun_line(lines)?;
                }
                data = &data[end + 1..];
            }
            lines.begun.extend_from_slice(data);
            if REQUEST_BYTES_MAX < lines.begun.len() {
                return Err("a line is too long");
            }
        }
        match lines.is_done() && !lines.begun.is_empty() {
            true => self.begun_line(lines),
            false => Ok(()),
        }
    }

    /// The line that came in pieces.
    fn begun_line(&mut self, lines: &mut Lines) -> Result<(), &'static str> {
        let mut line = mem::take(&mut lines.begun);
        self.line(lines, &line)?;
        line.clear();
        lines.begun = line;
        Ok(())
    }

    fn line(&mut self, lines: &mut Lines, line: &[u8]) -> Result<(), &'static str> {
        let (channel, data) = match lines.channel {
            Some(_) if line.is_empty() => return Ok(()),
            Some(channel) => {
                (channel, line.strip_prefix(b"data: ").ok_or("a line of a stream is no data")?)
            }
            None => {
                let (kind, number, data) = parse(line).ok_or("a line names no NAME/NUMBER")?;
                (self.numbered_channel(kind, number), data)
            }
        };
        lines.last = self.publish(channel, data);
        if lines.accepted == 0 {
            lines.first = lines.last;
        }
        lines.accepted += 1;
        Ok(())
    }
}

/// What a line's channel begins with, its number, and the data.
fn parse(line: &[u8]) -> Option<(&'static str, usize, &[u8])> {
    let name = line.strip_prefix(br#"{"channel":""#)?;
    let (digits, kind) = match name.strip_prefix(b"narrow/") {
        Some(digits) => (digits, "narrow"),
        None => (name.strip_prefix(b"streams/")?, "streams"),
    };
    let (digits, rest) = digits.split_at(memchr(b'"', digits)?);
    let data = rest.strip_prefix(br#"","data":"#)?.strip_suffix(b"}")?;
    let data = match data.strip_prefix(b"\"") {
        Some(data) => data.strip_suffix(b"\"")?,
        None if data.starts_with(b"{") && data.ends_with(b"}") => data,
        None => return None,
    };
    let number = str::from_utf8(digits).ok()?.parse().ok()?;
    (number < NUMBERS_MAX).then_some((kind, number, data))
}

/// Channels that lines can name.
const NUMBERS_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_exactly_alike() {
        let line = br#"{"channel":"narrow/17","data":"a, "b"}"#;
        assert_eq!(parse(line), Some(("narrow", 17, &br#"a, "b"#[..])));
        let line = br#"{"channel":"streams/17","data":{"a":[]}}"#;
        assert_eq!(parse(line), Some(("streams", 17, &br#"{"a":[]}"#[..])));
        for line in [
            "",
            r#"{"channel":"wide/17","data":"a"}"#,
            r#"{"channel":"narrow/x","data":"a"}"#,
            r#"{"channel":"narrow/1048576","data":"a"}"#,
            r#"{"channel":"narrow/17", "data":"a"}"#,
            r#"{"channel":"narrow/17","data":"a"}x"#,
            r#"{"channel":"streams/17","data":{}"#,
            r#"{"channel":"streams/17","data":7}"#,
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
