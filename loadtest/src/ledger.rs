//! What has to be true of every subscriber: each event of its channel once, in order, under the
//! same id and with the same data that every other subscriber and the publisher were given.

/// The ids and data of a channel's events by their number, as 64-bit hashes of both; 0 where none
/// was seen yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    hashes: Vec<u64>,
}

impl Ids {
    /// Notes id and data of event `number` (from 1); whether they are those that were noted before.
    pub(crate) fn agree(&mut self, number: u64, id: &[u8], data: &[u8]) -> bool {
        self.agree_hash(number, hash(id, data))
    }

    fn agree_hash(&mut self, number: u64, hash: u64) -> bool {
        let index = number as usize;
        if index >= self.hashes.len() {
            self.hashes.resize(index + 1, 0);
        }
        let noted = &mut self.hashes[index];
        if *noted == 0 {
            *noted = hash;
        }
        *noted == hash
    }

    /// How many of `other`'s events differ from those noted here; it notes what was not.
    pub(crate) fn merge(&mut self, other: &Self) -> u64 {
        let differ =
            |(number, hash): (usize, &u64)| *hash != 0 && !self.agree_hash(number as u64, *hash);
        other.hashes.iter().enumerate().map(differ).filter(|differs| *differs).count() as u64
    }
}

/// A hash that is never 0. Each step can be undone, so whatever changes within eight bytes changes
/// it; nobody chooses what is hashed here, so it need not be safe against that.
fn hash(id: &[u8], data: &[u8]) -> u64 {
    let step =
        |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let mut hash = 0;
    for part in [id, data] {
        let (words, rest) = part.as_chunks::<8>();
        hash = words.iter().map(|word| u64::from_le_bytes(*word)).fold(hash, step);
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = step(step(hash, u64::from_le_bytes(last)), part.len() as u64);
    }
    hash.max(1)
}

/// Where one subscriber stands in its channel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Position {
    /// The number of the event that has to come next; none before the first and after a gap.
    next: Option<u64>,
    /// The number of the newest event that came.
    newest: u64,
}

/// How an event stands to what was to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// It is the next one.
    Next,
    /// It came before, or others that are newer did.
    Again,
    /// So many before it did not come.
    Lost(u64),
}

impl Position {
    /// Takes event `number`.
    pub(crate) fn advance(&mut self, number: u64) -> Step {
        let step = match self.next {
            Some(next) if number > next => Step::Lost(number - next),
            _ if number <= self.newest => return Step::Again,
            _ => Step::Next,
        };
        self.newest = number;
        self.next = Some(number + 1);
        step
    }

    /// Says that the hub told of a gap: events may be missing here.
    pub(crate) fn gap(&mut self) {
        self.next = None;
    }

    /// Says that the next event has to be `number`.
    pub(crate) fn expect(&mut self, number: u64) {
        self.next = Some(number);
        self.newest = number - 1;
    }

    /// The number of the event that has to come next, if that is known.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next
    }

    /// The number of the newest event that came; 0 if none did.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_tells_lost_and_doubled_events() {
        let mut position = Position::default();
        assert_eq!(position.advance(5), Step::Next);
        assert_eq!(position.advance(6), Step::Next);
        assert_eq!(position.advance(6), Step::Again);
        assert_eq!(position.advance(9), Step::Lost(2));
        position.gap();
        assert_eq!(position.advance(9), Step::Again);
        assert_eq!(position.advance(20), Step::Next);
        assert_eq!(position.newest(), 20);
        position.expect(1);
        assert_eq!(position.advance(2), Step::Lost(1));
    }

    #[test]
    fn ids_have_to_agree() {
        let (mut one, mut two) = (Ids::default(), Ids::default());
        let mut note = |number, id: &[u8]| one.agree(number, id, b"x");
        assert!(note(1, b"a-1") && note(2, b"a-2") && note(1, b"a-1"));
        assert!(!note(2, b"a-3"));
        assert!(two.agree(2, b"a-2", b"x") && two.agree(3, b"a-3", b"x"));
        assert_eq!(one.merge(&two), 0);
        assert!(one.agree(3, b"a-3", b"x"), "merging notes events");
        assert!(two.agree(4, b"x", b"x") && two.agree(5, b"y", b"x"));
        assert!(one.agree(4, b"a-4", b"x"));
        assert_eq!(one.merge(&two), 1);
    }

    #[test]
    fn data_has_to_agree() {
        let mut ids = Ids::default();
        let mut data: Vec<u8> = (0..100).collect();
        assert!(ids.agree(1, b"a-1", &data) && ids.agree(1, b"a-1", &data));
        for at in 0..data.len() {
            data[at] ^= 0x80;
            assert!(!ids.agree(1, b"a-1", &data), "at {at}");
            data[at] ^= 0x80;
        }
        assert!(!ids.agree(1, b"a-1", &data[..99]));
        assert!(!ids.agree(1, b"a-1\0", &data), "where the id ends counts too");
        assert!(!ids.agree(1, b"", &[b"a-1", &data[..]].concat()));
    }
}
