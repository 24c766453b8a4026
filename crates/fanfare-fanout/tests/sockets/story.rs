//! The one sentence: in order, exactly once, or an explicit gap.

use std::collections::HashMap;

use fanfare_core::{ChannelName, Selectors};

use crate::{
    peer::{Peer, Piece},
    rig::Rig,
};

/// What a peer lost and was told of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Told {
    /// Gaps.
    pub(crate) gaps: usize,
    /// Events that they cover.
    pub(crate) lost: usize,
}

impl Rig {
    /// Checks all that a peer was sent against all that was published up to `through`.
    pub(crate) fn check(&self, peer: &Peer, through: u64) -> Told {
        let selectors = Selectors::parse(peer.selectors.iter().map(String::as_str)).unwrap();
        let mut known = HashMap::new();
        let mut concerns = |channel: &String| {
            let matches = || selectors.matches(&ChannelName::parse(channel).unwrap());
            *known.entry(channel.clone()).or_insert_with(matches)
        };
        let published = self.published();
        let after = published.range(peer.position + 1..);
        let mut expected = after.filter(|(_, (channel, _))| concerns(channel)).peekable();
        let mut told = Told::default();
        for piece in &peer.pieces {
            match piece {
                Piece::Event { seq, data } => {
                    let next = expected.next().map(|(seq, (_, data))| (seq, data));
                    assert_eq!(next, Some((seq, data)), "after {told:?}");
                }
                Piece::Control { seq, kind, data, .. } if kind == "gap" => {
                    let data: serde_json::Value = serde_json::from_str(data).unwrap();
                    assert_eq!(data["resumed_after"], self.hub.id(*seq).to_string());
                    told.gaps += 1;
                    while expected.next_if(|(lost, _)| *lost <= seq).is_some() {
                        told.lost += 1;
                    }
                }
                Piece::Control { seq, kind, .. } => {
                    let next = expected.peek().map(|(seq, _)| **seq);
                    assert!(next.is_none_or(|next| next > *seq), "{kind} at {seq} before {next:?}");
                }
                Piece::Heartbeat | Piece::Last => {}
            }
        }
        let missing = expected.next().map(|(seq, _)| *seq);
        assert!(missing.is_none_or(|seq| seq > through), "{missing:?} is missing: {told:?}");
        told
    }

    /// The same for a peer that must have lost nothing.
    pub(crate) fn check_exact(&self, peer: &Peer, through: u64) {
        assert_eq!(self.check(peer, through), Told::default());
    }
}
