//! Line plots as SVG, in light and in dark.
//!
//! A plotting crate writes colours into the picture; these name CSS variables, so that the one
//! picture follows the reader's scheme.

use super::{
    axis::{Reach, Scale},
    format::figure,
    markup::escape,
    trace::{Spot, Trace, thinned, traces},
};
use crate::outcome::{Axis, Line, Plot};

/// The style that the pictures need.
pub(super) const STYLE: &str = include_str!("plot.css");

/// For which width a plot is drawn. Both scale, but text that is scaled by half is not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// A column of a desk's screen.
    Wide,
    /// A phone.
    Narrow,
}

/// A plot as an element of a page that has [`STYLE`]. Its title is left to the page.
pub(super) fn svg(plot: &Plot, shape: Shape) -> String {
    let mut drawing = Drawing::new(plot, shape.width(), shape.height());
    drawing.draw();
    let (class, width, height) = (shape.class(), drawing.width, drawing.bottom);
    let label = escape(&label_of(plot));
    format!(
        "<svg class=\"plot {class}\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
         aria-label=\"{label}\">\n{}</svg>\n",
        drawing.out
    )
}

/// A plot as a file of its own, with its title and its style.
pub(crate) fn standalone_svg(plot: &Plot) -> String {
    let mut drawing = Drawing::new(plot, Shape::Wide.width(), Shape::Wide.height());
    drawing.title();
    drawing.draw();
    let (width, height) = (drawing.width + 2.0 * PADDING, drawing.bottom + 2.0 * PADDING);
    let label = escape(&label_of(plot));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" width=\"{width:.0}\" \
         height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
         aria-label=\"{label}\">\n<style>\n{STYLE}</style>\n\
         <rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"8\"/>\n\
         <g transform=\"translate({PADDING} {PADDING})\">\n{}</g>\n</svg>\n",
        width - 1.0,
        height - 1.0,
        drawing.out
    )
}

/// A plot in the making, from its top down.
struct Drawing<'a> {
    plot: &'a Plot,
    /// The lines as far as they can be shown.
    traces: Vec<Trace>,
    /// The width of the whole.
    width: f64,
    /// The height of the part with the lines.
    height: f64,
    /// Down to where something is drawn.
    bottom: f64,
    out: String,
}

/// Where the lines are.
struct Frame {
    x: Scale,
    y: Scale,
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl<'a> Drawing<'a> {
    /// An empty picture.
    fn new(plot: &'a Plot, width: f64, height: f64) -> Self {
        Self { plot, traces: traces(plot), width, height, bottom: 0.0, out: String::new() }
    }

    /// Writes the title over the rest.
    fn title(&mut self) {
        for row in wrapped(&self.plot.title, self.width / TITLE_LETTER_WIDTH) {
            self.text("title", 0.0, self.bottom + 15.0, &row);
            self.bottom += 20.0;
        }
        self.bottom += 6.0;
    }

    /// Draws all but the title.
    fn draw(&mut self) {
        self.legend();
        let frame = self.frame();
        self.axes(&frame);
        for (index, trace) in self.traces.iter().enumerate() {
            self.out.push_str(&drawn(self.plot, index, trace, &frame));
        }
        let drawn: usize = self.traces.iter().map(Trace::count).sum();
        if drawn == 0 {
            let (x, y) = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
            self.text("middle", x, y, "nothing to draw");
        }
        let left_out: usize = self.traces.iter().map(|trace| trace.left_out).sum();
        if 0 < left_out {
            let points = if left_out == 1 { "point" } else { "points" };
            let note = format!("Not drawn, as the axes cannot show it: {left_out} {points}.");
            self.bottom += LINE_HEIGHT;
            self.text("note", 0.0, self.bottom - 4.0, &note);
        }
    }

    /// Names the lines, in rows.
    fn legend(&mut self) {
        let mut x = 0.0;
        let lines = self.plot.lines.iter().enumerate();
        for (index, line) in lines.filter(|(_, line)| !line.name.is_empty()) {
            let name = shortened(&line.name, (self.width - SAMPLE_WIDTH) / LETTER_WIDTH);
            let width = SAMPLE_WIDTH + text_width(&name);
            if 0.0 < x && self.width < x + width {
                x = 0.0;
                self.bottom += LINE_HEIGHT;
            }
            let (y, end) = (self.bottom + 8.0, x + SAMPLE_LINE_WIDTH);
            let (line_class, mark_class) = (line_class(index), mark_class(index));
            let mark = mark(index, x + SAMPLE_LINE_WIDTH / 2.0, y);
            self.out.push_str(&format!(
                "<path class=\"{line_class}\" d=\"M{x:.1} {y:.1}H{end:.1}\"/>\
                 <path class=\"{mark_class}\" d=\"{mark}\"/>"
            ));
            self.text("name", x + SAMPLE_WIDTH - LEGEND_GAP, y + 4.0, &name);
            x += width;
        }
        self.bottom += if 0.0 < x { LINE_HEIGHT + 6.0 } else { 0.0 };
    }

    /// Fits the axes to the lines and the lines to the axes' labels.
    fn frame(&self) -> Frame {
        let plot = self.plot;
        let spots = || self.traces.iter().flat_map(Trace::spots);
        let y_range = range(spots().map(|spot| spot.y));
        let y = Scale::new(&plot.y, y_range, Reach::Zero, (self.height / Y_TICK_HEIGHT) as usize);
        let widest = y.labelled().map(|tick| text_width(&tick.label)).fold(0.0, f64::max);
        let (left, right) = (widest.min(self.width / 3.0) + 8.0, self.width - 10.0);
        let x_range = range(spots().map(|spot| spot.x));
        let fits = |x: &Scale| labels_fit(x, left, right, self.width);
        let x = (2..=X_TICKS_MAX)
            .rev()
            .map(|ticks_max| Scale::new(&plot.x, x_range, Reach::Values, ticks_max))
            .find(fits);
        let x = x.unwrap_or_else(|| Scale::new(&plot.x, x_range, Reach::Values, 1));
        let top = self.bottom + LINE_HEIGHT + 8.0;
        Frame { x, y, left, top, right, bottom: top + self.height }
    }

    /// Draws the grid, the axes, their ticks and their labels.
    fn axes(&mut self, frame: &Frame) {
        let Frame { left, top, right, bottom, .. } = *frame;
        let (mut grid, mut axis) = (String::new(), format!("M{left:.1} {bottom:.1}H{right:.1}"));
        for tick in &frame.y.ticks {
            let y = frame.y_of(tick.value);
            match tick.label.is_empty() {
                true => axis.push_str(&format!("M{left:.1} {y:.1}h-3")),
                false => grid.push_str(&format!("M{left:.1} {y:.1}H{right:.1}")),
            }
        }
        for tick in &frame.x.ticks {
            let (x, length) = (frame.x_of(tick.value), if tick.label.is_empty() { 3 } else { 5 });
            axis.push_str(&format!("M{x:.1} {bottom:.1}v{length}"));
            if !tick.label.is_empty() {
                grid.push_str(&format!("M{x:.1} {top:.1}V{bottom:.1}"));
            }
        }
        self.out.push_str(&format!("<path class=\"grid\" d=\"{grid}\"/>\n"));
        self.out.push_str(&format!("<path class=\"axis\" d=\"{axis}\"/>\n"));
        for tick in frame.y.labelled() {
            self.text("end", left - 7.0, frame.y_of(tick.value) + 4.0, &tick.label);
        }
        for tick in frame.x.labelled() {
            let x = label_middle(frame.x_of(tick.value), &tick.label, self.width);
            self.text("middle", x, bottom + 18.0, &tick.label);
        }
        let letters = self.width / LETTER_WIDTH;
        self.text("", 0.0, top - 14.0, &shortened(&axis_label(&self.plot.y, &frame.y), letters));
        let x_label = axis_label(&self.plot.x, &frame.x);
        self.text("end", right, bottom + 36.0, &shortened(&x_label, letters));
        self.bottom = bottom + 42.0;
    }

    /// Writes a text.
    fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escape(text);
        self.out.push_str(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>\n"
        ));
    }
}

impl Frame {
    /// Where a value is from left to right.
    fn x_of(&self, value: f64) -> f64 {
        self.left + self.x.part(value) * (self.right - self.left)
    }

    /// Where a value is from top to bottom.
    fn y_of(&self, value: f64) -> f64 {
        self.bottom - self.y.part(value) * (self.bottom - self.top)
    }
}

impl Shape {
    fn width(self) -> f64 {
        match self {
            Self::Wide => 560.0,
            Self::Narrow => 340.0,
        }
    }

    fn height(self) -> f64 {
        match self {
            Self::Wide => 250.0,
            Self::Narrow => 210.0,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }
}

/// A line and its marks.
fn drawn(plot: &Plot, index: usize, trace: &Trace, frame: &Frame) -> String {
    let Some(line) = plot.lines.get(index) else { return String::new() };
    let is_dense = MARKS_SHOWN_MAX < trace.count();
    let (mut path, mut marks) = (String::new(), String::new());
    for run in &trace.runs {
        let place = |spot: &Spot| (frame.x_of(spot.x), frame.y_of(spot.y));
        let spots = thinned(run, place);
        let mut command = 'M';
        // Lines that begin at one place do not have their marks at one place.
        let start = run.first().map_or(0.0, |spot| place(spot).0);
        let first_shown = start + 12.0 + 13.0 * (index % COLOURS) as f64;
        let (mut last, mut last_shown) =
            (f64::NEG_INFINITY, first_shown - MARKS_SHOWN_DISTANCE_MIN);
        for spot in &spots {
            let (x, y) = place(spot);
            path.push_str(&format!("{command}{x:.1} {y:.1}"));
            command = 'L';
            if is_dense && x - last < MARKS_DISTANCE_MIN {
                continue;
            }
            last = x;
            let is_shown =
                !is_dense || spots.len() == 1 || MARKS_SHOWN_DISTANCE_MIN <= x - last_shown;
            let hidden = if is_shown { "" } else { " hidden" };
            last_shown = if is_shown { x } else { last_shown };
            let (class, title) = (mark_class(index), escape(&title_of(plot, line, spot)));
            let mark = mark(index, x, y);
            marks.push_str(&format!(
                "<path class=\"{class}{hidden}\" d=\"{mark}\"><title>{title}</title></path>\n"
            ));
        }
    }
    format!("<path class=\"{}\" d=\"{path}\"/>\n{marks}", line_class(index))
}

/// What a mark says when it is pointed at.
fn title_of(plot: &Plot, line: &Line, spot: &Spot) -> String {
    let (x, y) = (figure(spot.x, plot.x.unit), figure(spot.y, plot.y.unit));
    format!("{}\n{}: {x}\n{}: {y}", line.name, plot.x.label, plot.y.label)
}

/// What a plot is for who does not see it.
fn label_of(plot: &Plot) -> String {
    let names: Vec<_> = plot.lines.iter().map(|line| line.name.as_str()).collect();
    format!("{}: {} over {}. Lines: {}.", plot.title, plot.y.label, plot.x.label, names.join(", "))
}

/// What an axis measures, and in which unit.
fn axis_label(axis: &Axis, scale: &Scale) -> String {
    let says_unit = scale.unit == "/s" && axis.label.contains("per second");
    match scale.unit {
        "" => axis.label.clone(),
        _ if says_unit => axis.label.clone(),
        unit if axis.label.is_empty() => unit.to_owned(),
        unit => format!("{} ({unit})", axis.label),
    }
}

/// A small shape about a place, one of four.
fn mark(index: usize, x: f64, y: f64) -> String {
    match index % 4 {
        0 => format!("M{:.1} {y:.1}a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", x - 3.0),
        1 => format!("M{:.1} {:.1}h5.4v5.4h-5.4z", x - 2.7, y - 2.7),
        2 => format!("M{x:.1} {:.1}l3.6 6.2h-7.2z", y - 3.9),
        _ => format!("M{x:.1} {:.1}l3.8 3.8l-3.8 3.8l-3.8-3.8z", y - 3.8),
    }
}

/// The classes of a line. After the last colour the first comes again with dashes.
fn line_class(index: usize) -> String {
    let (colour, dashes) = (index % COLOURS + 1, index / COLOURS % 3);
    format!("line line-{colour} dashes-{dashes}")
}

/// The classes of a line's marks.
fn mark_class(index: usize) -> String {
    format!("mark line-{}", index % COLOURS + 1)
}

/// Where the label of a tick is centred: at the tick, but in the picture.
fn label_middle(x: f64, label: &str, width: f64) -> f64 {
    let half = text_width(label) / 2.0;
    x.min(width - half).max(half)
}

/// Whether the labels of a horizontal axis do not touch.
fn labels_fit(scale: &Scale, left: f64, right: f64, width: f64) -> bool {
    let mut end = f64::NEG_INFINITY;
    scale.labelled().all(|tick| {
        let x = left + scale.part(tick.value) * (right - left);
        let (x, half) = (label_middle(x, &tick.label, width), text_width(&tick.label) / 2.0);
        let is_free = end + LABEL_GAP <= x - half;
        end = x + half;
        is_free
    })
}

/// The smallest and the largest of some values.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// A text in rows of at most so many letters where words allow it.
fn wrapped(text: &str, letters_max: f64) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match rows.last_mut() {
            Some(row)
                if ((row.chars().count() + 1 + word.chars().count()) as f64) <= letters_max =>
            {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(shortened(word, letters_max)),
        }
    }
    rows
}

/// A text of at most so many letters.
fn shortened(text: &str, letters_max: f64) -> String {
    let letters_max = letters_max as usize;
    if text.chars().count() <= letters_max {
        return text.to_owned();
    }
    text.chars().take(letters_max.saturating_sub(1)).chain(['…']).collect()
}

/// About how wide a text is: nothing measures it before a browser does.
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER_WIDTH
}

/// The colours in [`STYLE`].
const COLOURS: usize = 6;

/// A digit of 12 px in DejaVu Sans, a wide font; most letters are narrower.
const LETTER_WIDTH: f64 = 7.7;

/// A letter of the title.
const TITLE_LETTER_WIDTH: f64 = 9.0;

/// The height of a row of text.
const LINE_HEIGHT: f64 = 18.0;

/// The line before a name in the legend.
const SAMPLE_LINE_WIDTH: f64 = 24.0;

/// What a name in the legend has beside itself: its line, and the gap to the next.
const SAMPLE_WIDTH: f64 = SAMPLE_LINE_WIDTH + 6.0 + LEGEND_GAP;

/// Between two names in the legend.
const LEGEND_GAP: f64 = 14.0;

/// Between two labels of the horizontal axis.
const LABEL_GAP: f64 = 6.0;

/// Around a plot in a file of its own.
const PADDING: f64 = 16.0;

/// Labels of the vertical axis are not closer.
const Y_TICK_HEIGHT: f64 = 40.0;

/// More labels than this are noise.
const X_TICKS_MAX: usize = 8;

/// A line of more points is seen as a line: only some of its marks show, the others when they are
/// pointed at.
const MARKS_SHOWN_MAX: usize = 40;

/// Between two marks of such a line.
const MARKS_DISTANCE_MIN: f64 = 8.0;

/// Between two of them that show.
const MARKS_SHOWN_DISTANCE_MIN: f64 = 80.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{outcome::Unit, report::markup::tests::problem};

    fn axis(unit: Unit, logarithmic: bool) -> Axis {
        Axis { label: format!("{unit:?}"), unit, logarithmic }
    }

    fn plot(x: Axis, y: Axis, lines: &[&[(f64, f64)]]) -> Plot {
        let lines = lines.iter().enumerate().map(|(index, points)| Line {
            name: format!("line <{index}>"),
            points: points.to_vec(),
        });
        Plot { title: "a & b".to_owned(), x, y, lines: lines.collect() }
    }

    /// All pictures of a plot, each checked: well formed, and every number a number in the picture.
    fn pictures(plot: &Plot) -> [String; 3] {
        let pictures = [svg(plot, Shape::Wide), svg(plot, Shape::Narrow), standalone_svg(plot)];
        for picture in &pictures {
            assert_eq!(problem(picture), None, "{picture}");
            for bad in ["NaN", "inf"] {
                assert!(!picture.contains(bad), "{bad} in {picture}");
            }
            for path in picture.split(" d=\"").skip(1) {
                let path = path.split('"').next().unwrap_or_default();
                let numbers = path.split(|c: char| !"0123456789.-".contains(c));
                for number in numbers.filter(|number| !number.is_empty()) {
                    let parts = number.split('-').filter(|part| !part.is_empty());
                    for part in parts.map(str::parse::<f64>) {
                        assert!(part.is_ok_and(|part| part < 700.0), "{number} in {path}");
                    }
                }
            }
        }
        pictures
    }

    #[test]
    fn a_plot_has_its_lines_marks_and_labels() {
        let points = [(1.0, 0.001), (10.0, 0.002), (100.0, 0.01)];
        let plot =
            plot(axis(Unit::Count, true), axis(Unit::Seconds, false), &[&points, &points[..2]]);
        for picture in pictures(&plot) {
            assert_eq!(picture.matches("<title>").count(), 5);
            let title = "<title>line &lt;1&gt;\nCount: 10\nSeconds: 2.00 ms</title>";
            assert!(picture.contains(title), "{picture}");
            for text in [">Seconds (ms)</text>", ">Count</text>", ">100</text>", ">10</text>"] {
                assert!(picture.contains(text), "{text} in {picture}");
            }
        }
        assert!(standalone_svg(&plot).contains(">a &amp; b</text>"));
        assert!(standalone_svg(&plot).contains("prefers-color-scheme: dark"));
        assert!(!svg(&plot, Shape::Wide).contains("<style>"));
    }

    #[test]
    fn points_are_where_their_values_are() {
        let points = [(0.0, 0.0), (50.0, 50.0), (100.0, 100.0)];
        let plot = plot(axis(Unit::Ratio, false), axis(Unit::Ratio, false), &[&points]);
        let picture = svg(&plot, Shape::Wide);
        let line = picture.split("dashes-0\" d=\"").last().unwrap_or_default();
        let line = line.split('"').next().unwrap_or_default();
        let places: Vec<Vec<f64>> = line
            .split(['M', 'L'])
            .skip(1)
            .map(|place| place.split(' ').filter_map(|number| number.parse().ok()).collect())
            .collect();
        let [first, middle, last] = &places[..] else { panic!("{line}") };
        assert!(first[0] < last[0] && last[1] < first[1]);
        assert!((middle[0] - (first[0] + last[0]) / 2.0).abs() < 0.11);
        assert!((middle[1] - (first[1] + last[1]) / 2.0).abs() < 0.11);
        assert!((first[1] - last[1] - Shape::Wide.height()).abs() < 0.11);
    }

    #[test]
    fn a_point_that_cannot_be_shown_is_counted_and_leaves_a_gap() {
        let points = [(1.0, 1.0), (2.0, f64::NAN), (0.0, 1.0), (3.0, 2.0), (4.0, 2.0)];
        let plot = plot(axis(Unit::Count, true), axis(Unit::Bytes, false), &[&points]);
        for picture in pictures(&plot) {
            assert!(picture.contains("cannot show it: 2 points."), "{picture}");
            let line = picture.split("dashes-0\" d=\"").last().unwrap_or_default();
            let line = line.split('"').next().unwrap_or_default();
            assert_eq!((line.matches('M').count(), line.matches('L').count()), (2, 1));
        }
    }

    #[test]
    fn degenerate_plots_are_drawn() {
        let huge = [(1e-300, 1e300), (1.0, 1e18), (1e30, 1e-30), (f64::MAX, f64::MIN)];
        let odd = [(f64::NAN, 1.0), (f64::INFINITY, f64::NEG_INFINITY), (-1.0, -5.0)];
        let many: Vec<_> = (0..5_000).map(|i| (f64::from(i), f64::from(i % 997))).collect();
        let cases: [&[&[(f64, f64)]]; 9] = [
            &[],
            &[&[]],
            &[&[(1.0, 1.0)]],
            &[&[(0.0, 0.0)], &[]],
            &[&[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)]],
            &[&[(5.0, 1.0), (5.0, 2.0)]],
            &[&huge],
            &[&odd, &huge],
            &[&many],
        ];
        let units =
            [Unit::Seconds, Unit::Bytes, Unit::Count, Unit::PerSecond, Unit::Ratio, Unit::Share];
        for lines in cases {
            for unit in units {
                for (x, y) in [(false, false), (true, false), (false, true), (true, true)] {
                    let drawn = pictures(&plot(axis(unit, x), axis(unit, y), lines));
                    assert!(drawn.iter().all(|picture| picture.len() < 200_000));
                }
            }
        }
        let [picture, ..] =
            pictures(&plot(axis(Unit::Count, false), axis(Unit::Count, false), &[]));
        assert!(picture.contains("nothing to draw"));
    }

    #[test]
    fn long_and_many_names_are_drawn() {
        let points: &[(f64, f64)] = &[(1.0, 1.0), (2.0, 2.0)];
        let mut plot = plot(axis(Unit::Count, false), axis(Unit::Share, false), &[points; 20]);
        plot.title = "many words in a title ".repeat(20) + &"x".repeat(300);
        plot.lines[3].name = "name ".repeat(60);
        plot.lines[4].name = String::new();
        plot.y.label = "label ".repeat(60);
        for picture in pictures(&plot) {
            assert!(picture.contains('…'));
            let longest = picture.lines().filter_map(|line| line.strip_suffix("</text>"));
            let longest = longest.filter_map(|line| line.rsplit('>').next()).map(str::len).max();
            assert!(longest.is_some_and(|bytes| bytes < 90), "{longest:?}");
        }
        let classes: Vec<_> = (0..18).map(|index| (line_class(index), index % 4)).collect();
        let is_new = |index: usize| !classes[..index].contains(&classes[index]);
        assert!((0..18).all(is_new));
    }

    #[test]
    fn labels_of_the_horizontal_axis_do_not_touch() {
        let points: &[(f64, f64)] = &[(0.0, 1.0), (123_456_789.0, 2.0)];
        for unit in [Unit::Count, Unit::Seconds, Unit::Bytes] {
            let plot = plot(axis(unit, false), axis(Unit::Count, false), &[points]);
            for width in [Shape::Wide.width(), Shape::Narrow.width()] {
                let drawing = Drawing::new(&plot, width, 200.0);
                let frame = drawing.frame();
                assert!(labels_fit(&frame.x, frame.left, frame.right, width));
                assert!(3 <= frame.x.labelled().count());
            }
        }
        let crowded = Scale::new(&axis(Unit::Count, false), Some((0.0, 9e9)), Reach::Zero, 20);
        assert!(!labels_fit(&crowded, 0.0, 200.0, 200.0));
    }
}
