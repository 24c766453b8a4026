//! The event stream format (WHATWG HTML, section 9.2.6), read from pieces of any size.

use memchr::memchr2;

/// One event, as the stream has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Event<'a> {
    /// The type; empty for `message`.
    pub(crate) kind: &'a [u8],
    /// The id, empty if this event brought none.
    pub(crate) id: &'a [u8],
    /// The data, its lines joined by LF.
    pub(crate) data: &'a [u8],
    /// How long to wait before the next reconnect, in milliseconds, if it says so.
    pub(crate) retry_ms: Option<u64>,
}

/// What a reader keeps between two pieces: the beginning of an event that is not complete.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    begun: Vec<u8>,
}

/// An event that takes more is no event of a load test.
pub(crate) const EVENT_BYTES_MAX: usize = 32 << 20;

/// An event is longer than [`EVENT_BYTES_MAX`].
#[derive(Debug)]
pub(crate) struct TooLong;

impl Parser {
    /// Reads the next piece and hands over each event that it completes.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        mut on_event: impl FnMut(Event<'_>),
    ) -> Result<(), TooLong> {
        if self.begun.is_empty() {
            let read = blocks(piece, &mut on_event);
            self.begun.extend_from_slice(&piece[read..]);
        } else {
            self.begun.extend_from_slice(piece);
            let read = blocks(&self.begun, &mut on_event);
            self.begun.drain(..read);
        }
        if self.begun.is_empty() && self.begun.capacity() > 4096 {
            self.begun = Vec::new();
        }
        if self.begun.len() > EVENT_BYTES_MAX { Err(TooLong) } else { Ok(()) }
    }

    /// Whether no event is begun.
    pub(crate) fn is_between_events(&self) -> bool {
        self.begun.is_empty()
    }
}

/// Reads the complete blocks of `bytes`; returns how far they reach.
fn blocks(bytes: &[u8], on_event: &mut impl FnMut(Event<'_>)) -> usize {
    let mut block = Block::default();
    let (mut read, mut at) = (0, 0);
    while let Some((line, next)) = line_at(bytes, at) {
        at = next;
        if line.is_empty() {
            block.dispatch(on_event);
            block = Block::default();
            read = at;
        } else if block.is_empty() && line[0] == b':' {
            read = at;
        } else {
            block.line(line);
        }
    }
    read
}

/// The line that begins at `at` and where the next one begins; none if its end has not come. A CR
/// at the very end may be half of a CRLF, so it is none yet.
fn line_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = at + memchr2(b'\n', b'\r', bytes.get(at..)?)?;
    let next = match (bytes[end], bytes.get(end + 1)) {
        (b'\r', Some(b'\n')) => end + 2,
        (b'\r', None) => return None,
        _ => end + 1,
    };
    Some((&bytes[at..end], next))
}

/// The fields of a block so far.
#[derive(Default)]
struct Block<'a> {
    kind: &'a [u8],
    id: &'a [u8],
    data: Option<&'a [u8]>,
    /// Data of more than one line.
    joined: Option<Vec<u8>>,
    retry_ms: Option<u64>,
    begun: bool,
}

impl<'a> Block<'a> {
    fn is_empty(&self) -> bool {
        !self.begun
    }

    fn line(&mut self, line: &'a [u8]) {
        self.begun = true;
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => self.add_data(value),
            b"id" if !value.contains(&0) => self.id = value,
            b"event" => self.kind = value,
            // Only digits are a number here: no sign.
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                self.retry_ms = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            }
            _ => {}
        }
    }

    fn add_data(&mut self, value: &'a [u8]) {
        let Some(first) = self.data else {
            self.data = Some(value);
            return;
        };
        let joined = self.joined.get_or_insert_with(|| first.to_vec());
        joined.push(b'\n');
        joined.extend_from_slice(value);
    }

    /// Hands the event over, if the block has data.
    fn dispatch(&self, on_event: &mut impl FnMut(Event<'_>)) {
        let Some(first) = self.data else { return };
        on_event(Event {
            kind: self.kind,
            id: self.id,
            data: self.joined.as_deref().unwrap_or(first),
            retry_ms: self.retry_ms,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type, id and data of each event.
    fn events(pieces: &[&[u8]]) -> Vec<(String, String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut parser = Parser::default();
        let mut all = Vec::new();
        for piece in pieces {
            parser.feed(piece, |e| all.push((text(e.kind), text(e.id), text(e.data)))).unwrap();
        }
        assert!(parser.is_between_events());
        all
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let wire = b":\nid: e-1\ndata: one\n\nid:e-2\nevent: tick\ndata:a\ndata\ndata: b\n\n\
            : comment\r\nid: e-3\r\ndata: x\r\rid: e-4\n\ndata: \n\n";
        let whole = events(&[wire]);
        let expected =
            [("", "e-1", "one"), ("tick", "e-2", "a\n\nb"), ("", "e-3", "x"), ("", "", "")];
        let expected = expected.map(|(k, i, d)| (k.to_owned(), i.to_owned(), d.to_owned()));
        assert_eq!(whole, expected);
        for cut in 0..=wire.len() {
            assert_eq!(events(&[&wire[..cut], &wire[cut..]]), whole, "cut at {cut}");
        }
        assert_eq!(events(&wire.chunks(1).collect::<Vec<_>>()), whole);
    }
    #[test]
    fn a_retry_is_digits() {
        let mut all = Vec::new();
        let wire = b"retry: 1500\ndata: a\n\nretry: +5\ndata: b\n\nretry:\ndata: c\n\n";
        Parser::default().feed(wire, |event| all.push(event.retry_ms)).unwrap();
        assert_eq!(all, [Some(1_500), None, None]);
    }
}
