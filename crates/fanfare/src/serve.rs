//! `fanfare serve` and `fanfare check`: from settings to a running hub, and to its end.

use std::{env, error::Error, fmt, io, net::SocketAddr, sync::Arc};

use clap::ArgMatches;
use fanfare_server::{Config, ProcessCounts, Server, StartError};
use tokio::runtime;
use tokio_util::sync::CancellationToken;

use crate::{
    client::{amount, hub::near},
    log::{FlushAtEnd, Log},
    notify::Notify,
    otlp::Exporter,
    reload::{Reload, Sources},
    settings::{
        self,
        effective::{Effective, Lowered},
        machine::Machine,
        problem::Wrong,
    },
    signals::Signals,
    terminal,
};

/// Runs a hub until it has drained.
pub(crate) fn serve(flags: &ArgMatches) -> Result<(), ServeError> {
    let (machine, variables) = (Machine::probe(), env::vars_os().collect());
    let sources = Sources { flags: flags.clone(), variables, machine };
    let mut effective = configure(&sources)?;
    let counts = Arc::<ProcessCounts>::default();
    let log =
        Log::start(&effective.config.telemetry, Arc::clone(&counts)).map_err(ServeError::System)?;
    warning(&effective.config).inspect(|words| tracing::warn!("{words}"));
    within(&mut effective, &machine).iter().for_each(|words| tracing::warn!("{words}"));
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(ServeError::System)?;
    // Also when a panic ends it.
    let _flushed = FlushAtEnd(&log);
    runtime.block_on(Box::pin(run(sources, effective, counts, &log)))
}

/// Says whether the configuration is fine, or what holds if it is.
pub(crate) fn check(flags: &ArgMatches) -> Result<(), ServeError> {
    let (machine, variables) = (Machine::probe(), env::vars_os().collect());
    let mut effective = configure(&Sources { flags: flags.clone(), variables, machine })?;
    warning(&effective.config).inspect(|words| terminal::say(&format!("warning: {words}")));
    for words in within(&mut effective, &machine) {
        terminal::say(&format!("warning: {words}"));
    }
    let text = match (flags.get_flag("print"), flags.get_flag("json")) {
        (false, _) => "the configuration is fine\n".to_owned(),
        (true, false) => effective.to_toml(),
        (true, true) => effective.to_json(),
    };
    terminal::out(&text).map_err(ServeError::System)
}

/// Everything that can be wrong before a port is opened.
fn configure(sources: &Sources) -> Result<Effective, ServeError> {
    let Sources { flags, variables, machine } = sources;
    let effective = settings::load(flags, variables, machine).map_err(ServeError::Settings)?;
    effective.config.check().map_err(ServeError::Check)?;
    Ok(effective)
}

/// What is allowed and should be known.
fn warning(config: &Config) -> Option<&'static str> {
    config.allowed_hosts.iter().any(|host| host == "*").then_some(
        "with --allowed-host * requests may name any host, so that a web page can reach this hub \
         by DNS rebinding; name the hosts that clients connect to instead",
    )
}

/// No more connections and fetches than there are files for: the machine's limit is not the
/// user's mistake.
fn within(effective: &mut Effective, machine: &Machine) -> Vec<String> {
    let files = machine.open_files_max;
    let words = |Lowered { what, set, possible, .. }| {
        format!(
            "{set} {what} are set and only {possible} are possible, because {files} files may be \
             open; raise the limit of open files (ulimit -n, LimitNOFILE=)"
        )
    };
    effective.bound_by_files(machine).into_iter().map(words).collect()
}

async fn run(
    sources: Sources,
    holds: Effective,
    counts: Arc<ProcessCounts>,
    log: &Log,
) -> Result<(), ServeError> {
    let signals = Signals::new().map_err(ServeError::System)?;
    let config = &holds.config;
    let server = Server::bind(config.clone(), Arc::clone(&counts)).map_err(ServeError::Start)?;
    let (public, admin) = (server.public_addr(), server.admin_addr());
    let open_files_max = sources.machine.open_files_max;
    tracing::info!(version = VERSION, %public, %admin, "the hub starts");
    tell_settings(config, open_files_max);
    let urls = announcement(public, admin);
    let connections_max = config.connections_max;
    // A hub whose output nobody reads is still a hub.
    drop(terminal::out(&format!(
        "{urls}\n{connections_max} connections at most ({open_files_max} open files)\n"
    )));

    let drain = CancellationToken::new();
    let exporter = exporter(&server, config, &counts)?;
    let notify = Arc::new(Notify::new(&sources.variables));
    let hub = server.handle();
    let reload = Reload { sources, holds, hub: hub.clone(), log: log.clone(), counts };
    tokio::spawn(signals.obey(drain.clone(), reload, log.clone(), Arc::clone(&notify)));
    notify.ready();
    tokio::spawn(async move { notify.run(hub).await });
    let drained = Box::pin(server.run(drain)).await;
    let all = if drained.in_time { "all in time" } else { "not all in time" };
    let subscribers = amount::subscribers(drained.subscribers_sent_away);
    tracing::info!("drained: {subscribers}, {all}");
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    Ok(())
}

/// Exports traces, if a collector is named.
fn exporter(
    server: &Server,
    config: &Config,
    counts: &Arc<ProcessCounts>,
) -> Result<Option<Exporter>, ServeError> {
    let (percent, instance) = (config.telemetry.otlp_percent, server.public_addr().to_string());
    let Some(url) = &config.telemetry.otlp_endpoint else { return Ok(None) };
    let exporter = Exporter::start(url, percent, instance, Arc::clone(counts));
    let exporter = exporter.map_err(|error| ServeError::System(io::Error::other(error)))?;
    server.trace(exporter.tracer());
    Ok(Some(exporter))
}

/// The settings that an operator looks for first when something is not as expected.
fn tell_settings(config: &Config, open_files_max: u64) {
    tracing::info!(
        workers = config.workers,
        memory_bytes_max = config.memory_bytes_max,
        rings_bytes_max = config.rings_bytes_max,
        connections_max = config.connections_max,
        open_files_max,
        channels_max = config.channels_max,
        drain_delay_ms = config.drain_delay_ms,
        drain_period_ms = config.drain_period_ms,
        "settings"
    );
}

/// What a start prints: where the hub is, and two commands to try it.
fn announcement(public: SocketAddr, admin: SocketAddr) -> String {
    let near = near(public);
    format!(
        "fanfare {VERSION}\n  \
         hub      http://{public}\n  \
         admin    http://{admin}\n\
         try\n  \
         curl -N http://{near}/channels/news\n  \
         curl -d hello http://{near}/channels/news\n"
    )
}

/// Why there is no hub.
#[derive(Debug)]
pub(crate) enum ServeError {
    /// The settings contradict each other or are not safe; the user is at fault.
    Check(StartError),
    /// A setting is wrong; the user is at fault.
    Settings(Wrong),
    /// The hub could not start, for example because its port is in use.
    Start(StartError),
    /// The system refused something every process needs.
    System(io::Error),
}

impl ServeError {
    /// Whether the user can mend it in the settings.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::Check(_) | Self::Settings(_))
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(error) => error.fmt(f),
            Self::Settings(wrong) => wrong.fmt(f),
            Self::Start(_) => f.write_str("the hub did not start"),
            Self::System(_) => f.write_str("the system refused"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Check(error) => error.source(),
            Self::Settings(wrong) => wrong.source(),
            Self::Start(error) => Some(error),
            Self::System(error) => Some(error),
        }
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use fanfare_server::limits::FILES_RESERVED;

    use super::*;

    #[test]
    fn the_announcement_can_be_copied() {
        let text = announcement("0.0.0.0:80".parse().unwrap(), "[::1]:81".parse().unwrap());
        let lines: Vec<_> = text.lines().skip(1).collect();
        let expected = [
            "  hub      http://0.0.0.0:80",
            "  admin    http://[::1]:81",
            "try",
            "  curl -N http://127.0.0.1:80/channels/news",
            "  curl -d hello http://127.0.0.1:80/channels/news",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn connections_are_bounded_by_open_files() {
        let budget_bytes = 1 << 30;
        let machine = Machine { cores: 1, budget_bytes, open_files_max: 1_024, fetches: 0 };
        let flags = clap::Command::new("fanfare").args(settings::arguments());
        let flags = flags.get_matches_from(["fanfare", "--connections-max", "10_000"]);
        let mut effective = settings::load(&flags, &[], &machine).unwrap();
        assert!(within(&mut effective, &machine)[0].starts_with("10000 connections are set"));
        assert_eq!(effective.config.connections_max, 1_024 - FILES_RESERVED);
        let line = "connections_max = 448  # --connections-max: lowered from 10_000, as 1024 files \
                    may be open";
        let toml = effective.to_toml();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(toml.lines().any(|found| words(found) == words(line)), "{toml}");
    }
}
