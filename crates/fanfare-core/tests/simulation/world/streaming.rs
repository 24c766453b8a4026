//! Streaming publishes that come and go, wishes that their channels be cancelled, and what the hub
//! ends itself.

use fanfare_core::{Change, ChannelName, Publishing, Refusal, Standing};

use super::World;

/// A streaming publish to one channel.
pub(super) struct Stream {
    publishing: Publishing,
    /// Whether somebody wishes that the channel be cancelled.
    is_wished: bool,
    /// Whether the channel was deleted since.
    pub(super) is_deleted: bool,
}

impl World {
    /// A streaming publish begins or ends, or somebody wishes that a channel be cancelled.
    pub(super) fn stream(&mut self) {
        let channel = self.channel();
        match self.random.below(3) {
            0 => self.begin_stream(&channel),
            1 if !self.streams.is_empty() => {
                let index = self.random.below(self.streams.len());
                let Stream { publishing, .. } = self.streams.swap_remove(index);
                let (name, broke_off) =
                    (publishing.channel().name().clone(), self.random.once_in(2));
                self.tell(|| format!("the stream on {name} ends, broken off: {broke_off}"));
                if !broke_off && self.random.once_in(2) {
                    self.end_with(name.clone(), Change::Finish);
                }
                if publishing.end(broke_off, self.now_ms) {
                    self.end_if_due(name);
                }
            }
            _ => {
                let (standing, is_due) = self.hub.cancel(&channel, self.now_ms).unwrap();
                self.tell(|| format!("a wish for {channel}: {standing:?}, due: {is_due}"));
                if standing == Standing::Cancelling {
                    self.streams_on(&channel, |stream| stream.is_wished = true);
                }
                if is_due {
                    self.end_if_due(channel);
                }
            }
        }
    }

    pub(super) fn begin_stream(&mut self, channel: &ChannelName) {
        if self.streams.len() == 3 {
            return;
        }
        let is_wished = self.hub.standing(channel) == Standing::Cancelling;
        let Some(publishing) = self.hub.begin_publishing(channel, self.now_ms).unwrap() else {
            assert!(self.ends.contains_key(channel), "{channel} was not closed");
            return;
        };
        self.tell(|| format!("a stream on {channel}"));
        self.streams.push(Stream { publishing, is_wished, is_deleted: false });
    }

    /// Notes something of the streams on the channel of that name.
    pub(super) fn streams_on(&mut self, channel: &ChannelName, note: impl Fn(&mut Stream)) {
        let on = |stream: &&mut Stream| stream.publishing.channel().name() == channel;
        let found = self.streams.iter_mut().filter(|stream| !stream.is_deleted);
        found.filter(on).for_each(note);
    }

    /// The hub ends a channel itself, unless its producer came back.
    pub(super) fn end_if_due(&mut self, channel: ChannelName) {
        self.end_with(channel, Change::CloseIfDue);
    }

    fn end_with(&mut self, channel: ChannelName, change: Change) {
        let before = self.hub.watermark();
        match self.place(&channel, change, None) {
            Ok(id) if id.seq > before => {
                let reason = self.hub.channel(&channel).unwrap().closed.unwrap();
                self.tell(|| format!("{channel} ends at {id}: {reason:?}"));
                self.ends.insert(channel, (id.seq, reason));
            }
            Ok(_) => {}
            Err(Refusal::NoChannel) => assert!(!self.hub.exists(&channel)),
            Err(refusal) => assert_eq!(refusal, Refusal::NotDue),
        }
    }

    /// Who streams keeps its channel, and a wish stays until the end.
    pub(super) fn wishes_are_kept(&self) {
        for Stream { publishing, is_wished, is_deleted } in &self.streams {
            let name = publishing.channel().name();
            let is_found = self.hub.publishing_on(publishing.channel()).is_some();
            assert_eq!(is_found, !is_deleted, "{name}");
            let is_lost = !is_deleted && self.hub.standing(name) == Standing::Open;
            assert!(!(*is_wished && is_lost), "the wish for {name} is gone");
        }
    }
}
