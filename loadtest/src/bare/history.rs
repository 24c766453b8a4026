//! The last frames of a path, side by side, so that a replay is one slice.

/// Frames with their numbers, oldest first.
pub(super) struct History {
    /// How many are replayed.
    kept: usize,
    /// The frames; up to twice as many as are replayed, so that they are moved rarely.
    bytes: Vec<u8>,
    /// The number of each frame, and where it ends in the bytes.
    ends: Vec<(u64, usize)>,
    /// The number of the newest frame, kept or not.
    pub(super) newest: u64,
    /// The number of the newest frame that is not there any more.
    trimmed: u64,
}

impl History {
    pub(super) fn new(kept: usize) -> Self {
        Self { kept, bytes: Vec::new(), ends: Vec::new(), newest: 0, trimmed: 0 }
    }

    /// Takes the next frame; numbers rise.
    pub(super) fn push(&mut self, number: u64, frame: &[u8]) {
        self.newest = number;
        if self.kept == 0 {
            self.trimmed = number;
            return;
        }
        if self.ends.len() == 2 * self.kept {
            let (trimmed, cut) = self.ends[self.kept - 1];
            self.trimmed = trimmed;
            self.bytes.drain(..cut);
            self.ends.drain(..self.kept);
            self.ends.iter_mut().for_each(|(_, end)| *end -= cut);
        }
        self.bytes.extend_from_slice(frame);
        self.ends.push((number, self.bytes.len()));
    }

    /// The frames after a number; none if some of them are not kept any more.
    pub(super) fn after(&self, number: u64) -> Option<&[u8]> {
        let first = self.ends.partition_point(|(kept, _)| *kept <= number);
        let is_whole = self.trimmed <= number && self.ends.len() - first <= self.kept;
        let start = first.checked_sub(1).map_or(0, |last| self.ends[last].1);
        is_whole.then(|| &self.bytes[start..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replays_what_is_kept_and_nothing_else() {
        let mut history = History::new(4);
        assert_eq!(history.after(0).unwrap(), b"");
        let frame = |number: u64| format!("<{number}>");
        for newest in (2..100).step_by(2) {
            history.push(newest, frame(newest).as_bytes());
            for number in 0..=newest {
                let wanted: Vec<_> = (number + 1..=newest).filter(|n| n % 2 == 0).collect();
                let found = history.after(number).map(|frames| frames.to_vec());
                let wanted = (wanted.len() <= 4)
                    .then(|| wanted.iter().map(|n| frame(*n)).collect::<String>().into_bytes());
                assert_eq!(found, wanted, "{number} of {newest}");
            }
        }
    }

    #[test]
    fn without_frames_only_the_newest_is_known() {
        let mut history = History::new(0);
        history.push(3, b"<3>");
        assert_eq!((history.newest, history.after(3)), (3, Some(&b""[..])));
        assert_eq!(history.after(2), None);
    }
}
