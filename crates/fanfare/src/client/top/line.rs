//! A line of the view: spans of text with a tone, and what is drawn with letters.

use crate::client::amount::width;

/// A line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Line {
    /// What stands in it, from the left.
    pub(super) spans: Vec<(Tone, String)>,
}

/// How a text is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tone {
    /// As it is.
    Plain,
    /// What is looked for.
    Strong,
    /// What is only there so that the rest is understood.
    Faint,
    /// The head of a table.
    Head,
    /// Fine.
    Good,
    /// Should be known.
    Warning,
    /// Should be changed.
    Bad,
}

impl Line {
    /// A line with nothing but this.
    pub(super) fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self { spans: vec![(tone, text.into())] }
    }

    /// The same line with one more text.
    pub(super) fn with(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.spans.push((tone, text.into()));
        self
    }

    /// The same line, filled with spaces up to this column.
    pub(super) fn padded_to(self, column: usize) -> Self {
        let missing = column.saturating_sub(self.width());
        self.with(Tone::Plain, " ".repeat(missing))
    }

    /// The same line and another one at its end.
    pub(super) fn join(mut self, other: Self) -> Self {
        self.spans.extend(other.spans);
        self
    }

    /// The columns that it takes.
    pub(super) fn width(&self) -> usize {
        self.spans.iter().map(|(_, text)| width(text)).sum()
    }

    /// As much of it as there is space for; what is cut off ends with an ellipsis.
    pub(super) fn clipped(self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut left = columns.saturating_sub(1);
        let mut clipped = Self::default();
        for (tone, text) in self.spans {
            let whole = width(&text);
            if whole <= left {
                left -= whole;
                clipped.spans.push((tone, text));
                continue;
            }
            let mut part = String::new();
            for character in text.chars() {
                let wide = width(character.encode_utf8(&mut [0; 4]));
                if left < wide {
                    break;
                }
                left -= wide;
                part.push(character);
            }
            part.extend((0 < columns).then_some('…'));
            clipped.spans.push((tone, part));
            break;
        }
        clipped
    }

    /// Its text alone.
    pub(super) fn text(&self) -> String {
        let text: String = self.spans.iter().map(|(_, text)| text.as_str()).collect();
        text.trim_end().to_owned()
    }
}

/// A bar of this many columns, filled up to a percentage.
pub(super) fn bar(percent: u64, columns: usize) -> Line {
    let share = percent.min(100) as f64 / 100.0;
    // What is in use shows, however little it is.
    let least = usize::from(0 < percent);
    let filled = ((share * columns as f64).round() as usize).clamp(least, columns);
    Line::of(tone_of(percent), "█".repeat(filled)).with(Tone::Faint, "░".repeat(columns - filled))
}

/// What it means that so much of a bound is used.
pub(super) fn tone_of(percent: u64) -> Tone {
    match percent {
        ..80 => Tone::Good,
        80..95 => Tone::Warning,
        _ => Tone::Bad,
    }
}

/// The last numbers, the largest as high as a line.
pub(super) fn spark(
    numbers: impl DoubleEndedIterator<Item = f64> + Clone,
    columns: usize,
) -> String {
    let last: Vec<_> = numbers.rev().take(columns).collect();
    let largest = last.iter().copied().fold(0.0, f64::max);
    let step = |number: f64| {
        let height = if largest > 0.0 { number / largest * STEPS.len() as f64 } else { 0.0 };
        match height.ceil() as usize {
            0 => ' ',
            height => STEPS[height.min(STEPS.len()) - 1],
        }
    };
    let drawn: String = last.iter().rev().map(|number| step(*number)).collect();
    format!("{drawn:>columns$}")
}

const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_its_columns() {
        let line = || Line::of(Tone::Plain, "größe ").with(Tone::Bad, "新聞 news");
        assert_eq!(line().width(), 15);
        assert_eq!(line().clipped(15), line());
        for (columns, expected) in [
            (14, "größe 新聞 ne…"),
            (10, "größe 新…"),
            (9, "größe 新…"),
            (8, "größe …"),
            (1, "…"),
            (0, ""),
        ] {
            let clipped = line().clipped(columns);
            assert_eq!(clipped.text(), expected);
            assert!(clipped.width() <= columns);
        }
        assert_eq!(line().padded_to(20).width(), 20);
    }

    #[test]
    fn bars_show_that_something_is_used() {
        for (percent, expected) in
            [(0, "░░░░"), (1, "█░░░"), (50, "██░░"), (100, "████"), (250, "████")]
        {
            assert_eq!(bar(percent, 4).text(), expected);
        }
        assert_eq!(
            [0, 79, 80, 94, 95].map(tone_of).map(|t| t == Tone::Good),
            [true, true, false, false, false]
        );
        assert_eq!(tone_of(95), Tone::Bad);
    }

    #[test]
    fn the_largest_number_is_highest() {
        let numbers = [9.0, 0.0, 1.0, 8.0, 4.0];
        assert_eq!(spark(numbers.into_iter(), 4), " ▁█▄");
        assert_eq!(spark([0.0; 2].into_iter(), 4), "    ");
    }
}
