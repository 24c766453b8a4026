//! The project's bars, each measured beside its baseline: `make bench`.

use std::{fs, io, path::PathBuf};

use crate::{
    endpoint::Kind,
    outcome::{Outcome, Verdict},
    pairs::{Pair, Spread, alternate, ratio, run_on, spread},
    run::Common,
    scenario::{
        Scenario, burst::Burst, fanout::Fanout, idle::Idle, mixed::Mixed, narrow::Narrow,
        publish::Publish, storm::Storm,
    },
};

/// What is measured and how often.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BarsArgs {
    /// Only these bars, such as P1,P5
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = BARS)]
    only: Vec<String>,
    /// How often each server is measured; those that are over soon, twice as often
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// What the test of allocations printed when it passed, for P4
    #[arg(long, value_name = "FILE")]
    allocations: Option<PathBuf>,
}

/// What has been found so far.
#[derive(Debug)]
pub(crate) struct Bars {
    common: Common,
    args: BarsArgs,
    runs: usize,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) outcomes: Vec<Outcome>,
}

/// The bars that are measured.
const BARS: [&str; 11] = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11"];
const CPU_PER_DELIVERY: &str = "CPU per delivery";
const CPU_PER_EVENT: &str = "CPU per event";
/// The hub's name as a target.
const HUB: &str = "fanfare";

fn fanout(subscribers: usize, rate: f64, events: u64) -> Scenario {
    Scenario::Fanout(Fanout { subscribers, rate, events, size: 100, http2: None })
}

fn publish(channels: u32, connections: u32, events: u64, ndjson: bool) -> Scenario {
    Scenario::Publish(Publish { channels, connections, events, size: 100, ndjson })
}

/// Measures the bars that were asked for. One that cannot be measured is said so, and the others
/// are measured all the same.
pub(crate) fn measure(common: Common, args: BarsArgs) -> Bars {
    let only = args.only.clone();
    let runs = args.runs.into();
    let mut bars = Bars { common, args, runs, verdicts: Vec::new(), outcomes: Vec::new() };
    type Measure = fn(&mut Bars) -> io::Result<()>;
    let all: [(&str, Measure); 10] = [
        ("P1,P2", Bars::fan_out_and_burst),
        ("P3", Bars::memory_of_subscribers),
        ("P4", Bars::allocations),
        ("P5", Bars::latency),
        ("P6", Bars::flatness),
        ("P7", Bars::memory_of_channels),
        ("P8", Bars::narrow),
        ("P9", Bars::publishes),
        ("P10", Bars::storm),
        ("P11", Bars::mixed),
    ];
    for (names, measure) in all {
        let asked = names.split(',').any(|name| only.iter().any(|only| only == name));
        if (only.is_empty() || asked)
            && let Err(error) = measure(&mut bars)
        {
            bars.judge(names, "could not be measured", (error.to_string(), ""), None, []);
        }
    }
    bars
}

impl Bars {
    fn pairs(
        &mut self,
        hub: &Scenario,
        other: (Kind, &Scenario),
        runs: usize,
    ) -> io::Result<Vec<Pair>> {
        let pairs = alternate(&self.common, (Kind::Fanfare, hub), other, runs)?;
        for (a, b) in &pairs {
            self.outcomes.extend([a.clone(), b.clone()]);
        }
        Ok(pairs)
    }

    fn runs(&mut self, scenario: &Scenario, runs: usize) -> io::Result<Vec<Outcome>> {
        let run = |_| run_on(&self.common, Kind::Fanfare, scenario);
        let outcomes: Vec<Outcome> = (0..runs).map(run).collect::<io::Result<_>>()?;
        self.outcomes.extend(outcomes.iter().cloned());
        Ok(outcomes)
    }

    /// Gives a verdict on what was found in `outcomes`. A doubtful run among them makes it none, a
    /// run in which the hub was at fault makes the bar fail.
    fn judge<'a>(
        &mut self,
        bar: &str,
        what: &str,
        (found, asked): (String, &str),
        holds: Option<bool>,
        outcomes: impl IntoIterator<Item = &'a Outcome>,
    ) {
        let doubted = |outcome: &&Outcome| !outcome.complaints.is_empty();
        let doubted: Vec<&Outcome> = outcomes.into_iter().filter(doubted).collect();
        let is_hub = |outcome: &&&Outcome| outcome.faulty && outcome.target == HUB;
        let fault = doubted.iter().find(is_hub);
        let (found, holds) = match fault.or_else(|| doubted.first()) {
            None => (found, holds),
            Some(outcome) => {
                let Outcome { scenario, target, complaints, .. } = outcome;
                let found = format!("{found}, but {scenario} {target}: {}", complaints.join("; "));
                (found, fault.map(|_| false))
            }
        };
        let (bar, what, asked) = (bar.to_owned(), what.to_owned(), asked.to_owned());
        self.verdicts.push(Verdict { bar, what, found, asked, holds });
    }

    fn fan_out_and_burst(&mut self) -> io::Result<()> {
        let scenario = fanout(10_000, 4.0, 12);
        let pairs = self.pairs(&scenario, (Kind::BareLoop, &scenario), 2 * self.runs + 1)?;
        let found = ratio(&pairs, CPU_PER_DELIVERY);
        let what = "CPU per delivery, 10,000 subscribers, against the bare loop";
        let holds = found.map(|found| found.median <= 1.10);
        self.judge("P1", what, (times(found), "≤ 1.10 ×"), holds, both(&pairs));

        let burst =
            Burst { subscribers: 10_000, events: 400, seconds: 0.8, size: 100, http2: None };
        let bursts = self.runs(&Scenario::Burst(burst), self.runs)?;
        let loop_cost = spread(pairs.iter().map(|(_, bare)| bare), CPU_PER_DELIVERY);
        let found = loop_cost.and_then(|bare| {
            let costs = bursts.iter().filter_map(|burst| burst.figure(CPU_PER_DELIVERY));
            Spread::of(costs.map(|cost| cost / bare.median))
        });
        let what = "burst of 400 to 10,000: CPU per delivery, against the bare loop's above";
        let holds = found.map(|found| found.median <= 0.06);
        let loops = pairs.iter().map(|(_, bare)| bare);
        self.judge("P2", what, (times(found), "≤ 0.06 ×"), holds, bursts.iter().chain(loops));
        let found = Spread::of(bursts.iter().filter_map(|burst| {
            Some(burst.figure("all delivered after")? / burst.figure("published after")?)
        }));
        let what = "burst of 400 to 10,000: all delivered, against the publishing time";
        let holds = found.map(|found| found.median <= 1.2);
        self.judge("P2", what, (times(found), "≤ 1.2 ×"), holds, &bursts);
        Ok(())
    }

    fn memory_of_subscribers(&mut self) -> io::Result<()> {
        let idle = Idle { subscribers: 15_000, apart: None, http2: None, settle: 3.0 };
        let runs = self.runs(&Scenario::Idle(idle), self.runs.min(3))?;
        let found = spread(&runs, "user memory per subscriber");
        let kernel = spread(&runs, "kernel memory per subscriber, both ends");
        let text = format!("{} (kernel, both ends: {})", bytes(found), bytes(kernel));
        let holds = found.map(|found| found.median <= 1024.0);
        let what = "user memory per idle subscriber, 15,000 of them";
        self.judge("P3", what, (text, "≤ 1,024 B"), holds, &runs);
        Ok(())
    }

    fn allocations(&mut self) -> io::Result<()> {
        let what = "allocations per event, 1,000 and 10,000 members";
        let Some(path) = &self.args.allocations else {
            let found = "see cargo test -p fanfare-benches --test allocations".to_owned();
            self.judge("P4", what, (found, "the same"), None, []);
            return Ok(());
        };
        let text = fs::read_to_string(path)?;
        let few = allocations(&text, 1_000);
        let many = allocations(&text, 10_000);
        let found = format!("{} and {}", show(few, two_digits, ""), show(many, two_digits, ""));
        let holds = few.zip(many).map(|(few, many)| (few.median - many.median).abs() <= 0.5);
        self.judge("P4", what, (found, "the same"), holds, []);
        Ok(())
    }

    fn latency(&mut self) -> io::Result<()> {
        let scenario = fanout(1_000, 50.0, 150);
        let pairs = self.pairs(&scenario, (Kind::BareLoop, &scenario), 2 * self.runs + 1)?;
        let found = ratio(&pairs, "delivery p99");
        let holds = found.map(|found| found.median <= 1.5);
        let what = "delivery p99, 1,000 subscribers × 50 events/s, against the bare loop's";
        self.judge("P5", what, (times(found), "≤ 1.5 ×"), holds, both(&pairs));
        Ok(())
    }

    fn flatness(&mut self) -> io::Result<()> {
        let mut ratios = Vec::new();
        let mut all = Vec::new();
        for (subscribers, rate, events) in [(1_000, 20.0, 80), (5_000, 8.0, 24), (15_000, 2.0, 8)] {
            let scenario = fanout(subscribers, rate, events);
            let pairs = self.pairs(&scenario, (Kind::BareLoop, &scenario), self.runs)?;
            ratios.extend(ratio(&pairs, CPU_PER_DELIVERY).map(|found| found.median));
            all.extend(pairs);
        }
        let middle = Spread::of(ratios.iter().copied());
        let text = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(", ");
        let within = |middle: Spread| {
            middle.least >= 0.85 * middle.median && middle.greatest <= 1.15 * middle.median
        };
        let holds = middle.map(within).filter(|_| ratios.len() == 3);
        let what = "P1's quotient at 1,000, 5,000, 15,000 subscribers";
        self.judge("P6", what, (format!("{text} ×"), "within ±15 %"), holds, both(&all));

        let (one, many) = (publish(1, 16, 60_000, false), publish(100_000, 16, 60_000, false));
        let pairs = self.pairs(&many, (Kind::Fanfare, &one), 2 * self.runs + 1)?;
        let found = ratio(&pairs, CPU_PER_EVENT);
        let holds = found.map(|found| (0.8..=1.2).contains(&found.median));
        let what = "CPU of a publish at 100,000 channels, against 1";
        self.judge("P6", what, (times(found), "within ±20 %"), holds, both(&pairs));
        Ok(())
    }

    fn memory_of_channels(&mut self) -> io::Result<()> {
        let idle = |apart| {
            let idle = Idle { subscribers: 1_500, apart: Some(apart), http2: None, settle: 3.0 };
            Scenario::Idle(idle)
        };
        let one = self.runs(&idle(1), 1)?;
        let many = self.runs(&idle(64), 1)?;
        let memory = |runs: &[Outcome]| spread(runs, "user memory per subscriber");
        let found = memory(&many)
            .zip(memory(&one))
            .and_then(|(many, one)| Spread::of([(many.median - one.median) / 63.0]));
        let holds = found.map(|found| found.median <= 512.0);
        let what = "an idle channel without history, 96,000 of them";
        self.judge("P7", what, (bytes(found), "≤ 512 B"), holds, one.iter().chain(&many));
        Ok(())
    }

    fn narrow(&mut self) -> io::Result<()> {
        let narrow = |publishers, events| {
            Scenario::Narrow(Narrow { channels: 5_000, publishers, events, size: 100 })
        };
        let pairs = self.pairs(&narrow(1, 60), (Kind::BareRelay, &narrow(1, 60)), self.runs)?;
        let found = ratio(&pairs, "events a second");
        let holds = found.map(|found| found.median >= 0.35);
        let what = "5,000 channels with 1 subscriber: rate, against the bare relay";
        self.judge("P8", what, (times(found), "≥ 0.35 ×"), holds, both(&pairs));
        self.runs(&narrow(5_000, 20), 1)?;
        Ok(())
    }

    fn publishes(&mut self) -> io::Result<()> {
        let one = publish(1, 16, 60_000, false);
        let pairs = match self.pairs(&one, (Kind::Nchan, &one), 2 * self.runs + 1) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let found = (format!("no Nchan: {error}"), "≥ 0.8 ×");
                self.judge("P9", "publishes against Nchan", found, None, []);
                return Ok(());
            }
            pairs => pairs?,
        };
        let inverse =
            |found: Spread| Spread::of([found.median, found.least, found.greatest].map(f64::recip));
        let found = ratio(&pairs, CPU_PER_EVENT).and_then(inverse);
        let holds = found.map(|found| found.median >= 0.8);
        let rate = ratio(&pairs, "events a second");
        let text = format!("{}; rate {}", times(found), times(rate));
        let what = "an event a request: requests for the same CPU, against Nchan";
        self.judge("P9", what, (text, "≥ 0.8 ×"), holds, both(&pairs));

        let lines = self.runs(&publish(1, 1, 1_000_000, true), self.runs)?;
        let nchan = spread(pairs.iter().map(|(_, nchan)| nchan), CPU_PER_EVENT);
        let found = spread(&lines, CPU_PER_EVENT).zip(nchan);
        let found = found.and_then(|(lines, nchan)| Spread::of([nchan.median / lines.median]));
        let holds = found.map(|found| found.median >= 3.0);
        let what = "NDJSON: events for the same CPU, against Nchan's";
        let nchan = pairs.iter().map(|(_, nchan)| nchan);
        self.judge("P9", what, (times(found), "≥ 3 ×"), holds, lines.iter().chain(nchan));
        Ok(())
    }

    fn storm(&mut self) -> io::Result<()> {
        let storm = Storm { subscribers: 10_000, missed: 100, staying: 100, size: 100 };
        let storm = Scenario::Storm(storm);
        let pairs = self.pairs(&storm, (Kind::BareAccept, &storm), self.runs)?;
        let found = ratio(&pairs, "all caught up after");
        let holds = found.map(|found| found.median <= 2.5);
        let cost = ratio(&pairs, "CPU per reconnect");
        let text = format!("{}; CPU {}", times(found), times(cost));
        let what = "storm of 10,000 with 100 events each: time, against bare accepting";
        // A connect costs its client more than bare accepting costs the server, so against that
        // the generator is always the slower part: for being used up only the hub's runs are
        // doubted.
        let hub = pairs.iter().map(|(hub, _)| hub);
        let doubted = |bare: &&Outcome| bare.complaints.len() > usize::from(bare.saturated);
        let bare = pairs.iter().map(|(_, bare)| bare).filter(doubted);
        self.judge("P10", what, (text, "≤ 2.5 ×"), holds, hub.clone().chain(bare));
        let found = spread(hub.clone(), "delivery to those who stayed p99");
        let holds = found.map(|found| found.median <= 0.25);
        let what = "storm of 10,000: delivery p99 of those who stayed";
        self.judge("P10", what, (milliseconds(found), "≤ 250 ms"), holds, hub);
        Ok(())
    }

    fn mixed(&mut self) -> io::Result<()> {
        let mixed = Mixed {
            subscribers: 10_000,
            channels: 100,
            rate: 500.0,
            events: 400,
            seconds: 0.8,
            size: 100,
        };
        let runs = self.runs(&Scenario::Mixed(mixed), self.runs)?;
        let found = spread(&runs, "small channels p99");
        let holds = found.map(|found| found.median <= 0.01);
        let what = "100 channels with 1 subscriber beside P2's burst: p99";
        self.judge("P11", what, (milliseconds(found), "≤ 10 ms"), holds, &runs);
        Ok(())
    }
}

/// What the test of allocations printed of so many members: per event, alone and in a burst.
fn allocations(text: &str, members: u32) -> Option<Spread> {
    let begin = format!("{members} members: ");
    let line = text.lines().find_map(|line| line.split_once(&begin).map(|(_, rest)| rest))?;
    Spread::of(line.split(' ').filter_map(|word| word.parse().ok()))
}

fn both(pairs: &[Pair]) -> impl Iterator<Item = &Outcome> {
    pairs.iter().flat_map(|(a, b)| [a, b])
}

fn times(found: Option<Spread>) -> String {
    show(found, two_digits, " ×")
}

fn two_digits(number: f64) -> String {
    format!("{number:.2}")
}

fn bytes(found: Option<Spread>) -> String {
    show(found, |number| format!("{number:.0}"), " B")
}

fn milliseconds(found: Option<Spread>) -> String {
    show(found, |seconds| format!("{:.1}", seconds * 1e3), " ms")
}

/// The median, and between what it lies if there were several.
fn show(found: Option<Spread>, number: impl Fn(f64) -> String, unit: &str) -> String {
    let Some(Spread { median, least, greatest }) = found else { return "nothing".to_owned() };
    let text = number(median) + unit;
    if least == greatest {
        return text;
    }
    format!("{text} ({} to {})", number(least), number(greatest))
}
