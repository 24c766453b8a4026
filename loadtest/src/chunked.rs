//! The chunked transfer coding of HTTP/1.1 (RFC 9112, section 7.1), read from pieces of any size.

/// Where a reader stands between two pieces.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Chunked {
    /// Before the first digit of a size.
    #[default]
    Start,
    /// In a size, with the value so far.
    Size(u64),
    /// After the size, up to the end of the line.
    Extension(u64),
    /// In the bytes of a chunk, so many are left.
    Bytes(u64),
    /// After the bytes of a chunk: CR and LF.
    Tail,
    /// The last chunk has come.
    Done,
}

/// The coding is broken.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Broken;

/// Sizes past this are no chunk that a hub would send.
const CHUNK_BYTES_MAX: u64 = 1 << 40;

impl Chunked {
    /// Takes the next run of bytes of the body off `input`; none if it has no more.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Broken> {
        loop {
            if let Self::Bytes(left) = *self {
                if input.is_empty() {
                    return Ok(None);
                }
                let taken = left.min(input.len() as u64);
                let (run, rest) = input.split_at(taken as usize);
                *input = rest;
                *self = if taken == left { Self::Tail } else { Self::Bytes(left - taken) };
                return Ok(Some(run));
            }
            if *self == Self::Tail && input.starts_with(b"\r\n") {
                (*self, *input) = (Self::Start, &input[2..]);
                continue;
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            *self = self.after(byte)?;
        }
    }

    /// The state after one byte that is not of a chunk's content.
    fn after(self, byte: u8) -> Result<Self, Broken> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        match (self, byte, digit) {
            (Self::Start, _, Some(digit)) => Ok(Self::Size(digit)),
            (Self::Size(size), _, Some(digit)) if size < CHUNK_BYTES_MAX => {
                Ok(Self::Size(size * 16 + digit))
            }
            (Self::Size(0) | Self::Extension(0), b'\n', _) => Ok(Self::Done),
            (Self::Size(size) | Self::Extension(size), b'\n', _) => Ok(Self::Bytes(size)),
            (Self::Size(size), b'\r' | b';' | b' ', _) => Ok(Self::Extension(size)),
            (Self::Extension(size), _, _) => Ok(Self::Extension(size)),
            (Self::Tail, b'\r', _) => Ok(Self::Tail),
            (Self::Tail, b'\n', _) => Ok(Self::Start),
            (Self::Done, _, _) => Ok(Self::Done),
            _ => Err(Broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pieces: &[&[u8]]) -> Result<(Vec<u8>, Chunked), Broken> {
        let mut state = Chunked::default();
        let mut all = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(run) = state.next(&mut input)? {
                all.extend_from_slice(run);
            }
        }
        Ok((all, state))
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let wire = b"5\r\nhello\r\n1A;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n";
        let whole = body(&[wire]).unwrap();
        assert_eq!(whole, (b"helloabcdefghijklmnopqrstuvwxyz".to_vec(), Chunked::Done));
        for cut in 0..=wire.len() {
            assert_eq!(body(&[&wire[..cut], &wire[cut..]]).unwrap(), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(body(&bytes).unwrap(), whole);
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        assert_eq!(body(&[b"x\r\n"]), Err(Broken));
        assert_eq!(body(&[b"2\r\nabc\r\n"]), Err(Broken));
        assert_eq!(body(&[b"fffffffffffffffff\r\n"]), Err(Broken));
    }
}
