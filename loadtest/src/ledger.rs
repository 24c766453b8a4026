//! What has to be true of every subscriber: each event of its channel once, in order, under the
//! same id that every other subscriber and the publisher were given.

use std::hash::{BuildHasher, Hasher};

/// The ids of a channel's events by their number, as 64-bit hashes; 0 where none was seen yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    hashes: Vec<u64>,
}

impl Ids {
    /// Notes the id of event `number` (from 1); whether it is the one that was noted before.
    pub(crate) fn agree(&mut self, number: u64, id: &[u8]) -> bool {
        self.agree_hash(number, hash(id))
    }

    fn agree_hash(&mut self, number: u64, id: u64) -> bool {
        let index = number as usize;
        if index >= self.hashes.len() {
            self.hashes.resize(index + 1, 0);
        }
        let noted = &mut self.hashes[index];
        if *noted == 0 {
            *noted = id;
        }
        *noted == id
    }

    /// How many of `other`'s ids differ from those noted here; it notes what was not.
    pub(crate) fn merge(&mut self, other: &Self) -> u64 {
        let differ = |(number, id): (usize, &u64)| *id != 0 && !self.agree_hash(number as u64, *id);
        other.hashes.iter().enumerate().map(differ).filter(|differs| *differs).count() as u64
    }
}

/// A hash that is the same in all threads of this process, and never 0.
fn hash(id: &[u8]) -> u64 {
    use std::{collections::hash_map::RandomState, sync::OnceLock};
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    let mut hasher = KEYS.get_or_init(RandomState::new).build_hasher();
    hasher.write(id);
    hasher.finish().max(1)
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
        assert!(one.agree(1, b"a-1") && one.agree(2, b"a-2") && one.agree(1, b"a-1"));
        assert!(!one.agree(2, b"a-3"));
        assert!(two.agree(2, b"a-2") && two.agree(3, b"a-3"));
        assert_eq!(one.merge(&two), 0);
        assert!(one.agree(3, b"a-3"), "merging notes ids");
        assert!(two.agree(4, b"x") && two.agree(5, b"y"));
        assert!(one.agree(4, b"a-4"));
        assert_eq!(one.merge(&two), 1);
    }
}
