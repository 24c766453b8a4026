//! Event ids: `<epoch>-<seq>`, safe in `Last-Event-ID` without a preflight.

use std::{fmt, str::FromStr};

/// One life of the log: 8 characters of `[a-z0-9]`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Epoch([u8; EPOCH_BYTES]);

impl Epoch {
    /// Spells a random number as an epoch.
    pub fn from_random(mut random: u64) -> Self {
        let digits = [(); EPOCH_BYTES].map(|()| {
            let digit = DIGITS[(random % DIGITS.len() as u64) as usize];
            random /= DIGITS.len() as u64;
            digit
        });
        Self(digits)
    }

    /// The epoch as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an epoch is ASCII")
    }
}

/// The place of an event, or of a control event, in the hub's sequence.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EventId {
    /// The life of the log that counts.
    pub epoch: Epoch,
    /// The number in it; 0 stands before the first event.
    pub seq: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch.as_str(), self.seq)
    }
}

impl FromStr for EventId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let (epoch, seq) = text.split_once('-').ok_or(MalformedId)?;
        let epoch: [u8; EPOCH_BYTES] = epoch.as_bytes().try_into().map_err(|_| MalformedId)?;
        let digits = seq.bytes().all(|b| b.is_ascii_digit());
        let canonical = seq == "0" || !seq.starts_with('0');
        if !epoch.iter().all(|b| DIGITS.contains(b)) || !digits || !canonical {
            return Err(MalformedId);
        }
        Ok(Self { epoch: Epoch(epoch), seq: seq.parse().map_err(|_| MalformedId)? })
    }
}

/// The text is no id of any Fanfare hub; the client is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MalformedId;

impl fmt::Display for MalformedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event id is 8 characters of [a-z0-9], a hyphen and a decimal number")
    }
}

impl std::error::Error for MalformedId {}

/// Enough that two lives of a hub practically never share an epoch (36^8 of them).
const EPOCH_BYTES: usize = 8;
const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        for (random, seq) in [(0, 0), (u64::MAX, u64::MAX), (123_456_789, 1_042)] {
            let id = EventId { epoch: Epoch::from_random(random), seq };
            let text = id.to_string();
            assert!(text.len() <= 32);
            assert_eq!(text.parse(), Ok(id));
        }
    }

    #[test]
    fn other_texts_are_malformed() {
        for bad in [
            "",
            "-",
            "abcdefgh",
            "abcdefgh-",
            "abcdefgh-x",
            "abcdefgh-+1",
            "abcdefgh-01",
            "abcdefg-1",
            "ABCDEFGH-1",
            "abcdefgh-18446744073709551616",
        ] {
            assert_eq!(bad.parse::<EventId>(), Err(MalformedId), "{bad:?}");
        }
    }
}
