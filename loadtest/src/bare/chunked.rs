//! The framing of a chunked body, taken off piece by piece wherever a read may have cut it.

/// Where in a chunked body the next byte belongs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Chunked {
    /// Among the digits of a chunk's size.
    #[default]
    Start,
    /// Among them, after some.
    Size(usize),
    /// In what follows the size up to the end of its line.
    Extension(usize),
    /// In the data, of which so much is left.
    Data(usize),
    /// In the line end after the data.
    DataEnd,
    /// At the start of a line after the last chunk.
    Trailer,
    /// Inside such a line.
    TrailerLine,
    /// Behind the body.
    Done,
}

impl Chunked {
    /// Takes bytes off the front and returns the next piece of data; none at the end of the bytes
    /// or of the body.
    pub(super) fn next<'a>(
        &mut self,
        bytes: &mut &'a [u8],
    ) -> Result<Option<&'a [u8]>, &'static str> {
        while *self != Self::Done && !bytes.is_empty() {
            if let Self::Data(left) = *self {
                let (data, rest) = bytes.split_at(left.min(bytes.len()));
                *bytes = rest;
                let left = left - data.len();
                *self = if left == 0 { Self::DataEnd } else { Self::Data(left) };
                return Ok(Some(data));
            }
            *self = self.after(bytes[0])?;
            *bytes = &bytes[1..];
        }
        Ok(None)
    }

    /// The state after a byte of framing.
    fn after(self, byte: u8) -> Result<Self, &'static str> {
        let digit = (byte as char).to_digit(16).map(|digit| digit as usize);
        Ok(match (self, byte, digit) {
            (Self::Start, _, Some(digit)) => Self::Size(digit),
            (Self::Size(size), _, Some(digit)) if size <= CHUNK_BYTES_MAX => {
                Self::Size(size * 16 + digit)
            }
            (Self::Size(0) | Self::Extension(0), b'\n', _) => Self::Trailer,
            (Self::Size(size) | Self::Extension(size), b'\n', _) => Self::Data(size),
            (Self::Size(size), b'\r' | b';' | b' ', _) => Self::Extension(size),
            (Self::Extension(size), ..) => Self::Extension(size),
            (Self::DataEnd, b'\r', _) => Self::DataEnd,
            (Self::DataEnd, b'\n', _) => Self::Start,
            (Self::Trailer, b'\r', _) => Self::Trailer,
            (Self::Trailer, b'\n', _) => Self::Done,
            (Self::TrailerLine, b'\n', _) => Self::Trailer,
            (Self::Trailer | Self::TrailerLine, ..) => Self::TrailerLine,
            _ => return Err("the chunks of a body are broken"),
        })
    }
}

/// A chunk may be 16 times this: far from where a size would overflow.
const CHUNK_BYTES_MAX: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        b"3\r\nabc\r\n00A;x=\"1\"\r\n0123456789\r\n1\r\n\n\r\n0\r\nTrailer: x\r\n\r\nGET";

    /// Decodes pieces of at most so many bytes; returns the data and what is behind the body.
    fn decode(body: &[u8], piece_bytes: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut chunked, mut data, mut behind) = (Chunked::default(), Vec::new(), Vec::new());
        for mut piece in body.chunks(piece_bytes) {
            while let Some(found) = chunked.next(&mut piece).unwrap() {
                data.extend_from_slice(found);
            }
            behind.extend_from_slice(piece);
        }
        assert_eq!(chunked, Chunked::Done);
        (data, behind)
    }

    #[test]
    fn data_is_the_same_however_the_body_is_cut() {
        for piece_bytes in 1..=BODY.len() {
            let (data, behind) = decode(BODY, piece_bytes);
            assert_eq!(data, b"abc0123456789\n", "{piece_bytes}");
            assert_eq!(behind, b"GET", "{piece_bytes}");
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        for body in [&b"\r\n"[..], b"x\r\n", b"1\r\nab\r\n", b"ffffffffffffffffff\r\n", b"1-"] {
            let mut rest = body;
            let mut chunked = Chunked::default();
            let is_refused = loop {
                match chunked.next(&mut rest) {
                    Ok(Some(_)) => {}
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            assert!(is_refused, "{body:?}");
        }
    }
}
