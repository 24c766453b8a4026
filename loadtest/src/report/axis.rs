//! Axes: from where to where they go, and where their ticks are.

use super::format::{Multiple, grouped, multiple_for, multiples, tick};
use crate::outcome::{Axis, Unit};

/// An axis fitted to its values.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    /// The value at its beginning.
    pub(super) low: f64,
    /// The value at its end, larger than `low`.
    pub(super) high: f64,
    /// Whether equal distances are equal factors.
    pub(super) logarithmic: bool,
    /// Where it is marked, rising.
    pub(super) ticks: Vec<Tick>,
    /// The unit of the ticks' numbers; empty if each tick says its own.
    pub(super) unit: &'static str,
}

/// A mark at an axis.
#[derive(Clone, Debug)]
pub(super) struct Tick {
    /// Where it is.
    pub(super) value: f64,
    /// What stands there; empty for a small mark between two others.
    pub(super) label: String,
}

/// Where an axis begins and ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// At the first and the last value, or at a tick that is near.
    Values,
    /// At a tick, and zero is on it unless it is logarithmic.
    Zero,
}

impl Scale {
    /// Fits an axis to the smallest and the largest of its values, with about `ticks_max` labels.
    /// Without values it goes from 0 to 1, or from 1 to 10.
    pub(super) fn new(
        axis: &Axis,
        values: Option<(f64, f64)>,
        reach: Reach,
        ticks_max: usize,
    ) -> Self {
        let ticks_max = ticks_max.max(2);
        match (axis.logarithmic, axis.unit) {
            (true, Unit::Bytes) => binary(values.unwrap_or((1.0, 1024.0)), ticks_max),
            (true, unit) => decimal(values.unwrap_or((1.0, 10.0)), unit, ticks_max),
            (false, unit) => linear(values.unwrap_or((0.0, 1.0)), unit, reach, ticks_max),
        }
    }

    /// Whether an axis can show a value.
    pub(super) fn can_show(axis: &Axis, value: f64) -> bool {
        let is_positive = MAGNITUDE_MIN <= value;
        value.is_finite() && value.abs() <= MAGNITUDE_MAX && (is_positive || !axis.logarithmic)
    }

    /// Where a value is, from 0 at the beginning to 1 at the end.
    pub(super) fn part(&self, value: f64) -> f64 {
        let part = match self.logarithmic {
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        part.clamp(0.0, 1.0)
    }

    /// The ticks that have a label.
    pub(super) fn labelled(&self) -> impl DoubleEndedIterator<Item = &Tick> {
        self.ticks.iter().filter(|tick| !tick.label.is_empty())
    }
}

/// An axis with equal distances for equal differences.
fn linear(values: (f64, f64), unit: Unit, reach: Reach, ticks_max: usize) -> Scale {
    let (low, high) = widened(values, reach);
    let multiple = axis_multiple(unit, low, high);
    // From here on in the multiple, so that the steps are nice in it: 512 KiB and not 500,000 B.
    let (mut low, mut high) = (low / multiple.factor, high / multiple.factor);
    let mut step = nice_step(high - low, ticks_max);
    if unit == Unit::Count && multiple.factor == 1.0 && 1.0 <= high - low {
        step = step.max(1.0);
    }
    let (below, above) =
        ((low / step + EPSILON).floor() * step, (high / step - EPSILON).ceil() * step);
    let near = if reach == Reach::Zero { f64::INFINITY } else { (high - low) * NEAR_TICK };
    low = if low - below <= near { below } else { low };
    high = if above - high <= near { above } else { high };
    let decimals = (-(step.log10() + EPSILON).floor()).clamp(0.0, 12.0) as usize;
    let suffix = if counts(unit) { multiple.name } else { "" };
    let ticks = steps(low, high, step).into_iter().map(|value| {
        let is_zero = value.abs() < step / 2.0;
        let number = if is_zero { "0".to_owned() } else { grouped(value, decimals) + suffix };
        Tick { value: value * multiple.factor, label: number }
    });
    let ticks = ticks.collect();
    let (low, high) = (low * multiple.factor, high * multiple.factor);
    let unit = match unit {
        Unit::Count => "",
        Unit::PerSecond => "/s",
        Unit::Ratio => "×",
        Unit::Bytes | Unit::Seconds | Unit::Share => multiple.name,
    };
    Scale { low, high, logarithmic: false, ticks, unit }
}

/// Where a linear axis begins and ends before its ticks are known: never at one place.
fn widened((low, high): (f64, f64), reach: Reach) -> (f64, f64) {
    let has_zero = reach == Reach::Zero || (0.0 <= low && low <= high * NEAR_ZERO);
    let (low, high) = if has_zero { (low.min(0.0), high.max(0.0)) } else { (low, high) };
    let largest = low.abs().max(high.abs());
    if largest < MAGNITUDE_MIN {
        return (0.0, 1.0);
    }
    if high - low < largest * SPAN_MIN {
        return (low - largest / 2.0, high + largest / 2.0);
    }
    (low, high)
}

/// The multiple of a unit in which a linear axis counts.
fn axis_multiple(unit: Unit, low: f64, high: f64) -> Multiple {
    let largest = low.abs().max(high.abs());
    if counts(unit) && largest < COUNT_IN_FULL_MAX {
        return Multiple { factor: 1.0, name: "" };
    }
    let multiple = multiple_for(largest, multiples(unit));
    // Values that differ by little do not differ in a multiple that is much larger.
    match high - low < multiple.factor / 1000.0 {
        true => multiple_for(high - low, multiples(unit)),
        false => multiple,
    }
}

/// An axis with equal distances for equal factors, and ticks at powers of ten.
fn decimal((low, high): (f64, f64), unit: Unit, ticks_max: usize) -> Scale {
    let (mut low, mut high) = (nice_below(low), nice_above(high));
    if high <= low * (1.0 + EPSILON) {
        (low, high) = (nice_below(low / 1.5), nice_above(high * 1.5));
    }
    let decades = (high / low).log10();
    let fits = |values: &Vec<f64>| (2..=ticks_max + 1).contains(&values.len());
    let close =
        (decades < 1.0 - EPSILON).then(|| steps(low, high, nice_step(high - low, ticks_max)));
    let halves = (decades < HALVES_DECADES).then(|| powers(low, high, &[1.0, 2.0, 5.0], 1));
    let whole = [1, 2, 3, 5, 10, 20].into_iter().map(|every| powers(low, high, &[1.0], every));
    let labelled = close.into_iter().chain(halves).chain(whole).find(fits);
    let labelled = labelled.unwrap_or_else(|| vec![low, high]);
    let between = match decades {
        _ if decades < 1.0 - EPSILON => Vec::new(),
        _ if decades <= DIGITS_DECADES => {
            powers(low, high, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 1)
        }
        _ => powers(low, high, &[1.0], 1),
    };
    logarithmic(low, high, unit, labelled, between)
}

/// An axis with equal distances for equal factors, and ticks at powers of two.
fn binary((low, high): (f64, f64), ticks_max: usize) -> Scale {
    let (mut first, mut last) =
        ((low.log2() + EPSILON).floor() as i32, (high.log2() - EPSILON).ceil() as i32);
    if last <= first {
        (first, last) = (first - 1, last + 1);
    }
    let every = |every: i32| {
        let exponents = (first..=last).filter(move |exponent| exponent.rem_euclid(every) == 0);
        exponents.map(|exponent| 2f64.powi(exponent)).collect::<Vec<_>>()
    };
    let (low, high) = (2f64.powi(first), 2f64.powi(last));
    let fits = |values: &Vec<f64>| (2..=ticks_max + 1).contains(&values.len());
    let labelled = [1, 2, 5, 10, 20, 50].into_iter().map(every).find(fits);
    let between = if last - first <= POWERS_MAX { every(1) } else { Vec::new() };
    logarithmic(low, high, Unit::Bytes, labelled.unwrap_or_else(|| vec![low, high]), between)
}

/// A logarithmic axis of its ticks with and without a label.
fn logarithmic(low: f64, high: f64, unit: Unit, labelled: Vec<f64>, between: Vec<f64>) -> Scale {
    let is_same = |a: f64, b: f64| (a / b - 1.0).abs() < EPSILON;
    let is_labelled = |value: &f64| labelled.iter().any(|other| is_same(*value, *other));
    let between = between.into_iter().filter(|value| !is_labelled(value));
    let mut ticks: Vec<_> = between.map(|value| Tick { value, label: String::new() }).collect();
    ticks.extend(labelled.iter().map(|value| Tick { value: *value, label: tick(*value, unit) }));
    ticks.sort_by(|a, b| a.value.total_cmp(&b.value));
    let unit = match unit {
        Unit::Bytes | Unit::Count | Unit::Seconds | Unit::Share => "",
        Unit::PerSecond => "/s",
        Unit::Ratio => "×",
    };
    Scale { low, high, logarithmic: true, ticks, unit }
}

/// The step of 1, 2 or 5 times a power of ten that cuts a span into at most so many parts.
fn nice_step(span: f64, parts_max: usize) -> f64 {
    nice_above(span / parts_max as f64)
}

/// The multiples of a step between two values.
fn steps(low: f64, high: f64, step: f64) -> Vec<f64> {
    let first = (low / step - EPSILON).ceil();
    let last = (high / step + EPSILON).floor();
    let count = ((last - first).clamp(0.0, TICKS_MAX) as usize) + 1;
    (0..count).map(|index| (first + index as f64) * step).collect()
}

/// Each power of ten whose exponent is a multiple of `every`, times each digit, between two values.
fn powers(low: f64, high: f64, digits: &[f64], every: i32) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let exponents = (first..=last).filter(|exponent| exponent.rem_euclid(every) == 0);
    let values = exponents.flat_map(|exponent| digits.iter().map(move |d| d * ten_to(exponent)));
    let is_between =
        |value: &f64| low * (1.0 - EPSILON) <= *value && *value <= high * (1.0 + EPSILON);
    values.filter(is_between).collect()
}

/// The largest of 1, 2 and 5 times a power of ten that is not above a value.
fn nice_below(value: f64) -> f64 {
    let power = ten_to((value.log10() + EPSILON).floor() as i32);
    let is_below = |nice: &f64| *nice <= value * (1.0 + EPSILON);
    [5.0, 2.0].map(|digit| digit * power).into_iter().find(is_below).unwrap_or(power)
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below a value.
fn nice_above(value: f64) -> f64 {
    let power = ten_to((value.log10() + EPSILON).floor() as i32);
    let is_above = |nice: &f64| value * (1.0 - EPSILON) <= *nice;
    [1.0, 2.0, 5.0].map(|digit| digit * power).into_iter().find(is_above).unwrap_or(10.0 * power)
}

/// A power of ten as it is read: `10f64.powi(-5)` is not `1e-5`.
fn ten_to(exponent: i32) -> f64 {
    format!("1e{exponent}").parse().unwrap_or_else(|_| 10f64.powi(exponent))
}

/// Whether a unit is of things that are counted, whose multiples are prefixes only.
fn counts(unit: Unit) -> bool {
    matches!(unit, Unit::Count | Unit::PerSecond)
}

/// Values that are nearer to zero are drawn as zero, and not at all on a logarithmic axis: the
/// arithmetic of ticks needs a few decades to the ends of f64.
const MAGNITUDE_MIN: f64 = 1e-30;

/// Values that are further from zero are not drawn: no unit of ours reaches them.
const MAGNITUDE_MAX: f64 = 1e30;

/// Values that differ by a smaller part of the largest are one value: f64 has 15 digits, and the
/// ticks between them need some.
const SPAN_MIN: f64 = 1e-9;

/// What rounding errors of a quotient are smaller than.
const EPSILON: f64 = 1e-9;

/// A horizontal axis begins at zero if its first value is not above this part of its last.
const NEAR_ZERO: f64 = 0.25;

/// A horizontal axis ends at a tick if its last value is nearer than this part of its length: a run
/// of a minute has its last sample a bit before.
const NEAR_TICK: f64 = 0.03;

/// Counts below it are shown in full: `5,000` but `10k`.
const COUNT_IN_FULL_MAX: f64 = 10_000.0;

/// Over more decades than this the ticks at 2 and 5 have no label.
const HALVES_DECADES: f64 = 2.5;

/// Over more decades than this the ticks at 2 to 9 are too dense.
const DIGITS_DECADES: f64 = 6.0;

/// Over more powers of two than this the ticks without a label are too dense.
const POWERS_MAX: i32 = 40;

/// More ticks than any step asks for: a bound for the loop.
const TICKS_MAX: f64 = 50.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(unit: Unit, logarithmic: bool, reach: Reach, values: (f64, f64), max: usize) -> Scale {
        let axis = Axis { label: String::new(), unit, logarithmic };
        Scale::new(&axis, Some(values), reach, max)
    }

    fn labels(scale: &Scale) -> String {
        scale.labelled().map(|tick| tick.label.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn linear_ticks_are_nice_in_the_unit() {
        for (unit, high, text, suffix) in [
            (Unit::Seconds, 0.0078, "0 2 4 6 8", "ms"),
            (Unit::Seconds, 600.0, "0 200 400 600", "s"),
            (Unit::Seconds, 2.3e-7, "0 50 100 150 200 250", "ns"),
            (Unit::Bytes, 1_500_000.0, "0 0.5 1.0 1.5", "MiB"),
            (Unit::Bytes, 900.0, "0 200 400 600 800 1,000", "B"),
            (Unit::Count, 3.0, "0 1 2 3", ""),
            (Unit::Count, 9_000.0, "0 2,000 4,000 6,000 8,000 10,000", ""),
            (Unit::Count, 100_000.0, "0 20k 40k 60k 80k 100k", ""),
            (Unit::PerSecond, 1_400_000.0, "0 0.5M 1.0M 1.5M", "/s"),
            (Unit::Ratio, 1.1, "0 0.5 1.0 1.5", "×"),
            (Unit::Share, 0.031, "0 1 2 3 4", "%"),
            (Unit::Seconds, 0.0008, "0 200 400 600 800", "µs"),
            (Unit::Share, 1.0, "0 20 40 60 80 100", "%"),
        ] {
            let scale = fit(unit, false, Reach::Zero, (high / 2.0, high), 5);
            assert_eq!((labels(&scale).as_str(), scale.unit), (text, suffix), "{unit:?} {high}");
            assert!(scale.low == 0.0 && high * (1.0 - 1e-9) <= scale.high);
        }
    }

    #[test]
    fn a_vertical_axis_has_zero_and_what_is_below() {
        let scale = fit(Unit::Bytes, false, Reach::Zero, (-2_000_000.0, 5_000_000.0), 5);
        assert_eq!(labels(&scale), "-2 0 2 4 6");
        assert!((scale.part(0.0) - 0.25).abs() < 1e-9);
        let scale = fit(Unit::Count, false, Reach::Zero, (-30.0, -10.0), 3);
        assert_eq!(labels(&scale), "-30 -20 -10 0");
    }

    #[test]
    fn a_horizontal_axis_ends_with_its_values() {
        let scale = fit(Unit::Seconds, false, Reach::Values, (31.0, 58.0), 5);
        assert_eq!((scale.low, scale.high), (31.0, 58.0));
        assert_eq!(labels(&scale), "40 50");
        let scale = fit(Unit::Seconds, false, Reach::Values, (1.0, 60.0), 6);
        assert_eq!((scale.low, scale.high), (0.0, 60.0));
        let scale = fit(Unit::Seconds, false, Reach::Values, (0.0, 599.0), 6);
        assert_eq!((labels(&scale).as_str(), scale.high), ("0 100 200 300 400 500 600", 600.0));
        let scale = fit(Unit::Seconds, false, Reach::Values, (1.7e9, 1.7e9 + 10.0), 2);
        assert_eq!(labels(&scale), "1,700,000,000 1,700,000,005 1,700,000,010");
    }

    #[test]
    fn logarithmic_ticks_are_decades() {
        for (unit, low, high, text) in [
            (Unit::Count, 100.0, 10_000.0, "100 200 500 1k 2k 5k 10k"),
            (Unit::Count, 3.0, 90_000.0, "10 100 1k 10k 100k"),
            (Unit::Seconds, 1.2e-6, 0.8, "1 µs 10 µs 100 µs 1 ms 10 ms 100 ms 1 s"),
            (Unit::Share, 1e-5, 0.5, "0.001 % 0.01 % 0.1 % 1 % 10 %"),
            (Unit::Share, 0.5, 0.99, "50 % 60 % 70 % 80 % 90 % 100 %"),
            (Unit::Ratio, 1.0, 1.0, "0.5 1 1.5 2"),
            (Unit::Count, 1.0, 1e30, "1 100k 10G 1,000,000G 100,000,000,000G 1.00e16G 1.00e21G"),
            (Unit::Bytes, 4000.0, 300_000.0, "4 KiB 16 KiB 64 KiB 256 KiB"),
        ] {
            let scale = fit(unit, true, Reach::Zero, (low, high), 7);
            assert_eq!(labels(&scale), text, "{unit:?} {low} {high}");
        }
        let scale = fit(Unit::Count, true, Reach::Values, (1.0, 1000.0), 7);
        assert_eq!(scale.ticks.len(), 28);
        assert!((scale.part(10.0) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn any_values_have_an_axis() {
        let extremes =
            [0.0, 1e-30, 1e-12, 0.3, 1.0, 1.0 + 1e-12, 999.9999999, 1023.0, 1e9, 1e18, 1e30];
        let values = extremes.into_iter().chain(extremes.map(|value| -value));
        let values: Vec<_> = values.collect();
        for unit in UNITS {
            for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))) {
                for (logarithmic, reach) in [
                    (false, Reach::Zero),
                    (false, Reach::Values),
                    (true, Reach::Zero),
                    (true, Reach::Values),
                ] {
                    let axis = Axis { label: String::new(), unit, logarithmic };
                    if b < a || ![a, b].into_iter().all(|v| Scale::can_show(&axis, v)) {
                        continue;
                    }
                    for ticks_max in [0, 2, 5, 8] {
                        let scale = Scale::new(&axis, Some((a, b)), reach, ticks_max);
                        check(&scale, a, b, ticks_max);
                    }
                }
            }
        }
    }

    /// Whether an axis is as it should be for any values.
    #[track_caller]
    fn check(scale: &Scale, low: f64, high: f64, ticks_max: usize) {
        let what = || format!("{low} {high} {ticks_max} {scale:?}");
        assert!(scale.low.is_finite() && scale.high.is_finite(), "{}", what());
        assert!(scale.low < scale.high, "{}", what());
        let size = scale.low.abs().max(scale.high.abs()) * 1e-8;
        assert!(scale.low <= low + size && high <= scale.high + size, "{}", what());
        let is_inside = |tick: &Tick| (scale.low - size..=scale.high + size).contains(&tick.value);
        assert!(scale.ticks.iter().all(is_inside), "{}", what());
        let count = scale.labelled().count();
        assert!((1..=ticks_max.max(2) + 2).contains(&count), "{}", what());
        assert!(scale.ticks.len() <= 64, "{}", what());
        assert!(scale.ticks.is_sorted_by(|a, b| a.value < b.value), "{}", what());
        assert!((0.0..=1.0).contains(&scale.part(low)), "{}", what());
    }

    #[test]
    fn no_values_have_an_axis() {
        for (logarithmic, text) in [(false, "0 0.2 0.4 0.6 0.8 1.0"), (true, "1 2 5 10")] {
            let axis = Axis { label: String::new(), unit: Unit::Ratio, logarithmic };
            assert_eq!(labels(&Scale::new(&axis, None, Reach::Zero, 5)), text);
        }
    }

    #[test]
    fn what_cannot_be_shown_is_known() {
        let mut axis = Axis { label: String::new(), unit: Unit::Count, logarithmic: false };
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -1e31] {
            assert!(!Scale::can_show(&axis, value));
        }
        assert!(Scale::can_show(&axis, 0.0) && Scale::can_show(&axis, -5.0));
        axis.logarithmic = true;
        for value in [f64::NAN, f64::INFINITY, 0.0, -1.0, f64::MIN_POSITIVE] {
            assert!(!Scale::can_show(&axis, value));
        }
        assert!(Scale::can_show(&axis, 1e-12));
    }

    const UNITS: [Unit; 6] =
        [Unit::Seconds, Unit::Bytes, Unit::Count, Unit::PerSecond, Unit::Ratio, Unit::Share];
}
