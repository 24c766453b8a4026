//! Subscribers that come, read, are cut off and come back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fanfare_core::{
    ChannelName, CloseReason, Coalesce, EventId, Framing, HistoryFrom, Request, Selectors, Start,
    Subscribed,
};

use super::{
    super::client::{Client, Connection, Shared, Turn, Words},
    CHANNELS, World,
};

const SELECTORS: [&[&str]; 11] = [
    &["a/1"],
    &["a/1"],
    &["a/1"],
    &["b/1"],
    &["c"],
    &["a/1", "b/1"],
    &["a/1", "a/2", "c"],
    &["a/1", "a/2", "b/1", "b/2", "c"],
    &["a/*"],
    &["**"],
    &["b/*", "c"],
];

impl World {
    pub(super) fn connect(&mut self) {
        let idle = |client: &Client| client.connection.is_none();
        let back = self.clients.iter().position(idle);
        if let Some(index) = back.filter(|_| !self.random.once_in(4)) {
            return self.connect_client(index);
        }
        if self.clients.len() == 6 {
            let leaver = self.clients.remove(0);
            return self.retire(leaver);
        }
        let texts = self.random.pick(&SELECTORS);
        let coalesces = texts.len() == 1 && !texts[0].contains('*') && !self.random.once_in(3);
        let coalesce = coalesces.then(|| Coalesce::new(Arc::new(Words), 0));
        self.born += 1;
        self.clients.push(Client {
            number: self.born,
            selectors: Selectors::parse(texts.iter().copied()).unwrap(),
            framing: self.random.pick(&[Framing::Bare, Framing::Chunked]),
            envelope: self.random.once_in(4),
            coalesce,
            control: !self.random.once_in(5),
            last_id: None,
            owed: BTreeMap::new(),
            connection: None,
            aborted: false,
            got: [0; 4],
        });
        self.connect_client(self.clients.len() - 1);
    }

    pub(super) fn connect_client(&mut self, index: usize) {
        let start = match self.clients[index].last_id {
            Some(id) => Start::After(id.to_string()),
            None => match self.random.below(4) {
                0 => Start::Beginning,
                1 => Start::Last(self.random.below(6) as u64),
                _ => Start::Now,
            },
        };
        let client = &self.clients[index];
        let request = Request {
            selectors: client.selectors.clone(),
            start: start.clone(),
            control: client.control,
            open: self.random.once_in(2),
            envelope: client.envelope,
            coalesce: client.coalesce.clone(),
            live: self.random.once_in(2),
        };
        let subscribed = self.hub.subscribe(&request, 0, 5_000).unwrap();
        let texts: Vec<_> = client.selectors.texts().collect();
        let story = format!("client {} {texts:?} {start:?}: {}", client.number, told(&subscribed));
        let here = |id: EventId| id.epoch == self.hub.epoch();
        let resumed = client.last_id.is_some_and(here);
        self.tell(|| story);
        match subscribed {
            Subscribed::Finished => self.finish(index),
            Subscribed::Gap => {
                self.totals[5] += 1;
                let client = &mut self.clients[index];
                assert!(!client.control && client.last_id.is_some());
                // It was told; it begins anew.
                client.last_id = None;
                client.owed.clear();
                client.aborted = false;
            }
            Subscribed::Live(opening) => {
                let position = opening.subscription.position().seq;
                if resumed {
                    self.totals[4] += 1;
                    let (number, aborted) =
                        (self.clients[index].number, self.clients[index].aborted);
                    assert!(!aborted, "client {number}: cut off at the same place for ever");
                } else {
                    self.begin(index, &start, position);
                    // A batch from before might give it more than is kept, which is no harm.
                    self.shared = Shared::default();
                }
                let client = &mut self.clients[index];
                let began = if resumed { position } else { self.hub.watermark() };
                let (subscription, framing) = (opening.subscription, client.framing);
                let mut connection = Connection::new(subscription, &opening.events, framing, began);
                connection.finishing = opening.finished;
                let asks = request.live && request.control && !opening.finished;
                connection.live_from = asks.then(|| connection.subscription.live_from());
                let over = |name: &&ChannelName| {
                    let closed = self.hub.channel(name).is_some_and(|info| info.closed.is_some());
                    closed && self.ends[*name].0 <= position
                };
                let ended = client.selectors.channels().iter().filter(over);
                connection.ended.extend(ended.map(|name| (name.clone(), self.ends[name].0)));
                client.connection = Some(connection);
                client.aborted = false;
            }
        }
    }

    /// Nothing will ever come: then nothing may be left that was not deleted.
    fn finish(&mut self, index: usize) {
        self.totals[6] += 1;
        let client = self.clients.remove(index);
        for name in client.selectors.channels() {
            assert!(self.ends.contains_key(name), "204 but {name} has not ended");
        }
        for (seq, owed) in &client.owed {
            let end = self.ends.get(&owed.channel);
            let deleted = end.is_some_and(|(_, reason)| *reason == CloseReason::Deleted);
            assert!(deleted, "204 but {seq} of {} was never seen", owed.channel);
        }
        self.retire(client);
    }

    /// What a client is owed that begins without an id of this life: what is kept from its
    /// position on.
    fn begin(&mut self, index: usize, start: &Start, position: u64) {
        let names = CHANNELS.map(|name| ChannelName::parse(name).unwrap());
        let client = &mut self.clients[index];
        let matching = names.iter().filter(|name| client.selectors.matches(name));
        let kept: BTreeSet<u64> = matching
            .filter_map(|name| self.hub.history(name, &HistoryFrom::Beginning, 1_000))
            .flat_map(|history| history.events.into_iter().map(|event| event.seq))
            .collect();
        let ahead = kept.range(position + 1..).count();
        match start {
            Start::Now => assert_eq!(position, self.hub.watermark()),
            Start::Last(count) => assert_eq!(ahead, kept.len().min(*count as usize)),
            Start::After(_) | Start::Beginning => assert_eq!(ahead, kept.len()),
        }
        let owed = kept.range(position + 1..).map(|seq| (*seq, self.log[seq].clone()));
        client.owed = owed.collect();
    }

    pub(super) fn disconnect(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let index = self.random.below(self.clients.len());
        let number = self.clients[index].number;
        self.tell(|| format!("client {number} is cut off"));
        self.clients[index].disconnect();
    }

    pub(super) fn turn(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let index = self.random.below(self.clients.len());
        let room = self.random.pick(&[0, 1, 50, 300, 100_000, 100_000]);
        self.turn_of(index, room);
    }

    pub(super) fn turn_of(&mut self, index: usize, room: usize) -> Turn {
        let client = &mut self.clients[index];
        let turn = client.turn(&self.hub, &mut self.shared, &mut self.random, room);
        let over = turn == Turn::Over && !client.aborted;
        let (number, seq) = (client.number, client.last_id.map(|id| id.seq));
        self.tell(|| format!("turn of client {number} with {room}: {turn:?}, at {seq:?}"));
        if over {
            let client = self.clients.remove(index);
            self.retire(client);
        }
        turn
    }
}

fn told(subscribed: &Subscribed) -> String {
    match subscribed {
        Subscribed::Live(opening) => {
            format!("live after {} ({:?})", opening.subscription.position(), opening.replay)
        }
        other => format!("{other:?}"),
    }
}
