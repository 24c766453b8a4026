//! Loads a hub for Server-Sent Events, checks every event of every subscriber, and reports what it
//! cost. It shares no code with the hub, so that it cannot share the hub's mistakes.

mod bare;
mod bars;
mod chunked;
mod cpus;
mod endpoint;
mod fleet;
mod ledger;
mod outcome;
mod pairs;
mod payload;
mod process;
mod publisher;
mod run;
mod scenario;
mod server;
mod sse;
mod sweep;

use std::{io, net::SocketAddr, process::ExitCode};

use clap::Parser;

use crate::{bare::Baseline, run::Common, scenario::Scenario};

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
    /// Serve as the floor of fan-out: a loop of `send`
    BareLoop(Listen),
    /// Serve as the floor of many channels with a subscriber each: `recv` and `send`
    BareRelay(Listen),
    /// Serve as the floor of a reconnect storm: `accept` and `send`
    BareAccept(Listen),
}

#[derive(Clone, Debug, clap::Args)]
struct Listen {
    /// Where to listen
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fanfare-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> io::Result<ExitCode> {
    match cli.command {
        Command::Scenario(scenario) => {
            let outcome = scenario.run(&cli.common)?;
            println!("{}", serde_json::to_string_pretty(&outcome)?);
            Ok(if outcome.complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
        }
        Command::BareLoop(at) => serve(Baseline::Loop, &at),
        Command::BareRelay(at) => serve(Baseline::Relay, &at),
        Command::BareAccept(at) => serve(Baseline::Accept, &at),
    }
}

fn serve(baseline: Baseline, at: &Listen) -> io::Result<ExitCode> {
    baseline.run(server::listen(at.listen)?)?;
    Ok(ExitCode::SUCCESS)
}
