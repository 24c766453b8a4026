//! Events as lines of JSON.
//!
//! Policy: a line is `{"data": …}` and perhaps `event`, `key` and, for `/events`, `channel`. A
//! member that is not known is refused, because a misspelt one would be lost in silence. Data that
//! is no string is passed on as it was written, numbers and order untouched, without the white
//! space between its tokens.

use std::borrow::Cow;

use bytes::Bytes;
use fanfare_core::{ChannelName, Draft, EventType, IdempotencyKey};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    limits::ndjson_line_bytes_max,
    lines::{LineEnd, LineTooLong, Lines},
    problem::{Kind, Problem},
    publish_many::Item,
};

/// Finds events in a body of NDJSON.
#[derive(Debug)]
pub(crate) struct Ndjson {
    lines: Lines,
    /// Whether the body ended as it should.
    ended: bool,
    /// The type of events that name none.
    event_type: Option<EventType>,
    /// Bytes of data that an event may have.
    data_bytes_max: usize,
    /// Whether lines name their channel.
    names_channel: bool,
}

impl Ndjson {
    pub(crate) fn new(
        event_type: Option<EventType>,
        data_bytes_max: usize,
        names_channel: bool,
    ) -> Self {
        let lines = Lines::new(LineEnd::Lf, ndjson_line_bytes_max(data_bytes_max));
        Self { lines, ended: false, event_type, data_bytes_max, names_channel }
    }

    /// Takes the next bytes; those before were looked at.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.lines.push(chunk);
    }

    /// Makes a line of what is left: the last one needs no line end if the body ended well.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    pub(crate) fn line(&self) -> u64 {
        self.lines.number()
    }

    /// Bytes that are held between chunks.
    pub(crate) fn held_bytes(&self) -> usize {
        self.lines.held_bytes()
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, Problem> {
        loop {
            let line = match self.lines.next() {
                Ok(None) if self.ended => self.lines.last(),
                Ok(line) => line,
                Err(too_long) => return Err(self.too_long(too_long)),
            };
            let Some(line) = line else { return Ok(None) };
            let line = line.trim_ascii();
            if !line.is_empty() {
                return self.item(line).map(Some);
            }
        }
    }

    fn too_long(&self, LineTooLong(max): LineTooLong) -> Problem {
        let line = self.line();
        let detail = format!("line {line} has more than {max} bytes, which is what is allowed");
        Problem::new(Kind::LineTooLong, detail).with_limit("ndjson_line_bytes_max", max)
    }

    fn item(&self, line: &[u8]) -> Result<Item, Problem> {
        let number = self.line();
        let wrong = |kind, detail: &str| Problem::new(kind, format!("line {number}: {detail}"));
        let line = std::str::from_utf8(line)
            .map_err(|_| Problem::new(Kind::NotUtf8, format!("line {number} is not UTF-8")))?;
        // Serde would take an array of the members' values, too.
        if !line.starts_with('{') {
            return Err(wrong(Kind::Line, "a line is a JSON object such as {\"data\": \"hello\"}"));
        }
        let members: Members<'_> =
            serde_json::from_str(line).map_err(|error| wrong(Kind::Line, &told(&error)))?;
        let data = text(members.data).map_err(|error| wrong(Kind::Line, &told(&error)))?;
        if data.len() > self.data_bytes_max {
            return Err(Problem::event_too_large(Some(data.len() as u64), self.data_bytes_max));
        }
        let channel = match members.channel {
            Some(_) if !self.names_channel => {
                let detail = "`channel` is for POST /events; the path names the channel here";
                return Err(wrong(Kind::Line, detail));
            }
            None if self.names_channel => {
                return Err(wrong(Kind::Line, "a line of POST /events names its `channel`"));
            }
            name => name.map(|name| ChannelName::parse(&name)).transpose(),
        };
        let channel = channel.map_err(|error| wrong(Kind::ChannelName, &error.to_string()))?;
        let event_type = EventType::parse(members.event.as_deref().unwrap_or_default())
            .map_err(|error| wrong(Kind::EventType, &error.to_string()))?;
        let key = members.key.map(|key| IdempotencyKey::parse(&key)).transpose();
        let key = key.map_err(|error| wrong(Kind::IdempotencyKey, &error.to_string()))?;
        let event_type = event_type.as_ref().or(self.event_type.as_ref());
        Ok(Item { channel, draft: Draft::new(event_type, &data), key })
    }
}

/// The members of a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    event: Option<String>,
    key: Option<String>,
    channel: Option<String>,
}

/// The data of a line: what a string says, or any other value as compact JSON.
fn text(data: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    let json = data.get();
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        Some(_) => serde_json::from_str(json).map(Cow::Owned),
        None => Ok(compact(json)),
    }
}

/// Valid JSON without the white space between its tokens.
fn compact(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut kept, mut in_string, mut escaped) = (0, false, false);
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b' ' | b'\t' | b'\n' | b'\r' if !in_string => {
                out.push_str(&json[kept..at]);
                kept = at + 1;
            }
            _ => {}
        }
    }
    if kept == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[kept..]);
    Cow::Owned(out)
}

/// What serde says, with a place in this line and not in a text of many.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let text = &text[..text.floor_char_boundary(TOLD_BYTES_MAX)];
    match error.column() {
        0 => text.to_owned(),
        column => format!("{text}, at byte {column}"),
    }
}

/// Bytes of a message that may quote the line.
const TOLD_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source() -> Ndjson {
        Ndjson::new(None, 1_000, false)
    }

    /// The wire bytes of each event, or the kind of the first problem.
    fn read(source: &mut Ndjson, chunks: &[&[u8]]) -> (Vec<String>, Option<Kind>) {
        let mut events = Vec::new();
        for chunk in chunks.iter().map(Some).chain([None]) {
            match chunk {
                Some(chunk) => source.push(Bytes::copy_from_slice(chunk)),
                None => source.end(),
            }
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

    fn one(line: &str) -> Result<String, Kind> {
        match read(&mut source(), &[line.as_bytes()]) {
            (_, Some(kind)) => Err(kind),
            (events, None) => Ok(events.concat()),
        }
    }

    #[test]
    fn strings_are_data_and_the_rest_is_compact_json() {
        for (json, data) in [
            ("\"plain\"", "plain"),
            ("\"a\\\"b\\u00df\\\\\"", "a\"bß\\"),
            ("\"\"", ""),
            ("\"\\ud83d\\ude00\"", "😀"),
            ("null", "null"),
            ("true", "true"),
            ("1.0", "1.0"),
            ("-0", "-0"),
            ("1e400", "1e400"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (
                "{ \"b\" : [ 1 , 2 ] ,\t\"a\": \"x  y \\\" z\" }",
                "{\"b\":[1,2],\"a\":\"x  y \\\" z\"}",
            ),
            ("{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"),
            ("[\"\\\\\" , \" \"]", "[\"\\\\\",\" \"]"),
            ("[ ]", "[]"),
        ] {
            let line = format!("{{\"data\": {json} }}");
            assert_eq!(one(&line), Ok(format!("data: {data}\n\n")), "{json}");
        }
        let lines = one("{\"data\":\"a\\r\\nb\\rc\\nd\",\"event\":\"t\"}");
        assert_eq!(lines.unwrap(), "event: t\ndata: a\ndata: b\ndata: c\ndata: d\n\n");
    }

    #[test]
    fn wrong_lines_are_named() {
        let deep = format!("{{\"data\":{}", "[".repeat(5_000));
        for (line, kind) in [
            ("hello", Kind::Line),
            ("[\"hello\"]", Kind::Line),
            ("{}", Kind::Line),
            ("{\"event\":\"x\"}", Kind::Line),
            ("{\"data\":1,}", Kind::Line),
            ("{\"data\":1} {\"data\":2}", Kind::Line),
            ("{\"data\":1,\"data\":2}", Kind::Line),
            ("{\"data\":\"\\ud800\"}", Kind::Line),
            ("{\"data\":\"a\u{1}\"}", Kind::Line),
            ("{\"data\":01}", Kind::Line),
            ("{\"data\":1,\"evnet\":\"x\"}", Kind::Line),
            ("{\"data\":1,\"event\":7}", Kind::Line),
            ("{\"data\":1,\"channel\":\"x\"}", Kind::Line),
            ("{\"data\":1,\"event\":\"fanfare.gap\"}", Kind::EventType),
            ("{\"data\":1,\"event\":\"a\\nid: 7\"}", Kind::EventType),
            ("{\"data\":1,\"key\":\"\"}", Kind::IdempotencyKey),
            (&deep, Kind::Line),
            (&format!("{{\"data\":\"{}\"}}", "x".repeat(1_001)), Kind::EventTooLarge),
            (&"x".repeat(15_000), Kind::LineTooLong),
        ] {
            assert_eq!(one(line), Err(kind), "{}", &line[..line.len().min(40)]);
        }
        let (_, kind) = read(&mut source(), &[b"{\"data\":\"\xff\"}\n"]);
        assert_eq!(kind, Some(Kind::NotUtf8));
    }

    #[test]
    fn the_longest_data_fits_however_it_is_escaped() {
        let line = format!("{{\"data\":\"{}\"}}", "\\u0001".repeat(1_000));
        assert_eq!(one(&line).unwrap().len(), "data: \n\n".len() + 1_000);
    }

    #[test]
    fn a_line_that_never_ends_is_given_up() {
        let mut source = source();
        for _ in 0..14 {
            source.push(Bytes::from_static(&[b'x'; 1_000]));
            assert!(source.next().unwrap().is_none());
        }
        source.push(Bytes::from_static(&[b'x'; 1_000]));
        let problem = source.next().unwrap_err();
        assert_eq!((problem.kind(), source.line()), (Kind::LineTooLong, 1));
        assert!(String::from_utf8(problem.json()).unwrap().contains("14192"));
    }

    #[test]
    fn channels_are_named_where_they_must_be() {
        let next = |line: &str| {
            let mut source = Ndjson::new(None, 1_000, true);
            source.push(Bytes::copy_from_slice(line.as_bytes()));
            source.next().map(|item| item.unwrap().channel.unwrap().to_string())
        };
        assert_eq!(next("{\"channel\":\"a/b\",\"data\":1}\n"), Ok("a/b".into()));
        let kind = |line| next(line).unwrap_err().kind();
        assert_eq!(kind("{\"data\":1}\n"), Kind::Line);
        assert_eq!(kind("{\"channel\":\"a/*\",\"data\":1}\n"), Kind::ChannelName);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            lines in prop::collection::vec("(\\{\"data\":\"[a-zß]{0,9}\"\\}|[ {}\"x]{0,5})", 0..6),
            end in "(\r?\n)?",
            cuts in prop::collection::vec(0..80_usize, 0..6),
        ) {
            let body = lines.join("\r\n") + &end;
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < body.len()).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let bytes = body.as_bytes();
            let chunks: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (mut whole, mut pieces) = (source(), source());
            prop_assert_eq!(read(&mut whole, &[bytes]), read(&mut pieces, &chunks));
            prop_assert_eq!(whole.line(), pieces.line());
        }

        #[test]
        fn compacting_changes_no_value(value in json(), pretty: bool) {
            let spell = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
            let text = spell(&value).unwrap();
            let compacted = compact(&text).into_owned();
            prop_assert_eq!(compacted, serde_json::to_string(&value).unwrap());
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(Into::into),
            ".{0,8}".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::btree_map("[ \"\\\\a]{0,3}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }
}
