//! The journal, walked once per worker for all groups that follow it.

use std::sync::Arc;

use fanfare_core::Channel;

use crate::{
    group::Group,
    limits::MATCHES_CACHED_MAX,
    worker::{Worker, make_ready},
};

impl Worker {
    /// Queues the groups that match what came since the last walk, a bounded stretch at a time;
    /// returns whether that was all. A group that is idle skips to its first match: the walk has
    /// seen that nothing before concerns it.
    pub(crate) fn walk_journal(&mut self) -> bool {
        if self.journal_groups == 0 {
            return true;
        }
        let mut pairs = std::mem::take(&mut self.pairs);
        let walk = self.hub.walk_journal(self.walked, &mut pairs);
        if walk.has_gap() {
            // What is gone may have concerned any of them: each finds out by its own read.
            let follow = |(_, group): &(usize, &Group)| group.feed.follows_journal();
            let keys: Vec<_> = self.groups.iter().filter(follow).map(|(key, _)| key).collect();
            for key in keys {
                make_ready(&mut self.groups, &mut self.ready, key as u32);
            }
        }
        for (seq, channel) in pairs.drain(..) {
            for group in self.matching(&channel).iter() {
                if let Some(found) = self.groups.get_mut(*group as usize)
                    && found.is_idle()
                {
                    found.skip_to(seq);
                }
                make_ready(&mut self.groups, &mut self.ready, *group);
            }
        }
        self.pairs = pairs;
        self.walked = walk.next;
        walk.exhausted
    }

    /// The groups whose patterns match a channel, remembered per life of the channel.
    fn matching(&mut self, channel: &Arc<Channel>) -> Arc<[u32]> {
        if let Some(groups) = self.matches.get(&channel.instance()) {
            return Arc::clone(groups);
        }
        let mut groups = Vec::new();
        self.patterns.matches(channel.name(), &mut groups);
        if self.matches.len() >= MATCHES_CACHED_MAX {
            self.matches.clear();
        }
        let groups: Arc<[u32]> = groups.into();
        self.matches.insert(channel.instance(), Arc::clone(&groups));
        groups
    }
}
