//! The commands of operators: what they take, and what they were told.

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};

use super::{Listener, text};
use crate::client::{
    admin::Admin,
    channels::{Channels, Query},
    drain::{Act, Drain},
    health::Health,
    hub::ClientError,
    top::Top,
};

/// `fanfare channels`
pub(super) fn channels() -> Command {
    let sorts = ["subscribers", "name", "events", "bytes", "rate"];
    Command::new("channels")
        .about("List the channels of a hub")
        .arg(Arg::new("prefix").value_name("PREFIX").help("What their names begin with"))
        .arg(
            Arg::new("contains")
                .long("contains")
                .value_name("TEXT")
                .help("What stands anywhere in their names"),
        )
        .arg(
            Arg::new("sort")
                .long("sort")
                .value_name("BY")
                .value_parser(PossibleValuesParser::new(sorts))
                .default_value("subscribers")
                .help("What is largest comes first, but names come in their order"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .default_value("50")
                .help("How many at most"),
        )
        .arg(
            Arg::new("all")
                .long("all")
                .action(ArgAction::SetTrue)
                .conflicts_with("limit")
                .help("All of them"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print a line of JSON for each, as the hub tells it"),
        )
        .arg(admin_url())
}

/// What `fanfare channels` was told.
pub(crate) fn to_channels(flags: &ArgMatches) -> Result<Channels, ClientError> {
    let named = |name| text(flags, name);
    let limit = flags.get_one::<u64>("limit").copied();
    Ok(Channels {
        admin: admin(flags)?,
        query: Query { prefix: named("prefix"), contains: named("contains"), sort: named("sort") },
        limit: limit.filter(|_| !flags.get_flag("all")),
        json: flags.get_flag("json"),
    })
}

/// `fanfare top`
pub(super) fn top() -> Command {
    Command::new("top")
        .about("Show what a hub does right now, each second anew")
        .arg(admin_url())
        .after_help(
            "Keys: q ends it, s sorts the channels otherwise, the arrows show more of them, space \
             pauses.\nWhere standard output is no terminal it prints one snapshot and ends.",
        )
}

/// What `fanfare top` was told.
pub(crate) fn to_top(flags: &ArgMatches) -> Result<Top, ClientError> {
    Ok(Top { admin: admin(flags)? })
}

/// `fanfare drain`
pub(super) fn drain() -> Command {
    let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("drain")
        .about("Send everybody away from a hub, without stopping it")
        .arg(switch("wait").help("Show how far it is, and end with it"))
        .arg(
            switch("cancel")
                .conflicts_with("wait")
                .help("Take it back: the hub takes subscribers and publishes again"),
        )
        .arg(admin_url())
        .after_help(
            "With --wait it exits with 0 when all subscribers were sent away, and with 1 if the \
             drain was\ntaken back or the hub ended before; without, with 0 when the drain has \
             begun.",
        )
}

/// What `fanfare drain` was told.
pub(crate) fn to_drain(flags: &ArgMatches) -> Result<Drain, ClientError> {
    let act = match (flags.get_flag("cancel"), flags.get_flag("wait")) {
        (true, _) => Act::Cancel,
        (false, true) => Act::BeginAndWait,
        (false, false) => Act::Begin,
    };
    Ok(Drain { admin: admin(flags)?, act })
}

/// `fanfare health`
pub(super) fn health() -> Command {
    Command::new("health")
        .about("Say by the exit code whether a hub is alive: for health checks of containers")
        .arg(admin_url())
        .arg(
            Arg::new("ready")
                .long("ready")
                .action(ArgAction::SetTrue)
                .help("Ask whether it wants new subscribers, which one that drains does not"),
        )
        .after_help(
            "It exits with 0 if the hub answers within two seconds that it is, and with 1 if not.",
        )
}

/// What `fanfare health` was told.
pub(crate) fn to_health(flags: &ArgMatches) -> Result<Health, ClientError> {
    Ok(Health { admin: admin(flags)?, ready: flags.get_flag("ready") })
}

fn admin_url() -> Arg {
    ADMIN.argument("The operators' listener of the hub")
}

fn admin(flags: &ArgMatches) -> Result<Admin, ClientError> {
    ADMIN.find(flags).map(Admin::new)
}

/// That of operators.
const ADMIN: Listener = Listener {
    key: "admin-url",
    flag: "--admin-url",
    variable: "FANFARE_ADMIN_URL",
    setting: ["admin_listen", "FANFARE_ADMIN_LISTEN"],
    default: "http://127.0.0.1:8081",
};
