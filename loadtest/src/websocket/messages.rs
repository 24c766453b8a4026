//! The messages of a WebSocket (RFC 6455, section 5) as a server sends them, read from pieces of
//! any size. It is the generator's own reader, so that a library's mistake cannot hide in it.

/// What a reader keeps between two pieces: the beginning of a frame that is not complete.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    begun: Vec<u8>,
    is_closed: bool,
}

/// A frame that no server of a load test sends: masked, in parts, of an unknown kind, or too long.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Unexpected;

/// A frame that takes more is none of a load test.
const FRAME_BYTES_MAX: u64 = 32 << 20;
/// First bytes of frames that are the last of their message.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

impl Messages {
    /// Reads the next piece and hands over the data of each message that it completes.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        mut on_message: impl FnMut(&[u8]),
    ) -> Result<(), Unexpected> {
        let mut begun = std::mem::take(&mut self.begun);
        let mut rest = piece;
        if !begun.is_empty() {
            begun.extend_from_slice(piece);
            rest = &begun;
        }
        while let Some((first, data, next)) = frame(rest)? {
            match first {
                TEXT | BINARY if !self.is_closed => on_message(data),
                CLOSE => self.is_closed = true,
                PING | PONG => {}
                _ => return Err(Unexpected),
            }
            rest = next;
        }
        self.begun = rest.to_vec();
        Ok(())
    }

    /// Whether the server has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed && self.begun.is_empty()
    }
}

/// A frame: its first byte, its data, and what follows it.
type Frame<'a> = (u8, &'a [u8], &'a [u8]);

/// The frame at the front of the bytes; none until it is whole.
fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, Unexpected> {
    let [first, length, rest @ ..] = bytes else { return Ok(None) };
    let (length, rest) = match (length, rest) {
        (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
        (127, rest) => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        (126, _) => return Ok(None),
        // The highest bit says that it is masked, as those of clients are.
        (128.., _) => return Err(Unexpected),
        (length, rest) => (u64::from(*length), rest),
    };
    if length > FRAME_BYTES_MAX {
        return Err(Unexpected);
    }
    let whole = rest.split_at_checked(length as usize);
    Ok(whole.map(|(data, next)| (*first, data, next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(pieces: &[&[u8]]) -> Result<(Vec<usize>, bool), Unexpected> {
        let mut messages = Messages::default();
        let mut lengths = Vec::new();
        for piece in pieces {
            messages.feed(piece, |data| {
                assert!(data.iter().all(|byte| *byte == b'x'));
                lengths.push(data.len());
            })?;
        }
        Ok((lengths, messages.is_closed()))
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let mut wire = Vec::new();
        wire.extend_from_slice(b"\x81\x03xxx\x89\x01p\x82\x00\x81\x7e\x00\x80");
        wire.extend_from_slice(&[b'x'; 128]);
        wire.extend_from_slice(b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00");
        wire.extend_from_slice(&vec![b'x'; 65_536]);
        let open = Ok((vec![3, 0, 128, 65_536], false));
        assert_eq!(messages(&[&wire]), open);
        wire.extend_from_slice(b"\x88\x02\x03\xe8");
        let closed = Ok((vec![3, 0, 128, 65_536], true));
        for cut in (0..160).chain(wire.len() - 10..wire.len()) {
            assert_eq!(messages(&[&wire[..cut], &wire[cut..]]), closed, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = wire[..160].chunks(1).collect();
        assert_eq!(messages(&bytes), Ok((vec![3, 0, 128], false)));
    }

    #[test]
    fn what_is_not_sent_by_servers_is_refused() {
        for wire in [
            &b"\x81\x83abcdxxx"[..],
            b"\x01\x01x",
            b"\x83\x00",
            b"\x88\x00\x81\x01x",
            b"\x81\x7f\xff\x00\x00\x00\x00\x00\x00\x00",
        ] {
            assert_eq!(messages(&[wire]), Err(Unexpected), "{wire:?}");
        }
    }
}
