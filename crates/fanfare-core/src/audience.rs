//! How many subscriptions with patterns match a channel, for the answer to a publish.

use std::collections::HashMap;

use crate::{
    name::{ChannelName, Selectors},
    trie::Trie,
};

/// Counts of subscriptions by their selectors, for those that have a pattern.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    /// The number and the count of each set of selectors.
    sets: HashMap<Selectors, usize>,
    /// Subscriptions of each set; a free place holds 0.
    counts: Vec<u64>,
    /// Free places of `counts`.
    free: Vec<usize>,
    /// Finds the sets that match.
    trie: Trie<usize>,
}

impl Audience {
    /// Counts one more subscription.
    pub(crate) fn add(&mut self, selectors: &Selectors) {
        if let Some(set) = self.sets.get(selectors) {
            self.counts[*set] += 1;
            return;
        }
        let set = self.free.pop().unwrap_or_else(|| {
            self.counts.push(0);
            self.counts.len() - 1
        });
        self.counts[set] = 1;
        self.sets.insert(selectors.clone(), set);
        self.trie.insert(selectors, set);
    }

    /// Counts one less.
    pub(crate) fn remove(&mut self, selectors: &Selectors) {
        let Some(set) = self.sets.get(selectors).copied() else { return };
        self.counts[set] -= 1;
        if self.counts[set] == 0 {
            self.sets.remove(selectors);
            self.trie.remove(selectors, set);
            self.free.push(set);
        }
    }

    /// Subscriptions that match a channel, each counted once.
    pub(crate) fn count(&self, name: &ChannelName) -> u64 {
        let mut sets = Vec::new();
        self.trie.matches(name, &mut sets);
        sets.iter().map(|set| self.counts[*set]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_counts_once_however_often_it_matches() {
        let mut audience = Audience::default();
        let twice = Selectors::parse(["a/*", "a/**", "a/b"]).unwrap();
        let other = Selectors::parse(["*/b"]).unwrap();
        audience.add(&twice);
        audience.add(&twice);
        audience.add(&other);
        let name = ChannelName::parse("a/b").unwrap();
        assert_eq!(audience.count(&name), 3);
        audience.remove(&twice);
        audience.remove(&other);
        assert_eq!(audience.count(&name), 1);
        audience.remove(&twice);
        assert_eq!(audience.count(&name), 0);
        audience.add(&other);
        assert_eq!((audience.count(&name), audience.counts.len()), (1, 2));
    }
}
