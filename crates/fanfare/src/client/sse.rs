//! The parser of event streams, as the WHATWG specifies it: a leading BOM, lines that end in LF,
//! CR or CRLF, ids with NUL ignored, `retry` of digits only, a last block that is not complete
//! discarded. It takes the bytes in any pieces.
//!
//! A subscriber gives each connection's parser the last id it has seen, so that a block without
//! an id does not make it forget: browsers do the same.

use std::{error::Error, fmt, mem};

use crate::limits::STREAM_EVENT_BYTES_MAX;

/// One event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Event {
    /// The last id of the stream when it was dispatched; empty if there was none.
    pub(crate) id: String,
    /// Its type; `message` if it has none.
    pub(crate) event: String,
    /// Its data, lines joined with LF.
    pub(crate) data: String,
}

/// The parser of one connection's stream.
#[derive(Debug)]
pub(crate) struct Parser {
    /// The line that is not complete, without its end.
    line: Vec<u8>,
    /// Whether the last byte was a CR: a LF right after it belongs to the same line end.
    after_cr: bool,
    /// Whether no line has been complete yet: only there a BOM is skipped.
    first_line: bool,
    /// The data lines of the block, a LF after each.
    data: String,
    /// The type that the block has named.
    event: String,
    /// The id that the next empty line commits.
    id: String,
    /// The committed id.
    last_event_id: String,
    /// Milliseconds of the last `retry` field.
    retry_ms: Option<u64>,
    /// [`STREAM_EVENT_BYTES_MAX`].
    event_bytes_max: usize,
}

impl Parser {
    /// A parser for a stream whose last id so far is this one, or empty.
    pub(crate) fn new(last_event_id: &str) -> Self {
        Self {
            line: Vec::new(),
            after_cr: false,
            first_line: true,
            data: String::new(),
            event: String::new(),
            id: last_event_id.to_owned(),
            last_event_id: last_event_id.to_owned(),
            retry_ms: None,
            event_bytes_max: STREAM_EVENT_BYTES_MAX,
        }
    }

    /// Takes the next bytes and answers the events that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (content, end) = match piece.split_last() {
                Some((end @ (b'\n' | b'\r'), content)) => (content, Some(*end)),
                _ => (piece, None),
            };
            let is_rest_of_crlf = self.after_cr && content.is_empty() && end == Some(b'\n');
            self.after_cr = end == Some(b'\r');
            if is_rest_of_crlf {
                continue;
            }
            if self.event_bytes_max < self.line.len() + self.data.len() + content.len() {
                return Err(TooLong);
            }
            self.line.extend_from_slice(content);
            if end.is_some() {
                events.extend(self.end_line());
            }
        }
        Ok(events)
    }

    /// The id from which the next connection resumes; empty if there is none.
    pub(crate) fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// What the stream last said about coming back.
    pub(crate) fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = mem::take(&mut self.line);
        let is_first = mem::take(&mut self.first_line);
        let line = match line.strip_prefix(BOM) {
            Some(rest) if is_first => rest,
            _ => &line,
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        self.field(field, value.strip_prefix(' ').unwrap_or(value));
        None
    }

    /// One field; a comment is a field without a name, which nobody knows.
    fn field(&mut self, name: &str, value: &str) {
        match name {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry_ms = Some(value.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }

    /// The end of a block: its id counts even if it has no data and so is no event.
    fn dispatch(&mut self) -> Option<Event> {
        self.last_event_id.clone_from(&self.id);
        let event = mem::take(&mut self.event);
        let mut data = mem::take(&mut self.data);
        data.pop()?;
        let event = if event.is_empty() { MESSAGE.to_owned() } else { event };
        Some(Event { id: self.last_event_id.clone(), event, data })
    }
}

/// An event was over [`STREAM_EVENT_BYTES_MAX`]; the server is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event of the stream has over {STREAM_EVENT_BYTES_MAX} bytes")
    }
}

impl Error for TooLong {}

/// The type of an event that names none.
const MESSAGE: &str = "message";
/// A byte order mark in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(stream: &[u8]) -> Vec<Event> {
        Parser::new("").push(stream).unwrap()
    }

    fn event(id: &str, event: &str, data: &str) -> Event {
        Event { id: id.into(), event: event.into(), data: data.into() }
    }

    #[test]
    fn the_examples_of_the_standard() {
        let stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n\
                       data:  third event\n";
        let expected = [event("1", "message", "first event"), event("", "message", "second event")];
        assert_eq!(parse(stream), expected);
        let stream = b"data\n\ndata\ndata\n\ndata:";
        assert_eq!(parse(stream), [event("", "message", ""), event("", "message", "\n")]);
        assert_eq!(parse(b"data:test\n\ndata: test\n\n"), vec![event("", "message", "test"); 2]);
        let stream = b"data: YHOO\ndata: +2\ndata: 10\n\n";
        assert_eq!(parse(stream), [event("", "message", "YHOO\n+2\n10")]);
    }

    #[test]
    fn all_line_ends_and_one_bom() {
        let expected = [event("7", "add", "a\nb")];
        let lf = "id: 7\nevent: add\ndata: a\ndata: b\n\n";
        for end in ["\n", "\r", "\r\n"] {
            let stream = lf.replace('\n', end);
            assert_eq!(parse(stream.as_bytes()), expected, "{end:?}");
            assert_eq!(parse(format!("\u{feff}{stream}").as_bytes()), expected, "{end:?}");
        }
        let twice = format!("\u{feff}\u{feff}{lf}");
        assert_eq!(parse(twice.as_bytes()), [event("", "add", "a\nb")]);
        assert_eq!(parse("data: a\n\n\u{feff}data: b\n\n".as_bytes()).len(), 1);
    }

    #[test]
    fn any_pieces_give_the_same_events() {
        let stream =
            "\u{feff}: hi\r\nid: 1\r\ndata: ä€😀\r\n\r\nretry: 5\r\rdata:x\n\n\rdata: y\r\n\n";
        let expected = parse(stream.as_bytes());
        assert_eq!(expected.len(), 3);
        for size in 1..stream.len() {
            let mut parser = Parser::new("");
            let pieces = stream.as_bytes().chunks(size);
            let events: Vec<_> = pieces.flat_map(|piece| parser.push(piece).unwrap()).collect();
            assert_eq!(events, expected, "pieces of {size}");
            assert_eq!(parser.retry_ms(), Some(5));
        }
    }

    #[test]
    fn ids_are_sticky_and_nul_is_ignored() {
        let mut parser = Parser::new("before");
        assert_eq!(parser.push(b"data: a\n\n").unwrap(), [event("before", "message", "a")]);
        parser.push(b"id: one\n\nid: t\0wo\ndata: b\n\n").unwrap();
        assert_eq!(parser.last_event_id(), "one");
        parser.push(b"id: not committed\ndata: c\n").unwrap();
        assert_eq!(parser.last_event_id(), "one");
        parser.push(b"\nid:\n\n").unwrap();
        assert_eq!(parser.last_event_id(), "");
    }

    #[test]
    fn retry_is_digits_only() {
        for (line, expected) in [
            ("retry: 1500", Some(1_500)),
            ("retry:0", Some(0)),
            ("retry: 99999999999999999999999", Some(u64::MAX)),
            ("retry: -1", None),
            ("retry: 1.5", None),
            ("retry: 1s", None),
            ("retry:  1", None),
            ("retry:", None),
            ("Retry: 1", None),
        ] {
            let mut parser = Parser::new("");
            parser.push(format!("{line}\n").as_bytes()).unwrap();
            assert_eq!(parser.retry_ms(), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_event_is_none() {
        for stream in [
            ":\n",
            ": ping\n\n",
            "id: 1\n\n",
            "event: x\n\n",
            "retry: 1\n\n",
            "\n\n\n",
            "foo: bar\n\n",
            " data: x\n\n",
            "data: no end",
            "data: no empty line\n",
        ] {
            assert_eq!(parse(stream.as_bytes()), [], "{stream:?}");
        }
        assert_eq!(parse(b"event: x\n\ndata: y\n\n"), [event("", "message", "y")]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(parse(b"data: a\xffb\n\n"), [event("", "message", "a\u{fffd}b")]);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::new("");
        parser.event_bytes_max = 20;
        let one_line = ["data: ", "12345", "12345", "12345"];
        let outcomes = one_line.map(|piece| parser.push(piece.as_bytes()).is_ok());
        assert_eq!(outcomes, [true, true, true, false]);
        let mut parser = Parser::new("");
        parser.event_bytes_max = 20;
        let outcomes = ["data: 12345\n"; 4].map(|piece| parser.push(piece.as_bytes()).is_ok());
        assert_eq!(outcomes, [true, true, false, false]);
    }
}
