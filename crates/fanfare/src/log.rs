//! The log: what is written, how, and that it never holds the hub up.
//!
//! Only the hub's own modules are logged. Other crates would write what they read from peers,
//! queries and data included, so directives that name them are refused.

mod queue;

use std::{
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
    sync::Arc,
    thread,
};

use fanfare_server::{LogFormat, ProcessCounts, Telemetry};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Registry, filter::Targets, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use self::queue::Queue;

/// The log of the process.
#[derive(Clone)]
pub(crate) struct Log {
    filter: reload::Handle<Targets, Registry>,
    queue: Queue,
}

impl Log {
    /// Begins to log to standard error. Once in the life of a process.
    pub(crate) fn start(telemetry: &Telemetry, counts: Arc<ProcessCounts>) -> io::Result<Self> {
        let queue = Queue::start(io::stderr(), counts)?;
        let (filter, handle) = reload::Layer::new(targets(&telemetry.log));
        let lines = fmt::layer().with_ansi(false).with_writer(queue.clone());
        let registry = tracing_subscriber::registry().with(filter);
        let is_json = match telemetry.log_format {
            LogFormat::Auto => !io::stderr().is_terminal(),
            LogFormat::Human => false,
            LogFormat::Json => true,
        };
        let started = if is_json {
            registry.with(lines.json().flatten_event(true)).try_init()
        } else {
            registry.with(lines).try_init()
        };
        started.map_err(io::Error::other)?;
        panic::set_hook(Box::new(panicked));
        Ok(Self { filter: handle, queue })
    }

    /// Logs what these directives say from now on.
    pub(crate) fn put(&self, directives: &str) {
        // It fails when the subscriber is gone, and that lives as long as the process.
        self.filter.reload(targets(directives)).unwrap_or_default();
    }

    /// Waits until what was logged is written, but not for ever.
    pub(crate) fn flush(&self) {
        self.queue.flush();
    }
}

/// Flushes the log when it is dropped.
pub(crate) struct FlushAtEnd<'a>(pub(crate) &'a Log);

impl Drop for FlushAtEnd<'_> {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Reads directives such as `info,fanfare_server=debug`, or says what is wrong with them.
pub(crate) fn parse(text: &str) -> Result<Targets, String> {
    let mut targets = Targets::new();
    let mut others = LevelFilter::OFF;
    for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (target, word) = match directive.split_once('=') {
            Some((target, word)) => (Some(target), word),
            None => (None, directive),
        };
        let level = level(word).ok_or_else(|| format!("`{}` is no level", word.escape_debug()))?;
        match target {
            None => others = level,
            Some(target) if is_ours(target) => targets = targets.with_target(target, level),
            Some(target) => {
                return Err(format!("`{}` is no module of the hub", target.escape_debug()));
            }
        }
    }
    // A target that is named counts before this one: the longest that matches does.
    Ok(if targets.iter().any(|(target, _)| target == OURS) {
        targets
    } else {
        targets.with_target(OURS, others)
    })
}

/// The same for directives that were found to be right when the settings were read.
fn targets(text: &str) -> Targets {
    parse(text).unwrap_or_else(|_| Targets::new().with_target(OURS, LevelFilter::INFO))
}

fn level(word: &str) -> Option<LevelFilter> {
    // Numbers and nothing are levels to the crate, and slips to people.
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic());
    word.parse().ok().filter(|_| is_word)
}

/// Whether it is a crate of the hub, or a module of one.
fn is_ours(target: &str) -> bool {
    let root = target.split("::").next().unwrap_or_default();
    let is_path = target.split("::").all(|part| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c))
    });
    is_path && CRATES.contains(&root)
}

/// Tells of a panic in the log: there its line is whole, and nobody waits for it.
fn panicked(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let location = panic.location().map(ToString::to_string);
    tracing::error!(
        thread = thread.name().unwrap_or_default(),
        location = location.as_deref().unwrap_or_default(),
        "a thread panicked: {}",
        panic.payload_as_str().unwrap_or_default()
    );
}

/// What every target of ours starts with; a filter compares beginnings.
const OURS: &str = "fanfare";
/// The crates that log.
const CRATES: [&str; 4] = ["fanfare", "fanfare_core", "fanfare_fanout", "fanfare_server"];

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn directives_say_what_is_logged() {
        let is_logged =
            |text, target, level: &Level| parse(text).unwrap().would_enable(target, level);
        assert!(is_logged("info", "fanfare::serve", &Level::INFO));
        assert!(is_logged("info", "fanfare_server::drain", &Level::INFO));
        assert!(!is_logged("info", "fanfare_server::drain", &Level::DEBUG));
        assert!(is_logged(
            "warn,fanfare_server::drain=debug",
            "fanfare_server::drain",
            &Level::DEBUG
        ));
        assert!(!is_logged("warn,fanfare_server::drain=debug", "fanfare_server", &Level::INFO));
        assert!(!is_logged("off", "fanfare::serve", &Level::ERROR));
        assert!(!is_logged("", "fanfare::serve", &Level::ERROR));
    }

    #[test]
    fn other_crates_are_never_logged() {
        assert!(!parse("trace").unwrap().would_enable("h2::codec", &Level::ERROR));
        assert!(!parse("trace").unwrap().would_enable("hyper", &Level::ERROR));
    }

    #[test]
    fn wrong_directives_are_told() {
        for (text, expected) in [
            ("loud", "`loud` is no level"),
            ("info,", ""),
            ("3", "`3` is no level"),
            ("info,fanfare=", "`` is no level"),
            ("h2=trace", "`h2` is no module of the hub"),
            ("fanfare_sever=debug", "`fanfare_sever` is no module of the hub"),
            ("fanfare::=debug", "`fanfare::` is no module of the hub"),
            ("info,[span{id=1}]=debug", "`1}]=debug` is no level"),
        ] {
            assert_eq!(parse(text).err().unwrap_or_default(), expected, "{text}");
        }
    }
}
