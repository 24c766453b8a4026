//! The command line: which commands there are and what they take. The flags of the settings
//! come from their table.

pub(crate) mod operator;

use std::{env, ffi::OsString};

use clap::{
    Arg, ArgAction, ArgMatches, Command, ValueHint, builder::PossibleValuesParser, value_parser,
};
use clap_complete::Shell;

use crate::{
    client::{
        cancel::Cancel,
        hub::{ClientError, Hub, near},
        publish::{Input, Publish},
        status::Status,
        stream::Format,
        subscribe::Subscribe,
    },
    settings,
};

/// The whole command line.
pub(crate) fn command() -> Command {
    let table = Command::new("settings-table").about("Print the settings as Markdown").hide(true);
    shown().subcommand(table)
}

/// What users are told of it.
pub(crate) fn shown() -> Command {
    let serve = Command::new("serve").about("Run a hub (what no command means, too)");
    let commands = [
        serve.args(settings::arguments()).after_help(AFTER_HELP),
        publish(),
        subscribe(),
        status(),
        cancel(),
        operator::channels(),
        operator::top(),
        operator::drain(),
        operator::health(),
        check(),
        completions(),
    ];
    let names: Vec<_> = commands.iter().map(|command| command.get_name().to_owned()).collect();
    Command::new("fanfare")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A broadcast hub for Server-Sent Events")
        .after_help(AFTER_HELP)
        .args(settings::arguments())
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommands(commands)
        .subcommand(man(names))
}

fn check() -> Command {
    let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let print = "Print all settings as a configuration file that says where each came from";
    Command::new("check")
        .about("Say whether the configuration is fine, or print what holds")
        .arg(switch("print").help(print))
        .arg(switch("json").requires("print").help("Print them as one line of JSON"))
        .args(settings::arguments())
        .after_help(AFTER_HELP)
}

fn completions() -> Command {
    Command::new("completions")
        .about("Print what a shell needs to complete commands and flags")
        .arg(
            Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell)),
        )
}

fn man(commands: Vec<String>) -> Command {
    Command::new("man")
        .about("Print the manual page of fanfare or of one of its commands")
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .value_parser(PossibleValuesParser::new(commands))
                .help("The command; none: fanfare itself"),
        )
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("DIR")
                .value_hint(ValueHint::DirPath)
                .conflicts_with("command")
                .help("Write all pages into this directory instead"),
        )
}

fn publish() -> Command {
    let stream = |name: &'static str, others: [&'static str; 2], help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help).conflicts_with_all(others)
    };
    Command::new("publish")
        .about("Publish to a channel; prints the id of the (last) event")
        .arg(Arg::new("channel").value_name("CHANNEL").required(true))
        .arg(Arg::new("data").value_name("DATA").help("The event's data; `-` or none: from stdin"))
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .last(true)
                .num_args(1..)
                .value_parser(value_parser!(OsString))
                .value_hint(ValueHint::CommandWithArguments)
                .conflicts_with("data")
                .help("Stream what it prints, not stdin; it ends well if it exits with 0"),
        )
        .arg(url())
        .arg(
            Arg::new("event")
                .long("event")
                .value_name("TYPE")
                .help("The type of the event, or of all lines")
                .conflicts_with_all(["ndjson", "sse"]),
        )
        .arg(
            Arg::new("close")
                .long("close")
                .value_name("REASON")
                .num_args(0..=1)
                .default_missing_value("done")
                .value_parser(PossibleValuesParser::new(["done", "error", "cancelled", ON_END]))
                .help("Close the channel afterwards; without DATA only close it, but for on-end"),
        )
        .arg(stream(
            "lines",
            ["ndjson", "sse"],
            "Stream stdin as many events, the data of one a line",
        ))
        .arg(stream("ndjson", ["lines", "sse"], "Stream stdin as many events, a line of JSON each"))
        .arg(stream(
            "sse",
            ["lines", "ndjson"],
            "Stream stdin as many events, in the format of Server-Sent Events",
        ))
        .after_help(PUBLISH_HELP)
}

fn subscribe() -> Command {
    let option = |name: &'static str| Arg::new(name).long(name);
    Command::new("subscribe")
        .about("Print the events of channels as they come; resumes by itself")
        .arg(
            Arg::new("channel")
                .value_name("CHANNEL")
                .required(true)
                .num_args(1..)
                .help("A channel, or a pattern such as orders/* or orders/**"),
        )
        .arg(url())
        .arg(option("from").value_name("POSITION").help("Begin at `now`, `start` or after an id"))
        .arg(option("last").value_name("N").help("Begin N events back"))
        .arg(option("json").action(ArgAction::SetTrue).help("Print id, type and data as JSON"))
}

fn status() -> Command {
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
    Command::new("status")
        .about("Say whether a channel is open, how it ended, and what it has")
        .arg(Arg::new("channel").value_name("CHANNEL").required(true))
        .arg(url())
        .arg(json.help("Print a line of JSON, as the hub tells it"))
        .after_help("It exits with 1 if there never was such a channel, or it has expired.")
}

fn cancel() -> Command {
    Command::new("cancel")
        .about("Ask the producer of a channel to stop; prints what becomes of the channel")
        .arg(Arg::new("channel").value_name("CHANNEL").required(true))
        .arg(url())
        .after_help(
            "`cancelling`: the wish is stored, also for a producer that is still to come; it \
             closes the\nchannel. `closed`: the channel had ended, or its producer was gone.",
        )
}

fn url() -> Arg {
    PUBLIC.argument("The hub")
}

/// What `fanfare publish` was told.
pub(crate) fn to_publish(flags: &ArgMatches) -> Result<Publish, ClientError> {
    let close = text(flags, "close");
    let data = text(flags, "data").filter(|data| data != "-");
    let has_dash = flags.contains_id("data") && data.is_none();
    let command: Vec<_> =
        flags.get_many::<OsString>("command").unwrap_or_default().cloned().collect();
    let streams = close.as_deref() == Some(ON_END) && data.is_none() || !command.is_empty();
    let format = [("sse", Format::Sse), ("ndjson", Format::Ndjson), ("lines", Format::Lines)]
        .into_iter()
        .find_map(|(flag, format)| flags.get_flag(flag).then_some(format))
        .or_else(|| streams.then_some(Format::Lines));
    let input = match (format, data) {
        (Some(_), Some(_)) => {
            return Err(ClientError::Usage("--lines, --ndjson and --sse read stdin, not DATA"));
        }
        (Some(format), None) => Input::Stream(format, command),
        (None, Some(data)) => Input::Data(data),
        (None, None) if close.is_some() && !has_dash => Input::Nothing,
        (None, None) => Input::OneFromStdin,
    };
    let channel = text(flags, "channel").unwrap_or_default();
    Ok(Publish { hub: hub(flags)?, channel, event: text(flags, "event"), close, input })
}

/// What `fanfare subscribe` was told.
pub(crate) fn to_subscribe(flags: &ArgMatches) -> Result<Subscribe, ClientError> {
    let channels = flags.get_many::<String>("channel").unwrap_or_default();
    Ok(Subscribe {
        hub: hub(flags)?,
        channels: channels.cloned().collect(),
        from: text(flags, "from"),
        last: text(flags, "last"),
        json: flags.get_flag("json"),
    })
}

/// What `fanfare status` was told.
pub(crate) fn to_status(flags: &ArgMatches) -> Result<Status, ClientError> {
    let channel = text(flags, "channel").unwrap_or_default();
    Ok(Status { hub: hub(flags)?, channel, json: flags.get_flag("json") })
}

/// What `fanfare cancel` was told.
pub(crate) fn to_cancel(flags: &ArgMatches) -> Result<Cancel, ClientError> {
    Ok(Cancel { hub: hub(flags)?, channel: text(flags, "channel").unwrap_or_default() })
}

fn hub(flags: &ArgMatches) -> Result<Hub, ClientError> {
    PUBLIC.find(flags)
}

/// A listener of a hub, and how commands find it.
struct Listener {
    /// The key of the flag with its URL.
    key: &'static str,
    /// The flag, as typed.
    flag: &'static str,
    /// The variable with its URL.
    variable: &'static str,
    /// The key of the hub's own setting of where it listens, and the variable of that.
    setting: [&'static str; 2],
    /// Its URL if nobody says anything.
    default: &'static str,
}

impl Listener {
    fn argument(&self, what: &str) -> Arg {
        let Self { key, flag, variable, setting: [_, setting], default } = self;
        let help = format!(
            "{what}\n[env: {variable}]\n[default: by {setting} or FANFARE_CONFIG, else {default}]"
        );
        Arg::new(*key).long(flag.trim_start_matches('-')).value_name("URL").help(help)
    }

    /// The hub whose listener it is.
    fn find(&self, flags: &ArgMatches) -> Result<Hub, ClientError> {
        if let Some(url) = text(flags, self.key) {
            return Hub::parse(&url, self.flag);
        }
        if let Some(url) = env::var_os(self.variable) {
            return Hub::parse(&url.to_string_lossy(), self.variable);
        }
        let variables: Vec<_> = env::vars_os().collect();
        let listener =
            settings::listener(self.setting[0], &variables).map_err(ClientError::Settings)?;
        match listener {
            Some(listener) => Hub::parse(&format!("http://{}", near(listener)), self.setting[1]),
            None => Hub::parse(self.default, self.flag),
        }
    }
}

fn text(flags: &ArgMatches, name: &str) -> Option<String> {
    flags.get_one::<String>(name).cloned()
}

/// That of publishers and subscribers.
const PUBLIC: Listener = Listener {
    key: "url",
    flag: "--url",
    variable: "FANFARE_URL",
    setting: ["listen", "FANFARE_LISTEN"],
    default: "http://127.0.0.1:8080",
};
/// The reason of a stream that closes its channel by how it ends.
const ON_END: &str = "on-end";
const PUBLISH_HELP: &str = "\
--close on-end streams stdin, by --lines unless another format is named, and closes the channel with
`done` when it ends. If fanfare is killed or loses the hub, or its COMMAND fails, the channel waits
--producer-grace of the hub for a publish that goes on, then closes with `error`. A pipe does not
tell whether who wrote to it was killed: give it as COMMAND where that matters.
A stream ends early, with 2, when somebody asks that its channel be cancelled; with on-end it is
then closed with `cancelled`. A COMMAND is killed, who writes to the pipe is told by SIGPIPE.

  fanfare publish chat/42 --close on-end -- produce
  produce | fanfare publish chat/42 --close on-end";
const AFTER_HELP: &str = "\
Each setting is also a variable, such as FANFARE_RING_AGE, and a key of the TOML file that --config
or FANFARE_CONFIG names, such as ring_age. A flag wins over a variable, that over the file. In the
file, channels that match a pattern may keep more or less than others:

  [[channels]]
  pattern = \"orders/**\"
  ring_events = 10_000
  ring_age = \"1d\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> ArgMatches {
        let line = ["fanfare"].iter().chain(line);
        command().try_get_matches_from(line).unwrap()
    }

    fn input(line: &[&str]) -> Input {
        let matches = parse(&[&["publish", "news"], line].concat());
        to_publish(matches.subcommand().unwrap().1).unwrap().input
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn what_is_published_comes_from_where_it_was_said() {
        assert_eq!(input(&["hello"]), Input::Data("hello".into()));
        assert_eq!(input(&["hello", "--close"]), Input::Data("hello".into()));
        assert_eq!(input(&[]), Input::OneFromStdin);
        assert_eq!(input(&["-", "--close"]), Input::OneFromStdin);
        assert_eq!(input(&["--close=error"]), Input::Nothing);
        assert_eq!(input(&["--close", "error"]), Input::Nothing);
        for flags in [&["--lines"][..], &["--close", "on-end"], &["-", "--close", "on-end"]] {
            assert_eq!(input(flags), Input::Stream(Format::Lines, Vec::new()));
        }
        assert_eq!(input(&["--close", "on-end", "--sse"]), Input::Stream(Format::Sse, Vec::new()));
        let command = ["gen".into(), "--sse".into()].to_vec();
        assert_eq!(input(&["--", "gen", "--sse"]), Input::Stream(Format::Lines, command));
        assert_eq!(input(&["hello", "--close", "on-end"]), Input::Data("hello".into()));
        assert_eq!(input(&["--ndjson"]), Input::Stream(Format::Ndjson, Vec::new()));
        assert_eq!(input(&["-", "--sse"]), Input::Stream(Format::Sse, Vec::new()));
    }

    #[test]
    fn what_follows_close_is_never_taken_for_data() {
        for line in [["--close", "hello"], ["--close", "orders/17"]] {
            let line = [&["fanfare", "publish", "news"], &line[..]].concat();
            assert!(command().try_get_matches_from(line).is_err());
        }
    }

    #[test]
    fn data_and_a_stream_contradict() {
        let matches = parse(&["publish", "news", "hello", "--ndjson"]);
        let error = to_publish(matches.subcommand().unwrap().1).unwrap_err();
        assert!(matches!(error, ClientError::Usage(_)), "{error}");
    }

    #[test]
    fn no_command_takes_the_settings_of_serve() {
        let matches = parse(&["--workers", "2"]);
        assert!(matches.subcommand().is_none() && matches.contains_id("workers"));
        assert!(command().try_get_matches_from(["fanfare", "--workers", "2", "check"]).is_err());
    }
}
