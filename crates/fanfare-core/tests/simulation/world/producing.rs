//! A producer in the world of one seed: it goes on, sends again, comes back as a newer life, sends
//! what an older one had left, and leaves holes.

use fanfare_core::{
    Change, ChannelName, Producer, ProducerId, ProducerRefusal, Refusal, limits::PRODUCERS_SHARE,
};

use super::World;

/// What the world knows of its producer on a channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Its newest life.
    epoch: u64,
    /// Its next event in that life.
    next: u64,
}

impl World {
    /// The producer does something, and is answered what was to be expected.
    pub(super) fn produce(&mut self) {
        let channel = self.channel();
        let known = self.producing.get(&channel).copied();
        let Known { epoch, next } = known.unwrap_or(Known { epoch: 5, next: 0 });
        let epoch = (epoch + self.random.pick(&[1, 1, 1, 1, 1, 2, 0])) - 1;
        let seq = match self.random.below(8) {
            0 => next + 1,
            1 => next.saturating_sub(1),
            2 => 0,
            _ => next,
        };
        let expected = expected(known, epoch, seq);
        let is_claim = self.random.once_in(6);
        let of = Producer { id: ProducerId::parse("p").unwrap(), epoch, seq };
        let told = match is_claim {
            true => {
                let claimed = self.place_of(&channel, Change::Claim, Some(of), None);
                claimed.map(|placed| placed.duplicate)
            }
            false => self.place_produced(&channel, of),
        };
        self.tell(|| format!("produce {epoch}/{seq} on {channel}, claim {is_claim}: {told:?}"));
        match (told, expected) {
            (Ok(duplicate), Ok(is_new)) => {
                self.totals[7 + usize::from(!is_new)] += 1;
                if is_claim {
                    assert_eq!(duplicate, known.is_some_and(|known| known.epoch == epoch));
                } else {
                    assert_eq!(duplicate, !is_new);
                }
                let kept = known.filter(|known| known.epoch == epoch);
                let next = kept.map_or(0, |known| known.next) + u64::from(is_new && !is_claim);
                self.producing.insert(channel, Known { epoch, next });
            }
            (Err(Refusal::Producer(ProducerRefusal::HubFull(max))), Ok(true)) => {
                assert!(known.is_none() && max < 1_000_000 / PRODUCERS_SHARE);
            }
            (Err(Refusal::Closed(_)), Ok(true)) => assert!(self.ends.contains_key(&channel)),
            (Err(Refusal::Producer(refusal)), Err(expected)) => {
                self.totals[9] += 1;
                assert_eq!(refusal, expected);
            }
            (told, expected) => panic!("{told:?} instead of {expected:?}"),
        }
    }

    /// What the hub remembers of producers goes with their channels.
    pub(super) fn forget_producers(&mut self) {
        let hub = &self.hub;
        self.producing.retain(|channel, _| hub.channel(channel).is_some());
        let held = hub.held();
        assert_eq!(held.producers_bytes > 0, !self.producing.is_empty(), "{held:?}");
    }

    /// Publishes an event of a producer; returns whether it was there already.
    fn place_produced(&mut self, channel: &ChannelName, of: Producer) -> Result<bool, Refusal> {
        let data = format!("of a producer: {}", self.random.number() % 1_000);
        let before = self.hub.watermark();
        self.place_event(channel.clone(), data, Some(of), None, None)?;
        Ok(self.hub.watermark() == before)
    }
}

/// Whether an event is a new one, or why it is refused.
fn expected(known: Option<Known>, epoch: u64, seq: u64) -> Result<bool, ProducerRefusal> {
    let gap = |expected| Err(ProducerRefusal::Gap { expected, received: seq });
    match known {
        None if seq > 0 => gap(0),
        None => Ok(true),
        Some(known) if epoch < known.epoch => Err(ProducerRefusal::Fenced(known.epoch)),
        Some(known) if epoch > known.epoch && seq > 0 => Err(ProducerRefusal::Late(seq)),
        Some(known) if epoch > known.epoch => Ok(true),
        Some(known) if seq > known.next => gap(known.next),
        Some(known) => Ok(seq == known.next),
    }
}
