//! Loads a hub for Server-Sent Events, checks every event of every subscriber, and reports what it
//! cost. It shares no code with the hub, so that it cannot share the hub's mistakes.

mod bare;
mod bars;
mod chunked;
mod cpus;
mod endpoint;
mod fleet;
mod ledger;
mod metrics;
mod outcome;
mod pairs;
mod payload;
mod process;
mod publisher;
mod ranges;
mod report;
mod run;
mod scenario;
mod server;
mod sse;
mod sweep;
mod websocket;

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    bare::Baseline, bars::BarsArgs, endpoint::Kind, report::Report, run::Common,
    scenario::Scenario, sweep::SweepArgs,
};

/// Loads a hub for Server-Sent Events and checks every event
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    #[command(flatten)]
    Scenario(Scenario),
    /// Run a scenario against two servers in turns, and print quotients
    Compare(Compare),
    /// Measure the project's bars, each beside its baseline
    Bars(BarsArgs),
    /// Draw cost and memory over subscribers, channels and sizes
    Sweep(SweepArgs),
    /// Serve as the floor of fan-out: a loop of `send`
    BareLoop(Listen),
    /// Serve as the floor of many channels with a subscriber each: `recv` and `send`
    BareRelay(Listen),
    /// Serve as the floor of a reconnect storm: `accept` and `send`
    BareAccept(Listen),
    /// Serve one channel over WebSocket, as a program on tokio-tungstenite does
    Websocket(Listen),
}

#[derive(Clone, Debug, clap::Args)]
struct Compare {
    /// The one
    a: Kind,
    /// The other, by whose figures those of the one are divided
    b: Kind,
    /// How often each is run
    #[arg(long, default_value_t = 5, value_parser = ranges::some::<usize>)]
    runs: usize,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Clone, Debug, clap::Args)]
struct Listen {
    /// Where to listen
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
}

fn main() -> ExitCode {
    allow_files();
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nobody can be told that nobody can be told.
            let _unsaid = writeln!(io::stderr(), "fanfare-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Allows as many open files as may be allowed: each subscriber is one, here and in the server that
/// is started.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    // If it cannot be raised, whoever needs more is told so by the first connect that fails.
    let _as_it_was =
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The arguments as they were given, for reports: without the token, which is nobody else's.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    const HIDDEN: &str = "…";
    let mut shown = Vec::new();
    let mut is_token = false;
    for argument in arguments {
        shown.push(match argument.split_once('=') {
            _ if is_token => HIDDEN.to_owned(),
            Some(("--token", _)) => format!("--token={HIDDEN}"),
            _ => argument.clone(),
        });
        is_token = !is_token && argument == "--token";
    }
    shown.join(" ")
}

fn run(cli: Cli) -> io::Result<ExitCode> {
    let common = cli.common;
    let mut report = Report {
        command: command_line(std::env::args()),
        machine: process::machine(),
        ..Report::default()
    };
    match cli.command {
        Command::BareLoop(at) => return serve(Baseline::Loop, &at),
        Command::BareRelay(at) => return serve(Baseline::Relay, &at),
        Command::BareAccept(at) => return serve(Baseline::Accept, &at),
        Command::Websocket(at) => {
            websocket::serve(server::listen(at.listen)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Scenario(scenario) => {
            let outcome = scenario.run(&common)?;
            report.title = format!("{} {}", outcome.scenario, outcome.target);
            report.outcomes.push(outcome);
        }
        Command::Compare(Compare { a, b, runs, scenario }) => {
            if common.server.url.is_some() {
                let why = "compare starts both servers itself: it takes no --url";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            report.outcomes = pairs::compare(&common, a, b, &scenario, runs)?;
            report.title = format!("{a} beside {b}");
        }
        Command::Bars(args) => {
            report.title = "bars".to_owned();
            let bars = bars::measure(common.clone(), args);
            (report.verdicts, report.outcomes) = (bars.verdicts, bars.outcomes);
        }
        Command::Sweep(args) => {
            report.title = "sweep".to_owned();
            (report.plots, report.outcomes) = sweep::sweep(&common, &args)?;
        }
    }
    tell(&report, &common)
}

/// What a server did wrong, or a bar that does not hold.
const EXIT_FAULTY: u8 = 2;
/// Figures that cannot be relied on.
const EXIT_DOUBTFUL: u8 = 3;

/// Prints and writes a report; the exit code says what it is worth.
fn tell(report: &Report, common: &Common) -> io::Result<ExitCode> {
    let (json, html) = report.write(&common.report)?;
    for plot in &report.plots {
        let path = common.report.join(report::slug(&plot.title)).with_extension("svg");
        fs::write(path, report::plot::standalone_svg(plot))?;
    }
    writeln!(io::stdout(), "{}", if common.json { report.json() } else { report.table() })?;
    writeln!(io::stderr(), "{} and {}", html.display(), json.display())?;
    let fails = report.verdicts.iter().any(|verdict| verdict.holds == Some(false));
    let unknown = report.verdicts.iter().any(|verdict| verdict.holds.is_none());
    Ok(if fails || report.outcomes.iter().any(|outcome| outcome.faulty) {
        ExitCode::from(EXIT_FAULTY)
    } else if unknown || report.complaints() > 0 {
        ExitCode::from(EXIT_DOUBTFUL)
    } else {
        ExitCode::SUCCESS
    })
}

fn serve(baseline: Baseline, at: &Listen) -> io::Result<ExitCode> {
    baseline.run(server::listen(at.listen)?)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_in_reports() {
        let shown = |text: &str| command_line(text.split(' ').map(ToOwned::to_owned));
        assert_eq!(shown("a --token secret --json"), "a --token … --json");
        assert_eq!(shown("a --token=secret fanout"), "a --token=… fanout");
        assert_eq!(shown("a --token --token b"), "a --token … b");
        assert_eq!(shown("a --server-arg=--x=1"), "a --server-arg=--x=1");
    }
}
