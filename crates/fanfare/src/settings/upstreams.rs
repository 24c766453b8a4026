//! The `[[upstreams]]` of the file: services whose streams the hub fetches, with their secrets.
//!
//! Policy: a secret is named, not shown. What is told of these settings, be it an error or
//! `fanfare check --print`, says where a value comes from and never what it is; one that is not
//! there is an error before the hub starts.

use std::{
    cell::OnceCell, collections::BTreeMap, ffi::OsString, fs::File, io::Read, sync::Arc,
    time::Duration,
};

use fanfare_server::{
    PathRule, Patience, Tls, Upstream, UpstreamHeader, UpstreamUrl, is_upstream_header,
    is_upstream_name,
};
use hyper::header::HeaderName;
use serde_json::Value as Json;

use super::{
    problem::{Place, Problem},
    unit::Unit,
};
use crate::limits::{CA_FILE_BYTES_MAX, SECRET_FILE_BYTES_MAX};

/// One `[[upstreams]]` table.
#[derive(Debug)]
pub(crate) struct UpstreamTable {
    /// Where it begins.
    pub(crate) place: Place,
    /// What it sets, by known keys.
    pub(crate) entries: Vec<Entry>,
}

/// One key of such a table.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: &'static str,
    /// The name of a header; empty elsewhere.
    pub(crate) header: String,
    pub(crate) place: Place,
    /// One text, or those of a list.
    pub(crate) texts: Vec<String>,
}

/// A setting of an upstream as it may be shown.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// The key, with the name of the header.
    pub(crate) key: String,
    pub(crate) value: Json,
    /// Where it was given; none for a default.
    pub(crate) place: Option<Place>,
}

/// An upstream, and what may be shown of it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) place: Place,
    pub(crate) shown: Vec<Shown>,
}

/// The keys of a table, in the order in which they are shown.
pub(crate) const KEYS: [&str; 11] = [
    "name",
    "url",
    "paths",
    HEADERS,
    "ca_file",
    "allow_http",
    "allow_private",
    "connect_timeout",
    "first_byte_timeout",
    "idle_timeout",
    "total_timeout",
];
/// The key whose value is a table.
pub(crate) const HEADERS: &str = "headers";
/// The key whose value is a list.
pub(crate) const PATHS: &str = "paths";

/// Reads all tables; what is wrong is told, and its table left out.
pub(crate) fn read(
    tables: Vec<UpstreamTable>,
    variables: &[(OsString, OsString)],
    problems: &mut Vec<Problem>,
) -> Vec<Known> {
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    let system = OnceCell::new();
    let mut known = Vec::new();
    for table in tables {
        let mut reader = Reader { table: &table, variables, system: &system, problems };
        let Some(upstream) = reader.upstream() else { continue };
        if let Some(first) = seen.get(&upstream.name) {
            let what = format!("an upstream of the same name is at {first}");
            problems.push(Problem::new(table.place, what));
            continue;
        }
        seen.insert(upstream.name.clone(), table.place.clone());
        let shown = show(&table, &upstream);
        known.push(Known { upstream: Arc::new(upstream), place: table.place, shown });
    }
    known
}

struct Reader<'a> {
    table: &'a UpstreamTable,
    variables: &'a [(OsString, OsString)],
    /// Read once for all upstreams that need it.
    system: &'a OnceCell<Result<Tls, String>>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn upstream(&mut self) -> Option<Upstream> {
        let name = self.name();
        let allow_http = self.switch("allow_http");
        let url = self.url(allow_http.unwrap_or(true));
        let paths = self.paths();
        let table = self.table;
        let headers = table.entries.iter().filter(|entry| entry.key == HEADERS);
        let headers: Vec<_> = headers.map(|entry| self.header(entry)).collect();
        let tls = match &url {
            Some(url) if url.is_https() => self.tls(),
            _ => Some(None),
        };
        let allow_private = self.switch("allow_private");
        let patience = self.patience();
        Some(Upstream {
            name: name?,
            url: url?,
            headers: headers.into_iter().collect::<Option<_>>()?,
            paths: paths?,
            allow_private: allow_private?,
            tls: tls?,
            patience: patience?,
        })
    }

    fn name(&mut self) -> Option<String> {
        let entry = self.required("name", "such as name = \"openai\"")?;
        if !is_upstream_name(one(entry)) {
            return self.wrong(entry, "a name is 1 to 64 of a-z, 0-9, `-` and `_`");
        }
        Some(one(entry).to_owned())
    }

    fn url(&mut self, allow_http: bool) -> Option<UpstreamUrl> {
        let entry = self.required("url", "such as url = \"https://api.openai.com\"")?;
        match UpstreamUrl::parse(one(entry)) {
            Ok(url) if url.is_https() || allow_http => Some(url),
            Ok(_) => self.wrong(
                entry,
                "is not one of https, so secrets would be sent in the clear; allow_http = true \
                 allows that",
            ),
            // It may hold a secret, so it is not repeated.
            Err(why) => self.wrong(entry, format!("the URL is wrong: {why}")),
        }
    }

    fn paths(&mut self) -> Option<Vec<PathRule>> {
        let entry = self.required(PATHS, "such as paths = [\"v1/chat/completions\"]")?;
        if entry.texts.is_empty() {
            return self.wrong(entry, "allows nothing; \"*\" allows everything");
        }
        let mut rules = Vec::with_capacity(entry.texts.len());
        for text in &entry.texts {
            match PathRule::parse(text) {
                Ok(rule) => rules.push(rule),
                Err(why) => {
                    return self.wrong(entry, format!("`{}`: {why}", text.escape_debug()));
                }
            }
        }
        Some(rules)
    }

    fn header(&mut self, entry: &Entry) -> Option<UpstreamHeader> {
        let name = HeaderName::from_bytes(entry.header.as_bytes()).ok();
        let Some(name) = name.filter(is_upstream_header) else {
            return self.wrong(entry, "is no header that can be set here");
        };
        let text = one(entry);
        let secret = match Source::of(text) {
            Source::Literal if text == COVER => {
                let what = "stands for a value that is not shown; write env:NAME or file:PATH";
                return self.wrong(entry, format!("`{COVER}` {what}"));
            }
            Source::Literal => Some(text[Source::prefix(text).len()..].to_owned()),
            Source::Variable(variable) => {
                let found = self.variables.iter().find(|(name, _)| name == variable);
                let Some((_, value)) = found else {
                    let what = format!("the variable {} is not set", variable.escape_debug());
                    return self.wrong(entry, what);
                };
                value.to_str().map(str::to_owned)
            }
            Source::File(path) => {
                let bytes = self.file(entry, path, SECRET_FILE_BYTES_MAX)?;
                String::from_utf8(bytes).ok().map(|text| text.trim_end().to_owned())
            }
        };
        let secret = secret.filter(|secret| !secret.is_empty());
        let header = secret.and_then(|s| UpstreamHeader::new(name, Source::prefix(text), &s));
        header.or_else(|| self.wrong(entry, "has no value that a header can have"))
    }

    fn tls(&mut self) -> Option<Option<Tls>> {
        let Some(entry) = self.find("ca_file") else {
            let system = self.system.get_or_init(|| Tls::system().map_err(|e| e.to_string()));
            return match system {
                Ok(tls) => Some(Some(tls.clone())),
                Err(what) => {
                    self.problems.push(Problem::new(self.table.place.clone(), what.as_str()));
                    None
                }
            };
        };
        let pem = self.file(entry, one(entry), CA_FILE_BYTES_MAX)?;
        match Tls::of_pem(&pem) {
            Ok(tls) => Some(Some(tls)),
            Err(error) => self.wrong(entry, format!("the file is wrong: {error}")),
        }
    }

    /// What a file holds; not more than it may.
    fn file(&mut self, entry: &Entry, path: &str, bytes_max: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(path);
        let read = file.and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
        let path = path.escape_debug();
        match read {
            Ok(_) if bytes.len() as u64 > bytes_max => {
                self.wrong(entry, format!("the file {path} has more than {bytes_max} bytes"))
            }
            Ok(_) => Some(bytes),
            Err(error) => self.wrong(entry, format!("the file {path} cannot be read: {error}")),
        }
    }

    fn patience(&mut self) -> Option<Patience> {
        let [connect, first_byte, idle, total] = TIMEOUTS.map(|timeout| self.timeout(&timeout));
        Some(Patience { connect: connect?, first_byte: first_byte?, idle: idle?, total: total? })
    }

    fn timeout(&mut self, (key, default_ms, ms_max): &Timeout) -> Option<Duration> {
        let Some(entry) = self.find(key) else { return Some(Duration::from_millis(*default_ms)) };
        let shown = |ms| Unit::Duration.show(ms);
        let allowed = format!("allowed: {} to {}", shown(TIMEOUT_MS_MIN), shown(*ms_max));
        match Unit::Duration.parse(one(entry)) {
            Ok(ms) if ms < TIMEOUT_MS_MIN => {
                self.wrong(entry, format!("{} is too little; {allowed}", shown(ms)))
            }
            Ok(ms) if *ms_max < ms => {
                self.wrong(entry, format!("{} is too much; {allowed}", shown(ms)))
            }
            Ok(ms) => Some(Duration::from_millis(ms)),
            Err(what) => self.wrong(entry, format!("{what}; {allowed}")),
        }
    }

    fn switch(&mut self, key: &str) -> Option<bool> {
        let Some(entry) = self.find(key) else { return Some(false) };
        let found = one(entry).parse().ok();
        found.or_else(|| self.wrong(entry, "is not true or false; allowed: true or false"))
    }

    fn find(&self, key: &str) -> Option<&'a Entry> {
        self.table.entries.iter().find(|entry| entry.key == key)
    }

    fn required(&mut self, key: &str, example: &str) -> Option<&'a Entry> {
        let found = self.find(key);
        if found.is_none() {
            let what = format!("{key} is missing, {example}");
            self.problems.push(Problem::new(self.table.place.clone(), what));
        }
        found
    }

    fn wrong<T>(&mut self, entry: &Entry, what: impl Into<String>) -> Option<T> {
        self.problems.push(Problem::new(entry.place.clone(), what));
        None
    }
}

/// Where the value of a header comes from.
enum Source<'a> {
    File(&'a str),
    Literal,
    Variable(&'a str),
}

impl<'a> Source<'a> {
    /// Of `env:NAME` and `file:PATH`, alone or behind the word of a scheme: `Bearer env:NAME`.
    fn of(text: &'a str) -> Self {
        let rest = &text[Self::prefix(text).len()..];
        match (rest.strip_prefix("env:"), rest.strip_prefix("file:")) {
            (Some(name), _) => Self::Variable(name),
            (_, Some(path)) => Self::File(path),
            _ => Self::Literal,
        }
    }

    /// The word of a scheme with its space, if there is one; a secret comes without it.
    fn prefix(text: &str) -> &str {
        let Some((word, _)) = text.split_once(' ') else { return "" };
        let is_word = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic());
        if is_word { &text[..=word.len()] } else { "" }
    }
}

fn one(entry: &Entry) -> &str {
    entry.texts.first().map(String::as_str).unwrap_or_default()
}

/// What may be shown of an upstream: references to secrets, and no value of a header.
fn show(table: &UpstreamTable, upstream: &Upstream) -> Vec<Shown> {
    let mut all = Vec::new();
    for key in KEYS {
        let given: Vec<_> = table.entries.iter().filter(|entry| entry.key == key).collect();
        for entry in &given {
            let text = one(entry);
            let value = match key {
                "url" => upstream.url.shown().into(),
                PATHS => upstream.paths.iter().map(ToString::to_string).collect(),
                HEADERS if matches!(Source::of(text), Source::Literal) => COVER.into(),
                "allow_http" | "allow_private" => (text == "true").into(),
                _ => text.into(),
            };
            let key = match key {
                HEADERS => format!("{HEADERS}.{}", quoted_if_need_be(&entry.header)),
                key => key.to_owned(),
            };
            all.push(Shown { key, value, place: Some(entry.place.clone()) });
        }
        if given.is_empty() {
            let timeout = TIMEOUTS.iter().find(|(timeout, ..)| *timeout == key);
            let value = match timeout {
                Some((_, default_ms, _)) => Unit::Duration.show(*default_ms).into(),
                None if key.starts_with("allow_") => false.into(),
                None => continue,
            };
            all.push(Shown { key: key.to_owned(), value, place: None });
        }
    }
    all
}

/// The name of a header as a key of TOML; that of any header that is sent can be quoted.
fn quoted_if_need_be(name: &str) -> String {
    let is_bare = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if is_bare { name.to_owned() } else { format!("\"{name}\"") }
}

/// A key, its default, and the most that it may be.
type Timeout = (&'static str, u64, u64);

const TIMEOUTS: [Timeout; 4] = [
    ("connect_timeout", 10_000, 60_000),
    ("first_byte_timeout", 60_000, 600_000),
    ("idle_timeout", 60_000, 600_000),
    ("total_timeout", 3_600_000, 86_400_000),
];
const TIMEOUT_MS_MIN: u64 = 100;
/// What is shown of a value that is not.
const COVER: &str = "***";
