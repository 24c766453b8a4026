//! The settings that hold once all layers are laid, each with where it came from: as a
//! configuration file that would give the same, and as JSON.

use std::collections::BTreeMap;

use fanfare_server::Config;
use serde_json::{Map, Value as Json, json};

use super::{
    file::ChannelTable,
    layers::Given,
    machine::Machine,
    problem::Place,
    row::{Fallback, Row, Value},
    table,
    unit::Unit,
    upstreams::{Known, Shown},
};

/// A configuration with its origins.
#[derive(Debug)]
pub(crate) struct Effective {
    /// What a hub takes.
    pub(crate) config: Config,
    /// All settings in the order of the table.
    settings: Vec<Setting>,
    /// The `[[channels]]`, in their order.
    channels: Vec<Channels>,
    /// The `[[upstreams]]`, in their order.
    upstreams: Vec<Known>,
}

/// One setting that holds.
#[derive(Clone, Debug)]
struct Setting {
    row: &'static Row,
    texts: Vec<String>,
    source: Source,
    /// What a default was made from, or what became of a value.
    note: Option<String>,
}

/// Where a value came from.
#[derive(Clone, Debug)]
enum Source {
    /// It was given there, or is the default.
    Place(Place),
    /// Channels of a pattern have what all channels have.
    AllChannels,
}

/// A setting that has another value in a newer configuration.
#[derive(Debug)]
pub(crate) struct Change {
    /// Its key.
    pub(crate) key: &'static str,
    /// The value of before, as it could be given.
    pub(crate) old: String,
    /// The newer one.
    pub(crate) new: String,
    /// The value of before as a layer gives it; none if a running hub can change it.
    kept: Option<Given>,
}

impl Change {
    /// The value of before as a layer above all others gives it.
    pub(crate) fn pin(&self) -> Option<Given> {
        self.kept.clone()
    }

    /// Whether a running hub can change it.
    pub(crate) fn is_live(&self) -> bool {
        self.kept.is_none()
    }
}

/// A setting that asks for more files than there are.
#[derive(Debug)]
pub(crate) struct Lowered {
    key: &'static str,
    /// What has the files.
    pub(crate) what: &'static str,
    /// How many were set.
    pub(crate) set: usize,
    /// How many hold.
    pub(crate) possible: usize,
}

/// One `[[channels]]` table.
#[derive(Debug)]
struct Channels {
    pattern: String,
    place: Place,
    settings: Vec<Setting>,
}

impl Effective {
    /// What holds: `laid` has the last word on each key.
    pub(crate) fn new(
        config: Config,
        laid: &BTreeMap<&'static str, Given>,
        tables: Vec<ChannelTable>,
        upstreams: Vec<Known>,
    ) -> Self {
        let rows = table::rows().filter_map(|row| laid.get(row.key));
        let settings: Vec<_> = rows.map(Setting::of).collect();
        let channels = tables.into_iter().map(|table| Channels::of(table, &settings)).collect();
        Self { config, settings, channels, upstreams }
    }

    /// What has another value in a newer configuration. The tables of channels count as one.
    pub(crate) fn changes(&self, newer: &Self) -> Vec<Change> {
        let pairs = self.settings.iter().zip(&newer.settings);
        let mut changes: Vec<_> =
            pairs.filter(|(old, new)| old.json() != new.json()).map(Setting::change).collect();
        let tables = |effective: &Self| {
            let settings = |c: &Channels| c.settings.iter().map(Setting::json).collect::<Vec<_>>();
            let table = |channels: &Channels| (channels.pattern.clone(), settings(channels));
            effective.channels.iter().map(table).collect::<Vec<_>>()
        };
        if tables(self) != tables(newer) {
            let count = |effective: &Self| format!("{} patterns", effective.channels.len());
            changes.push(Change {
                key: "channels",
                old: count(self),
                new: count(newer),
                kept: None,
            });
        }
        if self.config.upstreams != newer.config.upstreams {
            let count = |effective: &Self| format!("{} upstreams", effective.upstreams.len());
            changes.push(Change {
                key: "upstreams",
                old: count(self),
                new: count(newer),
                kept: None,
            });
        }
        changes
    }

    /// Bounds fetches and connections by the files that may be open, which is not the user's
    /// mistake. Answers what was set and is more.
    pub(crate) fn bound_by_files(&mut self, machine: &Machine) -> Vec<Lowered> {
        let mut lowered = Vec::new();
        let mut machine = *machine;
        if !self.config.upstreams.is_empty() {
            let set = &mut self.config.upstream_fetches_max;
            lowered.extend(lower("upstream_fetches_max", "fetches", set, machine.fetches_max()));
            machine = machine.with_fetches(*set as u64);
        }
        let set = &mut self.config.connections_max;
        lowered.extend(lower("connections_max", "connections", set, machine.connections_max()));
        for Lowered { key, set, possible, .. } in &lowered {
            let of_key = |setting: &&mut Setting| setting.row.key == *key;
            if let Some(setting) = self.settings.iter_mut().find(of_key) {
                setting.texts = vec![possible.to_string()];
                setting.note = Some(format!(
                    "lowered from {}, as {} files may be open",
                    Unit::Count.show(*set as u64),
                    machine.open_files_max
                ));
            }
        }
        lowered
    }

    /// A configuration file whose comments say where each value came from.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        for group in table::groups() {
            let in_group =
                |setting: &&Setting| group.rows.iter().any(|row| row.key == setting.row.key);
            let lines = self.settings.iter().filter(in_group).map(Setting::to_toml);
            let separator = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{separator}# {}\n", group.heading));
            text.push_str(&aligned(&lines.collect::<Vec<_>>()));
        }
        for channels in &self.channels {
            let pattern =
                (format!("pattern = {}", quoted(&channels.pattern)), place(&channels.place));
            let lines = [pattern].into_iter().chain(channels.settings.iter().map(Setting::to_toml));
            text.push_str("\n[[channels]]\n");
            text.push_str(&aligned(&lines.collect::<Vec<_>>()));
        }
        for Known { shown, .. } in &self.upstreams {
            text.push_str("\n[[upstreams]]\n");
            text.push_str(&aligned(&shown.iter().map(Shown::to_toml).collect::<Vec<_>>()));
        }
        text
    }

    /// The same for programs: one object in one line.
    pub(crate) fn to_json(&self) -> String {
        let all = |settings: &[Setting]| settings.iter().map(Setting::to_json).collect::<Vec<_>>();
        let channels = |channels: &Channels| {
            let Channels { pattern, place: at, settings } = channels;
            json!({ "pattern": pattern, "place": place(at), "settings": all(settings) })
        };
        let channels: Vec<_> = self.channels.iter().map(channels).collect();
        let upstreams = |known: &Known| {
            let shown: Vec<_> = known.shown.iter().map(Shown::to_json).collect();
            json!({ "name": known.upstream.name, "place": place(&known.place), "settings": shown })
        };
        let upstreams: Vec<_> = self.upstreams.iter().map(upstreams).collect();
        let settings = all(&self.settings);
        let all = json!({ "settings": settings, "channels": channels, "upstreams": upstreams });
        format!("{all}\n")
    }
}

impl Channels {
    fn of(table: ChannelTable, all: &[Setting]) -> Self {
        let ChannelTable { pattern, place, given } = table;
        let per_channel = all.iter().filter(|setting| setting.row.is_per_channel());
        let settings = per_channel.map(|setting| {
            let given = given.iter().find(|given| given.row.key == setting.row.key);
            let inherited =
                || Setting { source: Source::AllChannels, note: None, ..setting.clone() };
            given.map_or_else(inherited, Setting::of)
        });
        Self { settings: settings.collect(), pattern, place }
    }
}

impl Setting {
    fn of(given: &Given) -> Self {
        let Given { row, place, texts } = given;
        let note = match (place, &row.default) {
            (Place::Default(_), Fallback::Machine { words, .. }) => Some((*words).to_owned()),
            _ => None,
        };
        Self { row, texts: texts.clone(), source: Source::Place(place.clone()), note }
    }

    /// What has changed from an older value to this one.
    fn change((old, new): (&Self, &Self)) -> Change {
        let row = old.row;
        let kept = || {
            let place = match &old.source {
                Source::Place(place) => place.clone(),
                Source::AllChannels => Place::Default(row.flag),
            };
            Given { row, place, texts: old.texts.clone() }
        };
        let kept = (!row.live).then(kept);
        Change { key: row.key, old: old.shown(), new: new.shown(), kept }
    }

    /// A line of TOML, and the comment that belongs to it.
    fn to_toml(&self) -> (String, String) {
        let value = match (&self.row.value, self.json()) {
            (Value::Number { unit: Unit::Bytes | Unit::Duration, .. }, _) => quoted(&self.shown()),
            (Value::Number { unit: Unit::Count, .. }, _) => self.shown(),
            (_, Json::Array(names)) => {
                let names: Vec<_> = names.iter().filter_map(Json::as_str).map(quoted).collect();
                format!("[{}]", names.join(", "))
            }
            (_, Json::Bool(on)) => on.to_string(),
            _ => quoted(&self.shown()),
        };
        let note = self.note.iter().map(|note| format!(": {note}"));
        let comment = [self.source.words()].into_iter().chain(note).collect();
        (format!("{} = {value}", self.row.key), comment)
    }

    fn to_json(&self) -> Json {
        let mut object = Map::new();
        let mut put = |name: &str, value: Json| drop(object.insert(name.to_owned(), value));
        put("key", self.row.key.into());
        put("value", self.json());
        match &self.row.value {
            Value::Number { unit: Unit::Bytes, .. } => put("unit", "bytes".into()),
            Value::Number { unit: Unit::Duration, .. } => put("unit", "ms".into()),
            _ => {}
        }
        put("text", self.shown().into());
        put("source", self.source.kind().into());
        put("place", self.source.words().into());
        put("note", self.note.clone().into());
        put("live", self.row.live.into());
        Json::Object(object)
    }

    /// The value: a number in bytes or milliseconds, a list, a truth, or text.
    fn json(&self) -> Json {
        let text = self.texts.first().map(String::as_str).unwrap_or_default();
        match &self.row.value {
            Value::Number { unit, .. } => unit.parse(text).map_or(Json::Null, Json::from),
            Value::Names { .. } => {
                let names = self.texts.iter().flat_map(|text| text.split(',')).map(str::trim);
                names.filter(|name| !name.is_empty()).collect()
            }
            Value::Switch(_) => Json::Bool(text == "true"),
            Value::Address(_) | Value::Choice { .. } | Value::Text { .. } => text.into(),
        }
    }

    /// The value as it could be given.
    fn shown(&self) -> String {
        let text = self.texts.join(",");
        match &self.row.value {
            Value::Number { unit, .. } => {
                unit.parse(&text).map_or(text, |number| unit.show(number))
            }
            _ => text,
        }
    }
}

impl Shown {
    /// A line of TOML, and the comment that belongs to it.
    fn to_toml(&self) -> (String, String) {
        let value = match &self.value {
            Json::Array(texts) => {
                let texts: Vec<_> = texts.iter().filter_map(Json::as_str).map(quoted).collect();
                format!("[{}]", texts.join(", "))
            }
            Json::String(text) => quoted(text),
            other => other.to_string(),
        };
        (format!("{} = {value}", self.key), self.source())
    }

    fn to_json(&self) -> Json {
        json!({ "key": self.key, "value": self.value, "place": self.source() })
    }

    fn source(&self) -> String {
        self.place.as_ref().map_or_else(|| "default".to_owned(), place)
    }
}

impl Source {
    fn kind(&self) -> &'static str {
        match self {
            Self::AllChannels => "all channels",
            Self::Place(Place::Default(_)) => "default",
            Self::Place(Place::File { .. }) => "file",
            Self::Place(Place::Flag(_)) => "flag",
            Self::Place(Place::Variable(_)) => "variable",
        }
    }

    fn words(&self) -> String {
        match self {
            Self::AllChannels => "as all channels".to_owned(),
            Self::Place(at) => place(at),
        }
    }
}

/// Lowers a number to what is possible, if it is more.
fn lower(
    key: &'static str,
    what: &'static str,
    number: &mut usize,
    possible: u64,
) -> Option<Lowered> {
    let possible = usize::try_from(possible).unwrap_or(usize::MAX);
    let set = *number;
    *number = set.min(possible);
    (possible < set).then_some(Lowered { key, what, set, possible })
}

/// A place without the key, which stands beside it.
fn place(place: &Place) -> String {
    match place {
        Place::Default(_) => "default".to_owned(),
        Place::File { path, line, .. } => format!("{path}:{line}").escape_debug().to_string(),
        Place::Flag(_) | Place::Variable(_) => place.to_string(),
    }
}

/// Lines whose comments stand in one column.
fn aligned(lines: &[(String, String)]) -> String {
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or_default();
    let width = width.min(COMMENT_COLUMN_MAX);
    lines.iter().map(|(line, comment)| format!("{line:<width$}  # {comment}\n")).collect()
}

/// A string of TOML. That of JSON is one, but for the one control character that JSON leaves.
fn quoted(text: &str) -> String {
    Json::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Past it a long value does not push the comments of the others away.
const COMMENT_COLUMN_MAX: usize = 48;
