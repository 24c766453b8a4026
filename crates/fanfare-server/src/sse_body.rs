//! Events of a body that is itself an event stream (WHATWG HTML, section 9.2.6).
//!
//! Policy: each block is published anew with its type and data. Its `id` and `retry` are ignored,
//! for the hub gives its own; comments keep an idle publish open. Unlike a browser this refuses
//! what is not UTF-8 instead of replacing it.

use bytes::Bytes;
use fanfare_core::{Draft, EventType};

use crate::{
    limits::sse_line_bytes_max,
    lines::{LineEnd, LineTooLong, Lines},
    problem::{Kind, Problem},
    publish_many::Item,
    upstream::Masks,
};

/// Finds events in an SSE body.
#[derive(Debug)]
pub(crate) struct SseBody {
    lines: Lines,
    /// The block's data; none if it has no `data` line yet.
    data: Option<String>,
    /// The block's type.
    event_type: Option<EventType>,
    /// The type of blocks that name none.
    default_type: Option<EventType>,
    /// Bytes of data that an event may have.
    data_bytes_max: usize,
    /// What its lines must not say.
    masks: Option<Masks>,
}

impl SseBody {
    pub(crate) fn new(default_type: Option<EventType>, data_bytes_max: usize) -> Self {
        let lines = Lines::new(LineEnd::Any, sse_line_bytes_max(data_bytes_max));
        let (data, event_type, masks) = (None, None, None);
        Self { lines, data, event_type, default_type, data_bytes_max, masks }
    }

    /// The same where secrets are covered.
    pub(crate) fn covered(mut self, masks: Masks) -> Self {
        self.masks = Some(masks);
        self
    }

    /// Takes the next bytes; those before were looked at.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.lines.push(chunk);
    }

    pub(crate) fn line(&self) -> u64 {
        self.lines.number()
    }

    /// Bytes that are held between chunks.
    pub(crate) fn held_bytes(&self) -> usize {
        self.lines.held_bytes() + self.data.as_ref().map_or(0, String::capacity)
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, Problem> {
        loop {
            let Some(line) = self.lines.next().map_err(|too_long| self.too_long(too_long))? else {
                return Ok(None);
            };
            if let Some(item) = self.take(&line)? {
                return Ok(Some(item));
            }
        }
    }

    /// Takes one line; an empty one may complete an event.
    fn take(&mut self, line: &[u8]) -> Result<Option<Item>, Problem> {
        let number = self.line();
        let line = std::str::from_utf8(line)
            .map_err(|_| Problem::new(Kind::NotUtf8, format!("line {number} is not UTF-8")))?;
        let line = if number == 1 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let covered = self.masks.as_ref().map(|masks| masks.cover(line));
        let line = covered.as_deref().unwrap_or(line);
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => self.append(value)?,
            "event" => {
                self.event_type = EventType::parse(value).map_err(|error| {
                    Problem::new(Kind::EventType, format!("line {number}: {error}"))
                })?;
            }
            // A comment, `id`, `retry`, or nothing that is known.
            _ => {}
        }
        Ok(None)
    }

    fn append(&mut self, value: &str) -> Result<(), Problem> {
        let data = match &mut self.data {
            Some(data) => {
                data.push('\n');
                data
            }
            none => none.insert(String::new()),
        };
        if data.len() + value.len() > self.data_bytes_max {
            return Err(Problem::event_too_large(None, self.data_bytes_max));
        }
        data.push_str(value);
        Ok(())
    }

    fn dispatch(&mut self) -> Option<Item> {
        let event_type = self.event_type.take();
        let data = self.data.take()?;
        let event_type = event_type.as_ref().or(self.default_type.as_ref());
        Some(Item { channel: None, draft: Draft::new(event_type, &data), key: None })
    }

    fn too_long(&self, LineTooLong(max): LineTooLong) -> Problem {
        let line = self.line();
        let detail = format!("line {line} has more than {max} bytes, which is what is allowed");
        Problem::new(Kind::LineTooLong, detail).with_limit("sse_line_bytes_max", max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The wire bytes of each event, or the kind of the first problem.
    fn read(source: &mut SseBody, chunks: &[&[u8]]) -> (Vec<String>, Option<Kind>) {
        let mut events = Vec::new();
        for chunk in chunks {
            source.push(Bytes::copy_from_slice(chunk));
            loop {
                match source.next() {
                    Ok(Some(item)) => events.push(crate::testing::sse(item.draft)),
                    Ok(None) => break,
                    Err(problem) => return (events, Some(problem.kind())),
                }
            }
        }
        (events, None)
    }

    fn all(body: &str) -> String {
        let (events, problem) = read(&mut SseBody::new(None, 100), &[body.as_bytes()]);
        assert_eq!(problem, None, "{body:?}");
        events.concat()
    }

    #[test]
    fn blocks_are_read_as_a_browser_reads_them() {
        for (body, events) in [
            ("data: a\n\n", "data: a\n\n"),
            ("\u{feff}data: a\n\n", "data: a\n\n"),
            ("\u{feff}\u{feff}data: a\n\n", ""),
            ("data: a\r\n\r\ndata: b\r\rdata: c\n\n", "data: a\n\ndata: b\n\ndata: c\n\n"),
            ("data:a\ndata:  b\ndata\n\n", "data: a\ndata:  b\ndata: \n\n"),
            ("data\n\n", "data: \n\n"),
            ("data:\n\n", "data: \n\n"),
            ("event: x\n\ndata: a\n\n", "data: a\n\n"),
            ("event: x\nevent: y\ndata: a\n\n", "event: y\ndata: a\n\n"),
            ("event: x\nevent\ndata: a\n\n", "data: a\n\n"),
            ("id: 7\nretry: 1\n: comment\ndata: a\nother: x\nDATA: x\n\n", "data: a\n\n"),
            ("\n\n\n", ""),
            ("data: a", ""),
            ("data: a\n", ""),
            ("data: a\u{2028}b\u{85}c\n\n", "data: a\u{2028}b\u{85}c\n\n"),
            ("data: a:b: c\n\n", "data: a:b: c\n\n"),
        ] {
            assert_eq!(all(body), events, "{body:?}");
        }
    }

    #[test]
    fn a_cr_completes_an_event_without_waiting_for_an_lf() {
        let mut source = SseBody::new(None, 100);
        let chunks: [&[u8]; 5] = [b"data: a\r", b"\n\r", b"\ndata", b": b\r\r", b"\n"];
        let mut counts = Vec::new();
        for chunk in chunks {
            counts.push(read(&mut source, &[chunk]).0.len());
        }
        assert_eq!(counts, [0, 1, 0, 1, 0]);
    }

    #[test]
    fn forged_and_oversized_blocks_are_refused() {
        let kind = |body: &[u8]| read(&mut SseBody::new(None, 100), &[body]).1;
        assert_eq!(kind(b"event: fanfare.end\ndata: x\n\n"), Some(Kind::EventType));
        assert_eq!(kind(b"data: \xff\n\n"), Some(Kind::NotUtf8));
        let line = format!("data: {}\n", "x".repeat(50));
        assert_eq!(kind(line.as_bytes()), None);
        assert_eq!(kind(line.repeat(2).as_bytes()), Some(Kind::EventTooLarge));
        assert_eq!(kind("data\n".repeat(102).as_bytes()), Some(Kind::EventTooLarge));
        let long = format!(":{}", "x".repeat(1_124));
        assert_eq!(kind(long.as_bytes()), Some(Kind::LineTooLong));
        assert_eq!(kind(&long.as_bytes()[..1_124]), None);
    }

    #[test]
    fn a_type_is_given_to_those_without() {
        let event_type = EventType::parse("t").unwrap();
        let body = b"data: a\n\nevent: x\ndata: b\n\ndata: c\n\n";
        let (events, _) = read(&mut SseBody::new(event_type, 100), &[body]);
        assert_eq!(
            events,
            ["event: t\ndata: a\n\n", "event: x\ndata: b\n\n", "event: t\ndata: c\n\n"]
        );
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            body in "\u{feff}?((data|event|id|x)?:? ?[aß]{0,3}(\r\n|\n|\r)){0,12}",
            cuts in prop::collection::vec(0..120_usize, 0..8),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < body.len()).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let bytes = body.as_bytes();
            let chunks: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let mut whole = SseBody::new(None, 100);
            let mut pieces = SseBody::new(None, 100);
            prop_assert_eq!(read(&mut whole, &[bytes]), read(&mut pieces, &chunks));
            prop_assert_eq!(whole.line(), pieces.line());
        }
    }
}
