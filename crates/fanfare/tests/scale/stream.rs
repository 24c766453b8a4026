//! What one subscriber keeps of its stream: ids and what it was told, never the bytes.

use std::time::Instant;

/// A subscriber's stream over any number of connections, taken apart as it comes.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The `seq` of every event, in the order in which they came.
    pub(crate) seqs: Vec<u32>,
    /// The last id of all, control events included: where it would go on.
    pub(crate) last_id: Option<String>,
    /// Gaps: how many events it had before, and the `seq` after which it goes on.
    pub(crate) gaps: Vec<Gap>,
    /// When it was sent away, and at which position.
    pub(crate) away: Option<(Instant, u64)>,
    /// Whether the head of this connection has come.
    pub(crate) has_head: bool,
    /// What is not a whole chunk yet.
    carry: Vec<u8>,
}

/// A gap that a subscriber was told of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Gap {
    pub(crate) after_events: usize,
    pub(crate) resumed_after: u64,
    pub(crate) reason: String,
}

impl Stream {
    /// Forgets the connection; what came whole stays.
    pub(crate) fn cut(&mut self) {
        self.has_head = false;
        self.carry = Vec::new();
    }

    /// Takes the next bytes of the connection.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.carry.is_empty() {
            let taken = self.take(bytes);
            self.carry = bytes[taken..].to_vec();
            return;
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(bytes);
        let taken = self.take(&carry);
        // An idle subscriber keeps nothing.
        self.carry = carry[taken..].to_vec();
    }

    /// Whether the connection is between two chunks.
    pub(crate) fn is_whole(&self) -> bool {
        self.carry.is_empty()
    }

    /// Takes all whole chunks; returns how many bytes they have.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        if !self.has_head {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return 0 };
            assert!(bytes.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(bytes));
            self.has_head = true;
            at = end + 4;
        }
        while let Some((sse, len)) = chunk(&bytes[at..]) {
            self.piece(sse);
            at += len;
        }
        at
    }

    fn piece(&mut self, sse: &[u8]) {
        if sse == b":\n" {
            return;
        }
        let line_end = sse.iter().position(|byte| *byte == b'\n').unwrap();
        let id = sse[..line_end].strip_prefix(b"id: ").unwrap();
        let id = std::str::from_utf8(id).unwrap();
        let seq = seq_of(id);
        let rest = &sse[line_end + 1..];
        assert!(rest.ends_with(b"\n\n"), "a whole event");
        if rest.starts_with(b"event: fanfare.") {
            self.control(seq, std::str::from_utf8(rest).unwrap());
        } else {
            assert!(rest.starts_with(b"data: "), "{}", String::from_utf8_lossy(rest));
            self.seqs.push(u32::try_from(seq).unwrap());
        }
        match &mut self.last_id {
            Some(last) => {
                assert!(seq_of(last) <= seq, "{id} after {last}");
                last.clear();
                last.push_str(id);
            }
            none => *none = Some(id.to_owned()),
        }
    }

    fn control(&mut self, seq: u64, text: &str) {
        let (kind, rest) = text["event: fanfare.".len()..].split_once('\n').unwrap();
        let data = rest.rsplit_once("data: ").unwrap().1;
        match kind {
            "gap" => {
                let data: serde_json::Value = serde_json::from_str(data.trim_end()).unwrap();
                let reason = data["reason"].as_str().unwrap().to_owned();
                let after_events = self.seqs.len();
                self.gaps.push(Gap { after_events, resumed_after: seq, reason });
            }
            "reconnect" => {
                assert!(self.away.is_none(), "sent away once");
                self.away = Some((Instant::now(), seq));
            }
            "open" => {}
            _ => panic!("{text}"),
        }
    }
}

/// The first chunk if it is there whole, and its length with its framing.
fn chunk(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let line_end = bytes.iter().take(12).position(|byte| *byte == b'\n')?;
    let digits = std::str::from_utf8(bytes[..line_end].strip_suffix(b"\r").unwrap()).unwrap();
    let len = usize::from_str_radix(digits, 16).unwrap();
    let end = line_end + 1 + len;
    assert_eq!(bytes.get(end..end + 2)?, b"\r\n", "a chunk has its length");
    Some((&bytes[line_end + 1..end], end + 2))
}

/// The place in an event id.
pub(crate) fn seq_of(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}
