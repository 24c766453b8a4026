//! A configuration over which the layers are laid, and what contradicts in it at the end.

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, sync::Arc};

use fanfare_core::{Pattern, Retention};
use fanfare_server::{Config, MemoryShares, OverBudget};

use super::{
    effective::Effective,
    file::ChannelTable,
    layers::Given,
    problem::{Place, Problem, Wrong},
    row::{Row, Set, Value},
    unit::Unit,
    upstreams::{self, Known, UpstreamTable},
};

/// A configuration in the making.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What holds so far.
    config: Config,
    /// What was laid last for each key.
    laid: BTreeMap<&'static str, Given>,
    /// The `[[channels]]` that hold.
    tables: Vec<ChannelTable>,
    /// What `[[channels]]` say channels keep.
    kept: Vec<Kept>,
    /// The upstreams, which the configuration has, too.
    upstreams: Vec<Known>,
}

/// A number that something else must be able to hold.
#[derive(Clone, Debug)]
struct Kept {
    key: &'static str,
    place: Place,
    number: u64,
}

impl Draft {
    /// Nothing yet: the layer of defaults has a value for every setting.
    pub(crate) fn new() -> Self {
        Self {
            config: Config::default(),
            laid: BTreeMap::new(),
            tables: Vec::new(),
            kept: Vec::new(),
            upstreams: Vec::new(),
        }
    }

    /// Lays a layer over those before it.
    pub(crate) fn lay(&mut self, layer: Vec<Given>, problems: &mut Vec<Problem>) {
        for given in layer {
            match apply(given.row, &given.texts, &mut self.config) {
                Ok(()) => drop(self.laid.insert(given.row.key, given)),
                Err(what) => problems.push(Problem::new(given.place, what)),
            }
        }
    }

    /// Lays what channels keep by pattern. What a table does not say is as for all channels, so
    /// this comes after all layers.
    pub(crate) fn lay_channels(&mut self, tables: Vec<ChannelTable>, problems: &mut Vec<Problem>) {
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        for table in tables {
            let retention = self.retention(&table.given, problems);
            let ChannelTable { place, pattern: text, .. } = &table;
            match (Pattern::parse(text), seen.get(text)) {
                (Err(error), _) => problems.push(Problem::new(place.clone(), error.to_string())),
                (Ok(_), Some(first)) => {
                    let what =
                        format!("the first match counts, and the same pattern is at {first}");
                    problems.push(Problem::new(place.clone(), what));
                }
                (Ok(pattern), None) => {
                    seen.insert(text.clone(), place.clone());
                    self.config.channels.push((pattern, retention));
                    self.tables.push(table);
                }
            }
        }
    }

    /// Lays the upstreams, with the secrets that they name.
    pub(crate) fn lay_upstreams(
        &mut self,
        tables: Vec<UpstreamTable>,
        variables: &[(OsString, OsString)],
        problems: &mut Vec<Problem>,
    ) {
        self.upstreams = upstreams::read(tables, variables, problems);
        let known = self.upstreams.iter();
        self.config.upstreams = known.map(|known| Arc::clone(&known.upstream)).collect();
    }

    /// The configuration, or everything that is wrong.
    pub(crate) fn finish(self, mut problems: Vec<Problem>) -> Result<Effective, Wrong> {
        if problems.is_empty() {
            self.contradictions(&mut problems);
        }
        if !problems.is_empty() {
            return Err(Wrong { problems });
        }
        Ok(Effective::new(self.config, &self.laid, self.tables, self.upstreams))
    }

    fn retention(&mut self, given: &[Given], problems: &mut Vec<Problem>) -> Retention {
        let mut retention = self.config.retention;
        for Given { row, place, texts } in given {
            match apply_to_channels(row, texts, &mut retention) {
                Ok(Some(number)) => {
                    self.kept.push(Kept { key: row.key, place: place.clone(), number });
                }
                Ok(None) => {}
                Err(what) => problems.push(Problem::new(place.clone(), what)),
            }
        }
        retention
    }

    /// Pairs of values that are fine alone and cannot hold together.
    fn contradictions(&self, problems: &mut Vec<Problem>) {
        if self.config.proxy_protocol && self.config.trusted_proxies.is_empty() {
            let what = format!(
                "nobody would send the header, because {} names no network",
                self.place("trusted_proxies")
            );
            problems.push(Problem::new(self.place("proxy_protocol"), what));
        }
        if let Err(OverBudget(needed)) = MemoryShares::of(&self.config) {
            // In whole units, so that it can be set.
            let needed = Unit::Bytes.show((needed as u64).next_multiple_of(MIB));
            let has = Unit::Bytes.show(self.config.memory_bytes_max as u64);
            let what = format!(
                "{has} is less than {needed}, {}: the process holds all its parts",
                self.place(self.largest())
            );
            problems.push(Problem::new(self.place("memory_max"), what));
        }
        let Config { listen, admin_listen, retention, .. } = self.config;
        if overlap(listen, admin_listen) {
            let what = format!("{admin_listen} is taken already, by {}", self.place("listen"));
            problems.push(Problem::new(self.place("admin_listen"), what));
        }
        let global = [
            self.kept("event_data_bytes_max", self.config.event_data_bytes_max),
            self.kept("ring_bytes", retention.ring_bytes_max),
            self.kept("ring_events", retention.ring_events_max),
        ];
        let journal = self.kept("journal_events_max", self.config.journal_events_max);
        let rings = self.kept("rings_bytes_max", self.config.rings_bytes_max);
        for kept in global.iter().chain(&self.kept) {
            let (whole, unit, why) = match kept.key {
                "event_data_bytes_max" => (&rings, Unit::Bytes, "a hub keeps at least one event"),
                "ring_bytes" => (&rings, Unit::Bytes, "all rings hold at least one ring"),
                "ring_events" => (&journal, Unit::Count, "a journal holds at least one ring"),
                _ => continue,
            };
            if whole.number < kept.number {
                let (has, needs) = (unit.show(whole.number), unit.show(kept.number));
                let what = format!("{has} is less than {needs}, {}: {why}", kept.place);
                problems.push(Problem::new(whole.place.clone(), what));
            }
        }
    }

    /// What is to blame if the parts of the budget do not fit it: of those that were set, the one
    /// that takes most.
    fn largest(&self) -> &'static str {
        let is_set = |key: &&'static str| !matches!(self.place(key), Place::Default(_));
        let by_size = ["rings_bytes_max", "event_data_bytes_max", "journal_events_max"];
        by_size.into_iter().find(is_set).unwrap_or("rings_bytes_max")
    }

    fn kept(&self, key: &'static str, number: usize) -> Kept {
        Kept { key, place: self.place(key), number: number as u64 }
    }

    /// Where the value of a key comes from.
    fn place(&self, key: &'static str) -> Place {
        self.laid.get(key).map_or(Place::Default(key), |given| given.place.clone())
    }
}

/// Reads a setting's texts and keeps the value, or says what is wrong and what is allowed.
fn apply(row: &Row, texts: &[String], config: &mut Config) -> Result<(), String> {
    match &row.value {
        Value::Address(set) => set(config, address(row, texts)?),
        Value::Choice { of, set } => {
            let chosen = choice(row, texts, of)?;
            match set {
                Set::Channel(set) => set(&mut config.retention, chosen),
                Set::Hub(set) => set(config, chosen),
            }
        }
        Value::Names { parse, set, .. } => {
            let names = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
            let names: Result<_, _> = names.filter(|name| !name.is_empty()).map(parse).collect();
            set(config, names.map_err(|what| allowed(row, &what))?);
        }
        Value::Number { set: Set::Channel(set), .. } => {
            set(&mut config.retention, number(row, texts)?);
        }
        Value::Number { set: Set::Hub(set), .. } => set(config, number(row, texts)?),
        Value::Switch(set) => {
            let text = one(texts)?;
            set(config, text.parse().map_err(|_| not(row, text, "true or false"))?);
        }
        Value::Text { parse, set, .. } => {
            set(config, parse(one(texts)?).map_err(|what| allowed(row, &what))?);
        }
    }
    Ok(())
}

/// The same for a setting of a `[[channels]]` table; answers the number if it is one.
fn apply_to_channels(
    row: &Row,
    texts: &[String],
    kept: &mut Retention,
) -> Result<Option<u64>, String> {
    match &row.value {
        Value::Number { set: Set::Channel(set), .. } => {
            let number = number(row, texts)?;
            set(kept, number);
            Ok(Some(number))
        }
        Value::Choice { of, set: Set::Channel(set) } => {
            set(kept, choice(row, texts, of)?);
            Ok(None)
        }
        _ => Err("is not a setting of channels".to_owned()),
    }
}

/// Reads the texts of a listener.
pub(super) fn address(row: &Row, texts: &[String]) -> Result<SocketAddr, String> {
    let text = one(texts)?;
    text.parse().map_err(|_| not(row, text, "an address"))
}

fn choice(row: &Row, texts: &[String], of: &[&'static str]) -> Result<&'static str, String> {
    let text = one(texts)?;
    of.iter().find(|word| **word == text).copied().ok_or_else(|| not(row, text, "one of them"))
}

fn number(row: &Row, texts: &[String]) -> Result<u64, String> {
    let Value::Number { unit, range, .. } = &row.value else {
        return Err("is not a number".to_owned());
    };
    let number = unit.parse(one(texts)?).map_err(|what| allowed(row, &what))?;
    let shown = unit.show(number);
    if number < *range.start() {
        return Err(allowed(row, &format!("{shown} is too little")));
    }
    if *range.end() < number {
        return Err(allowed(row, &format!("{shown} is too much")));
    }
    Ok(number)
}

fn one(texts: &[String]) -> Result<&str, String> {
    match texts {
        [text] => Ok(text),
        _ => Err(format!("is given {} times", texts.len())),
    }
}

fn not(row: &Row, text: &str, what: &str) -> String {
    allowed(row, &format!("`{}` is not {what}", text.escape_debug()))
}

fn allowed(row: &Row, what: &str) -> String {
    format!("{what}; allowed: {}", row.allowed())
}

/// Whether one listener would take the other's address. Port 0 is a new port each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let meets = a.ip() == b.ip()
        || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() == b.port() && a.port() != 0 && meets
}

const MIB: u64 = 1024 * 1024;
