//! An event as wire bytes, encoded once: `length CRLF | sse bytes | CRLF`.
//!
//! The HTTP/1.1 chunk framing (RFC 9112, section 7.1) is part of a frame, so that any subscriber
//! may start at any frame of a batch; other protocols use the inner slice. The sse bytes are, byte
//! for byte, `id: <id>\n`, `event: <type>\n` if it has one, one `data: ` line per line of data,
//! and an empty line (WHATWG HTML, section 9.2.5).

use std::{borrow::Cow, fmt};

use bytes::{Buf as _, Bytes};

use crate::{
    id::{Epoch, EventId},
    json,
    limits::EVENT_TYPE_BYTES_MAX,
};

/// How the bytes of a stream are framed on the wire.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Framing {
    /// The sse bytes alone: HTTP/1.0, and HTTP/2 whose own frames carry them.
    Bare,
    /// HTTP/1.1 chunks.
    Chunked,
}

impl Framing {
    /// Appends sse bytes in this framing.
    pub fn wrap(self, sse: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Bare => out.extend_from_slice(sse),
            Self::Chunked => {
                let mut digits = [0; LENGTH_DIGITS_MAX];
                let start = write_hex_before(&mut digits, LENGTH_DIGITS_MAX, sse.len());
                out.extend_from_slice(&digits[start..]);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(sse);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// What ends a finished stream cleanly.
    pub fn last(self) -> &'static [u8] {
        match self {
            Self::Bare => b"",
            Self::Chunked => b"0\r\n\r\n",
        }
    }
}

/// A valid type of an event: one line, not the hub's own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventType(Box<str>);

impl EventType {
    /// Parses a type; an empty one is no type at all.
    pub fn parse(text: &str) -> Result<Option<Self>, EventTypeError> {
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > EVENT_TYPE_BYTES_MAX {
            return Err(EventTypeError::TooLong(text.len()));
        }
        if text.contains(['\n', '\r', '\0']) {
            return Err(EventTypeError::LineBreak);
        }
        if text.starts_with("fanfare.") {
            return Err(EventTypeError::Reserved);
        }
        Ok(Some(Self(text.into())))
    }

    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no event type; the publisher is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EventTypeError {
    /// A line break, or a NUL.
    LineBreak,
    /// It begins with `fanfare.`.
    Reserved,
    /// Over [`EVENT_TYPE_BYTES_MAX`] bytes; holds how many.
    TooLong(usize),
}

impl fmt::Display for EventTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineBreak => f.write_str("an event type is one line, without CR, LF or NUL"),
            Self::Reserved => {
                f.write_str("event types that begin with `fanfare.` are the hub's own")
            }
            Self::TooLong(bytes) => write!(
                f,
                "the event type has {bytes} bytes, at most {EVENT_TYPE_BYTES_MAX} are allowed"
            ),
        }
    }
}

impl std::error::Error for EventTypeError {}

/// A frame that has everything but its place: the id and the length are filled in by
/// [`seal`](Self::seal) into room that is left for them.
#[derive(Debug)]
pub struct Draft {
    /// `HEAD_ROOM` bytes of room, then the rest of the frame.
    buffer: Vec<u8>,
}

impl Draft {
    /// Encodes an event. Line ends in `data` (CRLF, CR, LF) become separate `data` lines.
    pub fn new(event_type: Option<&EventType>, data: &str) -> Self {
        let lines = Lines::of(data);
        let type_bytes = event_type.map_or(0, |t| "event: \n".len() + t.as_str().len());
        let capacity =
            HEAD_ROOM + type_bytes + data.len() + lines.count_max() * "data: \n".len() + 3;
        let mut buffer = Vec::with_capacity(capacity);
        buffer.resize(HEAD_ROOM, 0);
        if let Some(event_type) = event_type {
            buffer.extend_from_slice(b"event: ");
            buffer.extend_from_slice(event_type.as_str().as_bytes());
            buffer.push(b'\n');
        }
        for line in lines {
            buffer.extend_from_slice(b"data: ");
            buffer.extend_from_slice(line.as_bytes());
            buffer.push(b'\n');
        }
        buffer.extend_from_slice(b"\n\r\n");
        Self { buffer }
    }

    /// Everything but the place.
    pub(crate) fn content(&self) -> &[u8] {
        &self.buffer[HEAD_ROOM..]
    }

    /// Writes the id and the length in front of the rest, in place.
    pub(crate) fn seal(mut self, epoch: &Epoch, seq: u64) -> Frame {
        let room = &mut self.buffer[..HEAD_ROOM];
        let mut at = HEAD_ROOM - 1;
        room[at] = b'\n';
        let mut rest = seq;
        loop {
            at -= 1;
            room[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        for part in [b"-".as_slice(), epoch.as_str().as_bytes(), b"id: "] {
            at -= part.len();
            room[at..at + part.len()].copy_from_slice(part);
        }
        let sse_start = at;
        at -= 2;
        room[at..sse_start].copy_from_slice(b"\r\n");
        let sse_len = self.buffer.len() - sse_start - 2;
        let start = write_hex_before(&mut self.buffer, at, sse_len);
        // Not a slice: that would allocate a count of its holders before there is a second one.
        let mut chunk = Bytes::from(self.buffer);
        chunk.advance(start);
        Frame { chunk, sse_start: (sse_start - start) as u32 }
    }
}

/// An event as wire bytes; a clone shares them.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The whole chunk.
    chunk: Bytes,
    /// Where the sse bytes start in it.
    sse_start: u32,
}

impl Frame {
    /// The bytes that a framing puts on the wire.
    pub fn bytes(&self, framing: Framing) -> &[u8] {
        match framing {
            Framing::Bare => &self.chunk[self.sse_start as usize..self.chunk.len() - 2],
            Framing::Chunked => &self.chunk,
        }
    }

    /// What is left of [`bytes`](Self::bytes) after the first `sent` of them, sharing the frame.
    pub fn rest(&self, framing: Framing, sent: usize) -> Bytes {
        match framing {
            Framing::Bare => self.chunk.slice(self.sse_start as usize + sent..self.chunk.len() - 2),
            Framing::Chunked => self.chunk.slice(sent..),
        }
    }

    /// Tells its memory from that of others, while it is held.
    pub(crate) fn address(&self) -> usize {
        self.chunk.as_ptr().addr()
    }

    /// Bytes of memory that it takes: allocators have four sizes between one power of two and the
    /// next, and the room for the id and the length is part of it.
    pub(crate) fn memory_bytes(&self) -> usize {
        let bytes = self.chunk.len() + HEAD_ROOM_UNUSED;
        let step = (bytes - 1).next_power_of_two() / 8;
        bytes.next_multiple_of(step)
    }

    /// Bytes of the whole chunk.
    pub(crate) fn len(&self) -> usize {
        self.chunk.len()
    }

    /// The event's type, if it has one.
    pub fn event_type(&self) -> Option<&str> {
        self.fields().find_map(|line| line.strip_prefix("event: "))
    }

    /// The event's data, its line ends LF.
    pub fn data(&self) -> String {
        let mut data = String::with_capacity(self.chunk.len());
        for (index, line) in self.fields().filter_map(|l| l.strip_prefix("data: ")).enumerate() {
            if index > 0 {
                data.push('\n');
            }
            data.push_str(line);
        }
        data
    }

    /// The event's data, borrowed if it is one line.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        let mut lines = self.fields().filter_map(|line| line.strip_prefix("data: "));
        match (lines.next(), lines.next()) {
            (Some(only), None) => Cow::Borrowed(only),
            _ => Cow::Owned(self.data()),
        }
    }

    /// An event of the same type with other data.
    pub(crate) fn with_data(&self, id: EventId, data: &str) -> Self {
        let event_type = self.event_type().map(|t| EventType(t.into()));
        Draft::new(event_type.as_ref(), data).seal(&id.epoch, id.seq)
    }

    /// The same event with its data inside `{"channel": …, "data": …}`.
    pub(crate) fn enveloped(&self, id: EventId, channel: &str) -> Self {
        let mut json = Vec::with_capacity(self.chunk.len() + channel.len() + 32);
        json.extend_from_slice(b"{\"channel\":");
        json::push_string(&mut json, channel);
        json.extend_from_slice(b",\"data\":");
        json::push_string(&mut json, &self.data());
        json.push(b'}');
        let json = String::from_utf8(json).expect("escaped UTF-8 stays UTF-8");
        self.with_data(id, &json)
    }

    /// The lines of the sse bytes.
    fn fields(&self) -> impl Iterator<Item = &str> {
        let sse = std::str::from_utf8(self.bytes(Framing::Bare));
        sse.expect("a frame is encoded from UTF-8").split_terminator('\n')
    }
}

/// The lines of data: split at CRLF, CR and LF and nowhere else, an empty text being one line.
struct Lines<'a> {
    /// What was not returned yet; none once all was.
    text: Option<&'a str>,
    /// CRs and LFs in it, counted at once, for that is faster than to look for each.
    ends: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        // In sums of one byte, which the compiler turns into vector code; 255 of them fit.
        let ends_of = |part: &[u8]| part.iter().map(|byte| u8::from(is_end(byte))).sum::<u8>();
        let ends = text.as_bytes().chunks(255).map(|part| usize::from(ends_of(part))).sum();
        Self { text: Some(text), ends }
    }

    /// An upper bound of how many there are, for one exact allocation in the usual case.
    fn count_max(&self) -> usize {
        1 + self.ends
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.text?;
        if self.ends == 0 {
            self.text = None;
            return Some(text);
        }
        let end = text.bytes().position(|byte| is_end(&byte))?;
        let bytes = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        self.text = Some(&text[end + bytes..]);
        self.ends -= bytes;
        Some(&text[..end])
    }
}

fn is_end(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Writes `value` in hexadecimal so that it ends before `end`; returns where it starts.
fn write_hex_before(buffer: &mut [u8], end: usize, mut value: usize) -> usize {
    let mut at = end;
    loop {
        at -= 1;
        buffer[at] = b"0123456789abcdef"[value & 15];
        value >>= 4;
        if value == 0 {
            return at;
        }
    }
}

const LENGTH_DIGITS_MAX: usize = 8;
/// Length, CRLF, `id: `, epoch, hyphen, the digits of a `u64`, LF.
const HEAD_ROOM: usize = LENGTH_DIGITS_MAX + 2 + 4 + 8 + 1 + 20 + 1;
/// Bytes of it that stay empty for a short place and length.
const HEAD_ROOM_UNUSED: usize = LENGTH_DIGITS_MAX - 2 + 20 - 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(event_type: Option<&str>, data: &str, seq: u64) -> Frame {
        let event_type = event_type.and_then(|t| EventType::parse(t).unwrap());
        Draft::new(event_type.as_ref(), data).seal(&Epoch::from_random(0), seq)
    }

    fn bare(frame: &Frame) -> &str {
        std::str::from_utf8(frame.bytes(Framing::Bare)).unwrap()
    }

    #[test]
    fn an_event_is_byte_for_byte_as_promised() {
        assert_eq!(bare(&seal(None, "hello", 7)), "id: aaaaaaaa-7\ndata: hello\n\n");
        let frame = seal(Some("tick"), "a\r\nb\rc\nd\n", 1042);
        let sse = "id: aaaaaaaa-1042\nevent: tick\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n";
        assert_eq!(bare(&frame), sse);
        let chunk = format!("{:x}\r\n{sse}\r\n", sse.len());
        assert_eq!(frame.bytes(Framing::Chunked), chunk.as_bytes());
        let mut wrapped = Vec::new();
        Framing::Chunked.wrap(sse.as_bytes(), &mut wrapped);
        assert_eq!(wrapped, chunk.as_bytes());
    }

    #[test]
    fn only_three_line_ends_split_data() {
        let data = "a\u{2028}b\u{85}c\u{b}d\u{c}e";
        assert_eq!(bare(&seal(None, data, 1)), format!("id: aaaaaaaa-1\ndata: {data}\n\n"));
        assert_eq!(bare(&seal(None, "", 1)), "id: aaaaaaaa-1\ndata: \n\n");
        assert_eq!(bare(&seal(None, "\u{feff}x", 1)), "id: aaaaaaaa-1\ndata: \u{feff}x\n\n");
    }

    #[test]
    fn type_and_data_read_back() {
        let frame = seal(Some("tick"), "event: x\r\n\r\ndata: y\n", u64::MAX);
        assert_eq!(frame.event_type(), Some("tick"));
        assert_eq!(frame.data(), "event: x\n\ndata: y\n");
        assert_eq!(seal(None, "event: x", 1).event_type(), None);
        assert_eq!(seal(None, "", 1).data(), "");
        let all = frame.bytes(Framing::Chunked);
        assert_eq!(frame.rest(Framing::Chunked, 5), all[5..]);
        assert_eq!(frame.rest(Framing::Bare, 3), frame.bytes(Framing::Bare)[3..]);
    }

    #[test]
    fn an_envelope_names_the_channel() {
        let id = EventId { epoch: Epoch::from_random(0), seq: 9 };
        let frame = seal(Some("t"), "a\n\"b\"", 9).enveloped(id, "x/ß");
        let sse =
            "id: aaaaaaaa-9\nevent: t\ndata: {\"channel\":\"x/ß\",\"data\":\"a\\n\\\"b\\\"\"}\n\n";
        assert_eq!(bare(&frame), sse);
    }

    #[test]
    fn types_keep_to_the_rules() {
        assert_eq!(EventType::parse(""), Ok(None));
        assert_eq!(EventType::parse("a\nb"), Err(EventTypeError::LineBreak));
        assert_eq!(EventType::parse("a\rb"), Err(EventTypeError::LineBreak));
        assert_eq!(EventType::parse("fanfare.end"), Err(EventTypeError::Reserved));
        assert_eq!(EventType::parse(&"x".repeat(256)), Err(EventTypeError::TooLong(256)));
        assert!(EventType::parse(&"x".repeat(255)).unwrap().is_some());
    }
}
