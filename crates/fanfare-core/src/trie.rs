//! Patterns by segment, to find the ones that match a name without trying each.

use std::collections::HashMap;

use crate::name::{ChannelName, Selectors};

/// Values under the channels and patterns of their selectors.
#[derive(Debug)]
pub struct Trie<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    /// Children by their segment.
    literal: HashMap<Box<str>, Self>,
    /// The child that any segment leads to.
    any: Option<Box<Self>>,
    /// Values of patterns that end here.
    here: Vec<T>,
    /// Values of patterns that end here with `**`.
    rest: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literal: HashMap::new(), any: None, here: Vec::new(), rest: Vec::new() }
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T: Copy + Ord> Trie<T> {
    /// Adds a value under each of the selectors.
    pub fn insert(&mut self, selectors: &Selectors, value: T) {
        for text in selectors.texts() {
            self.root.insert(text.split('/'), value);
        }
    }

    /// Removes a value from under each of the selectors.
    pub fn remove(&mut self, selectors: &Selectors, value: T) {
        for text in selectors.texts() {
            self.root.remove(text.split('/'), value);
        }
    }

    /// Collects the values whose selectors match, each once.
    pub fn matches(&self, name: &ChannelName, out: &mut Vec<T>) {
        out.clear();
        self.root.matches(name.as_str().split('/'), out);
        out.sort_unstable();
        out.dedup();
    }
}

impl<T: Copy + Ord> Node<T> {
    fn insert<'a>(&mut self, mut segments: impl Iterator<Item = &'a str>, value: T) {
        let mut node = self;
        loop {
            node = match segments.next() {
                None => return node.here.push(value),
                Some("**") => return node.rest.push(value),
                Some("*") => node.any.get_or_insert_default(),
                Some(segment) => node.literal.entry(segment.into()).or_default(),
            };
        }
    }

    fn remove<'a>(&mut self, mut segments: impl Iterator<Item = &'a str>, value: T) {
        let forget = |values: &mut Vec<T>| values.retain(|v| *v != value);
        match segments.next() {
            None => forget(&mut self.here),
            Some("**") => forget(&mut self.rest),
            Some("*") => {
                if let Some(child) = &mut self.any {
                    child.remove(segments, value);
                    if child.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some(segment) => {
                if let Some(child) = self.literal.get_mut(segment) {
                    child.remove(segments, value);
                    if child.is_empty() {
                        self.literal.remove(segment);
                    }
                }
            }
        }
    }

    /// The recursion is as deep as a name has segments, the work bounded by what is in the trie.
    fn matches<'a>(&self, mut segments: impl Iterator<Item = &'a str> + Clone, out: &mut Vec<T>) {
        let Some(segment) = segments.next() else { return out.extend(&self.here) };
        out.extend(&self.rest);
        if let Some(child) = self.literal.get(segment) {
            child.matches(segments.clone(), out);
        }
        if let Some(child) = &self.any {
            child.matches(segments, out);
        }
    }

    fn is_empty(&self) -> bool {
        self.literal.is_empty()
            && self.any.is_none()
            && self.here.is_empty()
            && self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment() -> impl Strategy<Value = &'static str> {
        prop_oneof![Just("a"), Just("b"), Just("c")]
    }

    fn pattern() -> impl Strategy<Value = String> {
        let part = prop_oneof![3 => segment(), 2 => Just("*")];
        (prop::collection::vec(part, 1..4), any::<bool>()).prop_map(|(mut parts, rest)| {
            if rest {
                parts.push("**");
            }
            parts.join("/")
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            sets in prop::collection::vec(prop::collection::vec(pattern(), 1..3), 0..8),
            names in prop::collection::vec(prop::collection::vec(segment(), 1..5), 1..8),
            removed in any::<prop::sample::Index>(),
        ) {
            let mut sets: Vec<(usize, Selectors)> = sets
                .iter()
                .map(|texts| Selectors::parse(texts.iter().map(String::as_str)).unwrap())
                .enumerate()
                .collect();
            let mut trie = Trie::default();
            for (index, selectors) in &sets {
                trie.insert(selectors, *index);
            }
            if !sets.is_empty() {
                let (index, selectors) = sets.remove(removed.index(sets.len()));
                trie.remove(&selectors, index);
            }
            let mut found = Vec::new();
            for name in names {
                let name = ChannelName::parse(&name.join("/")).unwrap();
                trie.matches(&name, &mut found);
                let scan = sets.iter().filter(|(_, set)| set.matches(&name));
                prop_assert_eq!(&found, &scan.map(|(index, _)| *index).collect::<Vec<_>>());
            }
            for (index, selectors) in &sets {
                trie.remove(selectors, *index);
            }
            prop_assert!(trie.root.is_empty());
        }
    }
}
