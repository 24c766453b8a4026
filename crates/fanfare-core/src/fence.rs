//! What a producer may publish: whether it is there already, comes next, or is refused.
//!
//! Policy: looked at under the order lock before anything else of a publication, so that a retry is
//! answered even if its channel has ended since, and so that who was fenced changes nothing more.
//! A producer is noted with its event or not at all.

use std::sync::Arc;

use crate::{
    broker::{Change, Placed, Refusal},
    channel::Channel,
    hub::{Hub, Limit, Order},
    limits::PRODUCERS_SHARE,
    name::ChannelName,
    producers::{Producer, ProducerAt, ProducerRefusal, Producers, Standing},
    sync::lock,
};

impl Hub {
    /// How far a producer is on a channel; none if the channel knows nothing of it.
    pub fn producer(&self, channel: &ChannelName, id: &str) -> Option<ProducerAt> {
        let channel = self.registry.find(channel)?;
        let ring = lock(&channel.ring);
        ring.extras()?.producers.at(id)
    }

    /// Looks whether a producer may do this; returns what it is told if that is done already.
    pub(crate) fn check_producer(
        &self,
        order: &mut Order,
        seq: u64,
        name: &ChannelName,
        producer: &Producer,
        (change, now_us): (&Change, u64),
    ) -> Result<Option<Placed>, Refusal> {
        let channel = self.registry.find(name);
        let standing = self.producer_standing(channel.as_deref(), producer, now_us / 1_000)?;
        match (change, standing, &channel) {
            (Change::Event(_, close), Standing::There(is_newest), Some(channel)) => {
                // Who publishes its last event again, now to close the channel, is answered as if
                // it had meant to before.
                let close = close.filter(|_| is_newest);
                let closed = close.map(|reason| self.close(order, seq, channel, reason, now_us));
                let ended = closed.map(|closed| closed.reason);
                Ok(Some(Placed { ended, ..self.duplicate(order, channel, producer, now_us) }))
            }
            (Change::Claim, Standing::Next | Standing::There(_), Some(channel)) => {
                Ok(Some(self.duplicate(order, channel, producer, now_us)))
            }
            _ => self.check_room(order, channel.as_deref(), producer).map(|()| None),
        }
    }

    fn producer_standing(
        &self,
        channel: Option<&Channel>,
        producer: &Producer,
        now_ms: u64,
    ) -> Result<Standing, Refusal> {
        let ring = channel.map(|channel| lock(&channel.ring));
        let extras = ring.as_ref().and_then(|ring| ring.extras());
        let none = Producers::default();
        let producers = extras.map_or(&none, |extras| &extras.producers);
        producers.stand(producer, now_ms).map_err(|refusal| {
            if let ProducerRefusal::Full(_) = refusal {
                self.count_limit(Limit::ProducersPerChannel);
            }
            Refusal::Producer(refusal)
        })
    }

    /// Whether a producer may be remembered beside all others of the hub.
    fn check_room(
        &self,
        order: &Order,
        channel: Option<&Channel>,
        producer: &Producer,
    ) -> Result<(), Refusal> {
        let bytes = producer.id.bytes();
        let bytes_max = order.bounds.rings_bytes_max / PRODUCERS_SHARE;
        let is_known = |channel: &Channel| {
            let ring = lock(&channel.ring);
            ring.extras().is_some_and(|extras| extras.producers.has(&producer.id))
        };
        if order.producers_bytes + bytes <= bytes_max || channel.is_some_and(is_known) {
            return Ok(());
        }
        self.count_limit(Limit::ProducersBytes);
        Err(Refusal::Producer(ProducerRefusal::HubFull(bytes_max)))
    }

    fn duplicate(
        &self,
        order: &mut Order,
        channel: &Arc<Channel>,
        producer: &Producer,
        now_us: u64,
    ) -> Placed {
        let at = self.note_producer(order, channel, producer, (None, now_us));
        let id = self.id(at.and_then(|at| at.last_event).unwrap_or_default());
        let channel = Some(Arc::clone(channel));
        Placed { id, subscribers: 0, duplicate: true, ended: None, channel, producer: at }
    }

    /// Notes a producer that [`check_producer`](Self::check_producer) let pass, with the place of
    /// its event, if it is one; returns how far it is.
    pub(crate) fn note_producer(
        &self,
        order: &mut Order,
        channel: &Arc<Channel>,
        producer: &Producer,
        (event, now_us): (Option<u64>, u64),
    ) -> Option<ProducerAt> {
        let now_ms = now_us / 1_000;
        let mut ring = lock(&channel.ring);
        let producers = &mut ring.extras_mut().producers;
        let (more, less) = producers.note(producer, event, now_ms);
        let at = producers.at(producer.id.as_str());
        order.producers_bytes = order.producers_bytes + more - less;
        if ring.closed().is_none() {
            order.schedule.look(&mut ring, channel, now_ms);
        }
        at
    }
}
