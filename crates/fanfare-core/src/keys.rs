//! Idempotency keys: the same key on the same channel publishes once.
//!
//! Policy: a key is remembered for its whole age. When as many are remembered as may be, a new
//! one is refused; none is forgotten early.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::{BuildHasher, RandomState},
};

use crate::{
    limits::{IDEMPOTENCY_KEY_AGE_MS, IDEMPOTENCY_KEY_BYTES_MAX},
    name::ChannelName,
};

/// A valid key: 1 to [`IDEMPOTENCY_KEY_BYTES_MAX`] bytes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// Parses a key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() || text.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Err(KeyError(text.len()));
        }
        Ok(Self(text.into()))
    }
}

/// The text is no key; holds its length in bytes. The publisher is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyError(pub usize);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the idempotency key has {} bytes, 1 to {IDEMPOTENCY_KEY_BYTES_MAX} are allowed",
            self.0
        )
    }
}

impl std::error::Error for KeyError {}

/// What a key turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Known {
    /// It was used with other data.
    Different,
    /// No room to remember it.
    Full,
    /// Never seen, or too long ago.
    New,
    /// Its publish was accepted already, at this `seq`.
    Same(u64),
}

/// The keys; the hub's order lock guards them.
#[derive(Debug)]
pub(crate) struct Keys {
    /// What each key stands for.
    used: HashMap<Scoped, Used>,
    /// The keys by age, oldest first.
    ages: VecDeque<(u64, Scoped)>,
    /// At most so many.
    keys_max: usize,
    /// Seeds the digests.
    hasher: RandomState,
}

/// A key, on its channel.
pub(crate) type Scoped = (ChannelName, IdempotencyKey);

#[derive(Debug)]
struct Used {
    /// The first event that was published with it.
    seq: u64,
    /// Of the event's wire bytes without its place.
    digest: u64,
}

impl Keys {
    pub(crate) fn new(keys_max: usize) -> Self {
        let (used, ages) = (HashMap::new(), VecDeque::new());
        Self { used, ages, keys_max, hasher: RandomState::new() }
    }

    /// What is known of a key whose publish has this content.
    pub(crate) fn look(&mut self, scoped: &Scoped, content: &[u8], now_ms: u64) -> Known {
        self.expire(now_ms);
        match self.used.get(scoped) {
            Some(used) if used.digest == self.hasher.hash_one(content) => Known::Same(used.seq),
            Some(_) => Known::Different,
            None if self.used.len() >= self.keys_max => Known::Full,
            None => Known::New,
        }
    }

    /// The digest that [`remember`](Self::remember) wants.
    pub(crate) fn digest(&self, content: &[u8]) -> u64 {
        self.hasher.hash_one(content)
    }

    /// Remembers a new key.
    pub(crate) fn remember(&mut self, scoped: Scoped, digest: u64, seq: u64, now_ms: u64) {
        self.ages.push_back((now_ms, scoped.clone()));
        self.used.insert(scoped, Used { seq, digest });
    }

    /// Forgets the keys that are old enough.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some((used_at_ms, _)) = self.ages.front()
            && used_at_ms.saturating_add(IDEMPOTENCY_KEY_AGE_MS) <= now_ms
        {
            let Some((_, scoped)) = self.ages.pop_front() else { return };
            self.used.remove(&scoped);
        }
    }

    /// How many may be remembered.
    pub(crate) fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// Changes that. Those beyond a lower number stay for their age.
    pub(crate) fn set_keys_max(&mut self, keys_max: usize) {
        self.keys_max = keys_max;
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.used.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoped(channel: &str, key: &str) -> Scoped {
        (ChannelName::parse(channel).unwrap(), IdempotencyKey::parse(key).unwrap())
    }

    #[test]
    fn a_key_is_known_for_its_age_and_never_forgotten_early() {
        let mut keys = Keys::new(2);
        let (a, b, c) = (scoped("x", "a"), scoped("y", "a"), scoped("x", "c"));
        assert_eq!(keys.look(&a, b"1", 0), Known::New);
        let digest = keys.digest(b"1");
        keys.remember(a.clone(), digest, 7, 0);
        assert_eq!(keys.look(&a, b"1", 1), Known::Same(7));
        assert_eq!(keys.look(&a, b"2", 1), Known::Different);
        assert_eq!(keys.look(&b, b"2", 1), Known::New);
        keys.remember(b, digest, 8, 1);
        assert_eq!(keys.look(&c, b"2", 2), Known::Full);
        assert_eq!(keys.look(&a, b"1", IDEMPOTENCY_KEY_AGE_MS - 1), Known::Same(7));
        assert_eq!(keys.look(&c, b"2", IDEMPOTENCY_KEY_AGE_MS), Known::New);
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn keys_have_a_length() {
        assert_eq!(IdempotencyKey::parse(""), Err(KeyError(0)));
        assert_eq!(IdempotencyKey::parse(&"k".repeat(256)), Err(KeyError(256)));
        assert!(IdempotencyKey::parse(&"k".repeat(255)).is_ok());
    }
}
