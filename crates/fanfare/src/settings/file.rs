//! The TOML file: settings by key, what channels keep by pattern in `[[channels]]`, and services
//! to fetch from in `[[upstreams]]`.

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    layers::Given,
    problem::{Place, Problem, did_you_mean},
    row::{Row, Value},
    table,
    upstreams::{Entry, HEADERS, KEYS, PATHS, UpstreamTable},
};
use crate::limits::{CHANNEL_TABLES_MAX, UPSTREAM_TABLES_MAX};

/// What a file gives.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// The settings of the hub.
    pub(crate) given: Vec<Given>,
    /// The `[[channels]]`, in their order.
    pub(crate) channels: Vec<ChannelTable>,
    /// The `[[upstreams]]`, in their order.
    pub(crate) upstreams: Vec<UpstreamTable>,
}

/// One `[[channels]]` table.
#[derive(Debug)]
pub(crate) struct ChannelTable {
    /// Where its pattern stands.
    pub(crate) place: Place,
    /// Its pattern, not yet parsed.
    pub(crate) pattern: String,
    /// What it sets for the channels that match.
    pub(crate) given: Vec<Given>,
}

/// Reads a file's text; `path` is for the places only.
pub(crate) fn parse(path: &str, text: &str, problems: &mut Vec<Problem>) -> File {
    let mut reader = Reader { path, text, problems };
    match DeTable::parse(text) {
        Ok(root) => reader.root(root.into_inner()),
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            reader.problem(start, "", format!("is not TOML: {}", one_line(error.message())));
            File::default()
        }
    }
}

/// A file being read: where we are, and what was wrong so far.
struct Reader<'a> {
    path: &'a str,
    text: &'a str,
    problems: &'a mut Vec<Problem>,
}

type Key<'i> = Spanned<DeString<'i>>;
type Item<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    fn root(&mut self, root: DeTable<'_>) -> File {
        let mut file = File::default();
        for (key, item) in in_order(root) {
            if key.get_ref() == CHANNELS {
                file.channels = self.channels(&key, item);
            } else if key.get_ref() == UPSTREAMS {
                file.upstreams = self.upstreams(&key, item);
            } else if let Some(row) = table::by_key(key.get_ref()) {
                file.given.extend(self.given(row, &key, &item, ""));
            } else {
                let known = table::rows().map(|row| row.key).chain([CHANNELS, UPSTREAMS]);
                self.unknown(&key, "", known);
            }
        }
        file
    }

    fn channels(&mut self, key: &Key<'_>, item: Item<'_>) -> Vec<ChannelTable> {
        let start = key.span().start;
        let DeValue::Array(tables) = item.into_inner() else {
            self.problem(start, CHANNELS, "is written [[channels]], once for each pattern");
            return Vec::new();
        };
        if CHANNEL_TABLES_MAX < tables.len() {
            let what =
                format!("{} of them; at most {CHANNEL_TABLES_MAX} are allowed", tables.len());
            self.problem(start, CHANNELS, what);
            return Vec::new();
        }
        tables.into_iter().filter_map(|table| self.channel(table)).collect()
    }

    fn channel(&mut self, item: Item<'_>) -> Option<ChannelTable> {
        let start = item.span().start;
        let DeValue::Table(table) = item.into_inner() else {
            self.problem(start, CHANNELS, "is written [[channels]], once for each pattern");
            return None;
        };
        let (mut pattern, mut given) = (None, Vec::new());
        for (key, item) in in_order(table) {
            let row = table::by_key(key.get_ref()).filter(|row| row.is_per_channel());
            if key.get_ref() == PATTERN {
                pattern = Some((key, item));
            } else if let Some(row) = row {
                given.extend(self.given(row, &key, &item, CHANNELS_DOT));
            } else {
                let rows = table::rows().filter(|row| row.is_per_channel());
                self.unknown(&key, CHANNELS_DOT, rows.map(|row| row.key).chain([PATTERN]));
            }
        }
        let Some((key, item)) = pattern else {
            self.problem(start, CHANNELS, "a pattern is missing, such as pattern = \"orders/**\"");
            return None;
        };
        let name = format!("{CHANNELS_DOT}{PATTERN}");
        match item.get_ref() {
            DeValue::String(text) => {
                let place = self.place(key.span().start, &name);
                Some(ChannelTable { place, pattern: text.clone().into_owned(), given })
            }
            other => {
                self.problem(key.span().start, &name, format!("{}; it is text", kind(other)));
                None
            }
        }
    }

    fn upstreams(&mut self, key: &Key<'_>, item: Item<'_>) -> Vec<UpstreamTable> {
        let start = key.span().start;
        let DeValue::Array(tables) = item.into_inner() else {
            self.problem(start, UPSTREAMS, "is written [[upstreams]], once for each service");
            return Vec::new();
        };
        if UPSTREAM_TABLES_MAX < tables.len() {
            let what =
                format!("{} of them; at most {UPSTREAM_TABLES_MAX} are allowed", tables.len());
            self.problem(start, UPSTREAMS, what);
            return Vec::new();
        }
        tables.into_iter().filter_map(|table| self.upstream(table)).collect()
    }

    fn upstream(&mut self, item: Item<'_>) -> Option<UpstreamTable> {
        let start = item.span().start;
        let DeValue::Table(table) = item.into_inner() else {
            self.problem(start, UPSTREAMS, "is written [[upstreams]], once for each service");
            return None;
        };
        let mut entries = Vec::new();
        for (key, item) in in_order(table) {
            let Some(known) = KEYS.into_iter().find(|known| key.get_ref() == *known) else {
                self.unknown(&key, UPSTREAMS_DOT, KEYS.into_iter());
                continue;
            };
            match item.into_inner() {
                DeValue::Table(headers) if known == HEADERS => {
                    for (header, item) in in_order(headers) {
                        entries.extend(self.entry(known, header.get_ref(), &header, &item));
                    }
                }
                _ if known == HEADERS => {
                    let name = format!("{UPSTREAMS_DOT}{HEADERS}");
                    self.problem(key.span().start, &name, "is a table: headers.NAME = \"value\"");
                }
                value => {
                    let item = Spanned::new(key.span(), value);
                    entries.extend(self.entry(known, "", &key, &item));
                }
            }
        }
        Some(UpstreamTable { place: self.place(start, UPSTREAMS), entries })
    }

    /// One key of an upstream.
    fn entry(
        &mut self,
        known: &'static str,
        header: &str,
        key: &Key<'_>,
        item: &Item<'_>,
    ) -> Option<Entry> {
        let texts = match item.get_ref() {
            DeValue::Array(items) if known == PATHS => {
                items.iter().map(|item| scalar(item.get_ref())).collect()
            }
            DeValue::Array(_) => None,
            one => scalar(one).map(|text| vec![text]),
        };
        let dot = if header.is_empty() { "" } else { "." };
        let name = format!("{UPSTREAMS_DOT}{known}{dot}{}", one_line(header));
        let start = key.span().start;
        if texts.is_none() {
            let what = if known == PATHS { "text, or a list of texts" } else { "text" };
            self.problem(start, &name, format!("{}; it is {what}", kind(item.get_ref())));
        }
        let place = self.place(start, &name);
        Some(Entry { key: known, header: header.to_owned(), place, texts: texts? })
    }

    /// The texts of one key.
    fn given(
        &mut self,
        row: &'static Row,
        key: &Key<'_>,
        item: &Item<'_>,
        prefix: &str,
    ) -> Option<Given> {
        let name = format!("{prefix}{}", row.key);
        let texts = match item.get_ref() {
            DeValue::Array(items) if matches!(row.value, Value::Names { .. }) => {
                items.iter().map(|item| scalar(item.get_ref())).collect()
            }
            one => scalar(one).map(|text| vec![text]),
        };
        let start = key.span().start;
        if texts.is_none() {
            let what = format!("{}; allowed: {}", kind(item.get_ref()), row.allowed());
            self.problem(start, &name, what);
        }
        Some(Given { row, place: self.place(start, &name), texts: texts? })
    }

    fn unknown<'k>(&mut self, key: &Key<'_>, prefix: &str, known: impl Iterator<Item = &'k str>) {
        let hint = did_you_mean(key.get_ref(), known);
        let name = format!("{prefix}{}", one_line(key.get_ref()));
        self.problem(key.span().start, &name, format!("there is no such setting{hint}"));
    }

    fn problem(&mut self, start: usize, key: &str, what: impl Into<String>) {
        let place = self.place(start, key);
        self.problems.push(Problem::new(place, what));
    }

    fn place(&self, start: usize, key: &str) -> Place {
        let before = self.text.as_bytes().iter().take(start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Place::File { path: self.path.to_owned(), line, key: key.to_owned() }
    }
}

/// The entries of a table in the order of the file, which is not that of the map.
fn in_order<'i>(table: DeTable<'i>) -> Vec<(Key<'i>, Item<'i>)> {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// The text of a value that is no list or table.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Boolean(on) => Some(on.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::String(text) => Some(text.clone().into_owned()),
        _ => None,
    }
}

/// What a value is, as the subject of a complaint.
fn kind(value: &DeValue<'_>) -> String {
    format!("the value is of type {}", value.type_str())
}

/// Text of the file as part of a line of ours.
fn one_line(text: &str) -> String {
    text.escape_debug().to_string().replace("\\n", ", ").replace("\\'", "'").replace("\\\"", "\"")
}

const CHANNELS: &str = "channels";
const CHANNELS_DOT: &str = "channels.";
const PATTERN: &str = "pattern";
const UPSTREAMS: &str = "upstreams";
const UPSTREAMS_DOT: &str = "upstreams.";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (File, Vec<String>) {
        let mut problems = Vec::new();
        let file = parse("f.toml", text, &mut problems);
        (file, problems.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn settings_are_texts_with_places() {
        let text = "# hub\nworkers = 2\nring_age = \"1h\"\n\
                    allowed_hosts = [\"a\", \"b\"]\ninsecure_open = true\nchannels_max = 1_000\n";
        let (file, problems) = read(text);
        assert_eq!(problems, [""; 0]);
        let given: Vec<_> =
            file.given.iter().map(|g| format!("{} = {}", g.place, g.texts.join(","))).collect();
        let expected = [
            "f.toml:2: workers = 2",
            "f.toml:3: ring_age = 1h",
            "f.toml:4: allowed_hosts = a,b",
            "f.toml:5: insecure_open = true",
            "f.toml:6: channels_max = 1000",
        ];
        assert_eq!(given, expected);
    }

    #[test]
    fn channels_have_patterns() {
        let text = "[[channels]]\npattern = \"orders/**\"\nring_events = 8\nring_age = \"2h\"\n\
                    [[channels]]\npattern = \"news\"\n";
        let (file, problems) = read(text);
        assert_eq!(problems, [""; 0]);
        assert_eq!(file.channels.len(), 2);
        assert_eq!(file.channels[0].pattern, "orders/**");
        assert_eq!(file.channels[0].given.len(), 2);
        assert_eq!(file.channels[1].place.to_string(), "f.toml:6: channels.pattern");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, expected) in [
            ("a = [", "f.toml:1: is not TOML: "),
            ("workers = 1\nworkers = 2", "f.toml:2: is not TOML: duplicate key"),
            ("\nworker = 2", "f.toml:2: worker: there is no such setting; did you mean workers?"),
            ("[server]\nlisten = \"x\"", "f.toml:1: server: there is no such setting"),
            ("workers = [2]", "f.toml:1: workers: the value is of type array; allowed: 1 to 63"),
            ("workers = 1.5", "f.toml:1: workers: the value is of type float; allowed: 1 to 63"),
            ("workers = 0x10", "f.toml:1: workers: the value is of type integer; allowed: 1"),
            ("allowed_hosts = [[]]", "f.toml:1: allowed_hosts: the value is of type array"),
            ("channels = 3", "f.toml:1: channels: is written [[channels]], once"),
            ("channels = [3]", "f.toml:1: channels: is written [[channels]], once"),
            ("[[channels]]\nring_age = \"1h\"", "f.toml:1: channels: a pattern is missing"),
            ("[[channels]]\npattern = 3", "f.toml:2: channels.pattern: the value is of type int"),
            (
                "[[channels]]\npattern = \"a\"\nworkers = 3",
                "f.toml:3: channels.workers: there is no such setting",
            ),
            (
                "[[channels]]\npattern = \"a\"\nring_event = 3",
                "f.toml:3: channels.ring_event: there is no such setting; \
                 did you mean ring_events?",
            ),
        ] {
            let (_, problems) = read(text);
            assert!(problems.len() == 1 && problems[0].starts_with(expected), "{problems:?}");
        }
    }

    #[test]
    fn the_tables_of_channels_are_bounded() {
        let text = "[[channels]]\npattern = \"a\"\n".repeat(CHANNEL_TABLES_MAX + 1);
        let (file, problems) = read(&text);
        assert!(file.channels.is_empty());
        assert!(problems[0].ends_with("at most 1000 are allowed"), "{problems:?}");
    }
}
