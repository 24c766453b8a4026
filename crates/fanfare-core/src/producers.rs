//! Producers: publishers that number their events, so that whatever is sent again is there once.
//!
//! Policy: a producer has an id, an epoch that rises with each of its lives, and a `seq` that rises
//! by one with each event of an epoch, from 0 on. Per channel the newest epoch and `seq` of each id
//! are remembered for as long as the channel is, and for [`ring_age`](crate::Retention) after its
//! newest sign of life. An event that is there already is a duplicate, one that would leave a hole
//! is refused, and so is everything of an epoch that a newer one has taken the place of.

use std::{cmp::Ordering, fmt, sync::Arc};

use crate::limits::{
    PRODUCER_ID_BYTES_MAX, PRODUCER_IDLE_MS_MIN, PRODUCER_OVERHEAD_BYTES, PRODUCERS_PER_CHANNEL_MAX,
};

/// A valid id: 1 to [`PRODUCER_ID_BYTES_MAX`] bytes of visible ASCII.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ProducerId(Arc<str>);

impl ProducerId {
    /// Parses an id.
    pub fn parse(text: &str) -> Result<Self, ProducerIdError> {
        let fits = (1..=PRODUCER_ID_BYTES_MAX).contains(&text.len());
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ProducerIdError);
        }
        Ok(Self(text.into()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is no producer's id. The publisher is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProducerIdError;

impl fmt::Display for ProducerIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the id of a producer is 1 to {PRODUCER_ID_BYTES_MAX} bytes of visible ASCII")
    }
}

impl std::error::Error for ProducerIdError {}

/// Which of whose events something is. Both numbers are at most
/// [`PRODUCER_NUMBER_MAX`](crate::limits::PRODUCER_NUMBER_MAX).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Producer {
    /// Who.
    pub id: ProducerId,
    /// In which of its lives.
    pub epoch: u64,
    /// Which of the events of that life. Of what is no event: which one comes next.
    pub seq: u64,
}

/// How far a producer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProducerAt {
    /// Its newest life.
    pub epoch: u64,
    /// The newest event of that life by its own count; none if it had none yet.
    pub seq: Option<u64>,
    /// The events of all its lives.
    pub events: u64,
    /// The place in the hub's sequence of the newest of all these, if there is one.
    pub last_event: Option<u64>,
}

/// Why a producer is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProducerRefusal {
    /// There is a newer life; holds its epoch. The producer is a zombie.
    Fenced(u64),
    /// As many producers have published to the channel as it remembers; holds how many.
    Full(usize),
    /// Events before this one are missing, or nothing is known of the producer.
    Gap {
        /// Which one would be accepted.
        expected: u64,
        /// Which one came.
        received: u64,
    },
    /// All producers of the hub together hold as many bytes as they may; holds how many.
    HubFull(usize),
    /// A new epoch began with this event instead of the first; the producer is at fault.
    Late(u64),
}

impl fmt::Display for ProducerRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced(epoch) => {
                write!(f, "the producer has begun epoch {epoch}; nothing of an older one is taken")
            }
            Self::Full(max) => {
                write!(f, "the channel remembers {max} producers that are not idle, its limit")
            }
            Self::Gap { expected, received } => {
                write!(f, "the producer's next event is {expected}, and {received} came")
            }
            Self::HubFull(max) => {
                write!(f, "the hub remembers producers in {max} bytes, its limit")
            }
            Self::Late(received) => {
                write!(f, "a new epoch begins at 0, and {received} came")
            }
        }
    }
}

/// Where a producer stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// At the first event of an epoch that nothing is known of.
    New,
    /// At the next event of its epoch.
    Next,
    /// At an event that is there already; holds whether it is the newest.
    There(bool),
}

/// The producers of one channel; its ring's lock guards them, and they change under the order lock.
#[derive(Debug, Default)]
pub(crate) struct Producers(Vec<Known>);

/// What is remembered of one.
#[derive(Debug)]
struct Known {
    id: ProducerId,
    epoch: u64,
    /// The `seq` of the next event of the epoch.
    next: u64,
    events: u64,
    /// The place of the newest event; 0 if there was none.
    last_event: u64,
    /// The newest sign of life, in Unix milliseconds.
    active_at_ms: u64,
}

impl ProducerId {
    /// Bytes that are taken by what is remembered of it.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len() + PRODUCER_OVERHEAD_BYTES
    }
}

impl Producers {
    /// Where a producer stands, if it may be there. Nothing changes: that is
    /// [`note`](Self::note).
    pub(crate) fn stand(&self, of: &Producer, now_ms: u64) -> Result<Standing, ProducerRefusal> {
        let gap = |expected| Err(ProducerRefusal::Gap { expected, received: of.seq });
        let Some(known) = self.find(&of.id) else {
            return match of.seq {
                0 if self.is_full(now_ms) => Err(ProducerRefusal::Full(PRODUCERS_PER_CHANNEL_MAX)),
                0 => Ok(Standing::New),
                _ => gap(0),
            };
        };
        match of.epoch.cmp(&known.epoch) {
            Ordering::Less => Err(ProducerRefusal::Fenced(known.epoch)),
            Ordering::Greater if of.seq > 0 => Err(ProducerRefusal::Late(of.seq)),
            Ordering::Greater => Ok(Standing::New),
            Ordering::Equal => match of.seq.cmp(&known.next) {
                Ordering::Less => Ok(Standing::There(of.seq + 1 == known.next)),
                Ordering::Equal => Ok(Standing::Next),
                Ordering::Greater => gap(known.next),
            },
        }
    }

    /// Notes that a producer is there, at `of.epoch`, and which place its event got, if it is one.
    /// Only after [`stand`](Self::stand) had nothing against it. Returns by how many bytes more and
    /// less is remembered.
    pub(crate) fn note(
        &mut self,
        of: &Producer,
        event: Option<u64>,
        now_ms: u64,
    ) -> (usize, usize) {
        let (mut more, mut less) = (0, 0);
        let at = match self.0.iter().position(|known| known.id == of.id) {
            Some(at) => at,
            None => {
                if self.0.len() >= PRODUCERS_PER_CHANNEL_MAX {
                    less = self.forget_idlest();
                }
                let known = Known {
                    id: of.id.clone(),
                    epoch: of.epoch,
                    next: 0,
                    events: 0,
                    last_event: 0,
                    active_at_ms: now_ms,
                };
                more = known.id.bytes();
                // One at a time: most channels have one, and none has many.
                self.0.reserve_exact(1);
                self.0.push(known);
                self.0.len() - 1
            }
        };
        let known = &mut self.0[at];
        if of.epoch > known.epoch {
            (known.epoch, known.next) = (of.epoch, 0);
        }
        known.active_at_ms = known.active_at_ms.max(now_ms);
        if let Some(event) = event {
            assert!(of.epoch == known.epoch && of.seq == known.next, "producers go step by step");
            (known.next, known.last_event) = (of.seq + 1, event);
            known.events += 1;
        }
        (more, less)
    }

    /// How far a producer is.
    pub(crate) fn at(&self, id: &str) -> Option<ProducerAt> {
        let known = self.0.iter().find(|known| known.id.as_str() == id)?;
        Some(ProducerAt {
            epoch: known.epoch,
            seq: known.next.checked_sub(1),
            events: known.events,
            last_event: Some(known.last_event).filter(|seq| *seq > 0),
        })
    }

    /// Whether a producer is known.
    pub(crate) fn has(&self, id: &ProducerId) -> bool {
        self.find(id).is_some()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that all of them take.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|known| known.id.bytes()).sum()
    }

    /// The newest sign of life of any, in Unix milliseconds.
    pub(crate) fn active_at_ms(&self) -> Option<u64> {
        self.0.iter().map(|known| known.active_at_ms).max()
    }

    fn find(&self, id: &ProducerId) -> Option<&Known> {
        self.0.iter().find(|known| known.id == *id)
    }

    /// Whether there is no room for one more, all of them having been active of late.
    fn is_full(&self, now_ms: u64) -> bool {
        let is_idle =
            |known: &Known| known.active_at_ms.saturating_add(PRODUCER_IDLE_MS_MIN) <= now_ms;
        self.0.len() >= PRODUCERS_PER_CHANNEL_MAX && !self.0.iter().any(is_idle)
    }

    /// Forgets the one that was idle for longest; returns the bytes that it took.
    fn forget_idlest(&mut self) -> usize {
        let idlest = (0..self.0.len()).min_by_key(|at| self.0[*at].active_at_ms);
        idlest.map_or(0, |at| self.0.swap_remove(at).id.bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn producer(id: &str, epoch: u64, seq: u64) -> Producer {
        Producer { id: ProducerId::parse(id).unwrap(), epoch, seq }
    }

    /// Publishes an event of `of` at `place`; returns whether it is a new one.
    fn publish(
        producers: &mut Producers,
        of: &Producer,
        place: u64,
        now_ms: u64,
    ) -> Result<bool, ProducerRefusal> {
        let is_next = !matches!(producers.stand(of, now_ms)?, Standing::There(_));
        if is_next {
            producers.note(of, Some(place), now_ms);
        }
        Ok(is_next)
    }

    #[test]
    fn ids_are_visible_ascii() {
        for good in ["a", "!~", &"x".repeat(PRODUCER_ID_BYTES_MAX)] {
            assert_eq!(ProducerId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\n", "\u{7f}", "é", &"x".repeat(PRODUCER_ID_BYTES_MAX + 1)] {
            assert_eq!(ProducerId::parse(bad), Err(ProducerIdError), "{bad}");
        }
    }

    #[test]
    fn events_count_up_from_zero_in_each_epoch() {
        use ProducerRefusal as R;
        let mut producers = Producers::default();
        let mut place = 0;
        for (epoch, seq, expected) in [
            (3, 1, Err(R::Gap { expected: 0, received: 1 })),
            (3, 0, Ok(true)),
            (3, 0, Ok(false)),
            (3, 2, Err(R::Gap { expected: 1, received: 2 })),
            (3, 1, Ok(true)),
            (3, 0, Ok(false)),
            (2, 0, Err(R::Fenced(3))),
            (2, 2, Err(R::Fenced(3))),
            (7, 2, Err(R::Late(2))),
            (7, 0, Ok(true)),
            (3, 2, Err(R::Fenced(7))),
            (7, 1, Ok(true)),
        ] {
            place += 1;
            let told = publish(&mut producers, &producer("p", epoch, seq), place, 0);
            assert_eq!(told, expected, "{epoch}/{seq}");
        }
        let at = ProducerAt { epoch: 7, seq: Some(1), events: 4, last_event: Some(12) };
        assert_eq!(producers.at("p"), Some(at));
        assert_eq!(producers.at("q"), None);
    }

    #[test]
    fn an_epoch_can_be_claimed_before_its_first_event() {
        let mut producers = Producers::default();
        publish(&mut producers, &producer("p", 0, 0), 5, 0).unwrap();
        let claim = producer("p", 1, 0);
        assert_eq!(producers.stand(&claim, 0), Ok(Standing::New));
        producers.note(&claim, None, 0);
        let at = ProducerAt { epoch: 1, seq: None, events: 1, last_event: Some(5) };
        assert_eq!(producers.at("p"), Some(at));
        let zombie = publish(&mut producers, &producer("p", 0, 1), 6, 0);
        assert_eq!(zombie, Err(ProducerRefusal::Fenced(1)));
        assert_eq!(producers.stand(&claim, 0), Ok(Standing::Next), "twice is once");
        assert_eq!(publish(&mut producers, &producer("p", 1, 0), 6, 0), Ok(true));
    }

    #[test]
    fn a_full_channel_forgets_only_who_was_idle_for_long() {
        let mut producers = Producers::default();
        let mut bytes = 0;
        for n in 0..PRODUCERS_PER_CHANNEL_MAX as u64 {
            let (more, less) = producers.note(&producer(&format!("p{n}"), 0, 0), Some(n + 1), n);
            bytes += more;
            assert_eq!(less, 0);
        }
        assert_eq!((producers.bytes(), producers.active_at_ms()), (bytes, Some(63)));
        let new = producer("new", 0, 0);
        let full = Err(ProducerRefusal::Full(PRODUCERS_PER_CHANNEL_MAX));
        assert_eq!(producers.stand(&new, PRODUCER_IDLE_MS_MIN - 1), full);
        let known = producer("p0", 0, 0);
        assert_eq!(producers.stand(&known, 1), Ok(Standing::There(true)));
        assert_eq!(producers.stand(&new, PRODUCER_IDLE_MS_MIN), Ok(Standing::New));
        let (more, less) = producers.note(&new, None, PRODUCER_IDLE_MS_MIN);
        assert_eq!((producers.bytes(), producers.0.len()), (bytes + more - less, 64));
        assert_eq!((producers.at("p0"), producers.at("new").is_some()), (None, true));
    }

    #[test]
    fn one_producer_takes_room_for_one() {
        let mut producers = Producers::default();
        let long = producer(&"x".repeat(PRODUCER_ID_BYTES_MAX), 0, 0);
        assert_eq!(producers.note(&long, None, 0), (long.id.bytes(), 0));
        assert_eq!(producers.note(&long, None, 0), (0, 0));
        assert_eq!(producers.0.capacity(), 1);
        // What it says it takes, it takes: the entry, the counts of the id, the channel's box, and
        // what the allocator adds to each of the three.
        let counts = 2 * size_of::<usize>();
        let taken = size_of::<Known>() + counts + size_of::<crate::extras::Extras>() + 3 * 16;
        assert!(PRODUCER_OVERHEAD_BYTES >= taken, "{taken}");
    }

    /// The same, told by all events that were ever accepted.
    #[derive(Default)]
    struct Naive {
        /// Of each id: the epochs that were begun, and the events of each.
        lives: HashMap<u8, Vec<(u64, Vec<u64>)>>,
    }

    impl Naive {
        fn publish(&mut self, id: u8, epoch: u64, seq: u64) -> Result<bool, ProducerRefusal> {
            let lives = self.lives.entry(id).or_default();
            if lives.iter().any(|(begun, _)| *begun > epoch) {
                return Err(ProducerRefusal::Fenced(lives.last().unwrap().0));
            }
            if lives.last().is_none_or(|(begun, _)| *begun < epoch) {
                match (seq, lives.is_empty()) {
                    (0, _) => lives.push((epoch, Vec::new())),
                    (_, true) => {
                        return Err(ProducerRefusal::Gap { expected: 0, received: seq });
                    }
                    (_, false) => return Err(ProducerRefusal::Late(seq)),
                }
            }
            let events = &mut lives.last_mut().unwrap().1;
            if events.contains(&seq) {
                return Ok(false);
            }
            let expected = events.iter().max().map_or(0, |newest| newest + 1);
            if seq != expected {
                return Err(ProducerRefusal::Gap { expected, received: seq });
            }
            events.push(seq);
            Ok(true)
        }

        fn claim(&mut self, id: u8, epoch: u64) {
            let lives = self.lives.entry(id).or_default();
            if lives.last().is_none_or(|(begun, _)| *begun < epoch) {
                lives.push((epoch, Vec::new()));
            }
        }
    }

    proptest! {
        #[test]
        fn any_producers_do_as_the_naive_ones(
            steps in proptest::collection::vec((0..3_u8, 0..4_u64, 0..6_u64, any::<bool>()), 1..200)
        ) {
            let (mut producers, mut naive) = (Producers::default(), Naive::default());
            for (place, (id, epoch, seq, is_claim)) in (1..).zip(steps) {
                let of = producer(&id.to_string(), epoch, seq);
                if is_claim {
                    if producers.stand(&of, 0).is_ok() {
                        producers.note(&of, None, 0);
                        naive.claim(id, epoch);
                    }
                    continue;
                }
                let told = publish(&mut producers, &of, place, 0);
                prop_assert_eq!(told, naive.publish(id, epoch, seq));
                let known = producers.at(&id.to_string()).map(|at| (at.epoch, at.seq, at.events));
                let lives = &naive.lives[&id];
                let events = lives.iter().map(|(_, events)| events.len() as u64).sum();
                let newest = lives.last();
                let newest = newest.map(|(epoch, seqs)| (*epoch, seqs.last().copied(), events));
                prop_assert_eq!(known, newest);
            }
            for (epoch, events) in naive.lives.values().flatten() {
                let counted: Vec<_> = (0..events.len() as u64).collect();
                prop_assert_eq!(events, &counted, "epoch {}", epoch);
            }
        }
    }
}
