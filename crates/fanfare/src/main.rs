//! The `fanfare` binary: a hub, and the commands that talk to one.
//!
//! Results go to standard output, words for people to standard error. It exits with 0 when it
//! did what it was asked, 64 when it was asked wrongly, 1 when it could not, 2 when somebody wished
//! that it stop.

mod client;
mod command;
mod limits;
mod log;
mod manual;
mod notify;
mod otlp;
mod reload;
mod serve;
mod settings;
mod signals;
mod terminal;

use std::{env, future::Future, io, process::ExitCode};

use mimalloc::MiMalloc;

use crate::{
    client::{cancel, channels, drain, health, hub::ClientError, publish, status, subscribe, top},
    command::operator,
    terminal::EX_USAGE,
};

/// Many small allocations from many threads, freed by others: what it is made for.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let matches = match command::command().try_get_matches_from(env::args_os()) {
        Ok(matches) => matches,
        Err(answer) => return not_parsed(&answer),
    };
    match matches.subcommand() {
        None => served(serve::serve(&matches)),
        Some(("serve", flags)) => served(serve::serve(flags)),
        Some(("check", flags)) => served(serve::check(flags)),
        Some(("publish", flags)) => asked(command::to_publish(flags), publish::run),
        Some(("subscribe", flags)) => asked(command::to_subscribe(flags), subscribe::run),
        Some(("status", flags)) => asked(command::to_status(flags), status::run),
        Some(("cancel", flags)) => asked(command::to_cancel(flags), cancel::run),
        Some(("channels", flags)) => asked(operator::to_channels(flags), channels::run),
        Some(("top", flags)) => asked(operator::to_top(flags), top::run),
        Some(("drain", flags)) => asked(operator::to_drain(flags), drain::run),
        Some(("health", flags)) => asked(operator::to_health(flags), health::run),
        Some(("completions", flags)) => printed(manual::completions(flags)),
        Some(("man", flags)) => printed(manual::pages(flags)),
        Some(_) => printed(terminal::out(&settings::markdown())),
    }
}

/// The end of a command line that names no command: help, the version, or a mistake.
fn not_parsed(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() {
        terminal::say(answer.to_string().trim_end().trim_start_matches("error: "));
        return ExitCode::from(EX_USAGE);
    }
    printed(terminal::out(&answer.to_string()))
}

/// The end of `serve` and `check`.
fn served(outcome: Result<(), serve::ServeError>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    terminal::report(&error);
    if error.is_usage() { ExitCode::from(EX_USAGE) } else { ExitCode::FAILURE }
}

/// Runs a client command to its end.
fn asked<T, F>(asked: Result<T, ClientError>, run: impl FnOnce(T) -> F) -> ExitCode
where
    F: Future<Output = Result<(), ClientError>>,
{
    let outcome = asked.and_then(|asked| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ClientError::System)?;
        let outcome = runtime.block_on(run(asked));
        // A thread may still wait for standard input, which nobody will read.
        runtime.shutdown_background();
        outcome
    });
    let error = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        // Who closed the other end of the pipe has read enough.
        Err(ClientError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        Err(error) => error,
    };
    terminal::report(&error);
    error.advice().into_iter().for_each(terminal::say);
    ExitCode::from(error.code())
}

/// The end of a command that only prints. Who closes its output has read enough.
fn printed(outcome: io::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if error.kind() != io::ErrorKind::BrokenPipe {
        terminal::report(&error);
    }
    ExitCode::FAILURE
}
