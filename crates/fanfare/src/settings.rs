//! From strings to a [`Config`]: the layers are laid over each other in the order of their
//! precedence, and everything that is wrong in any of them is told at once, with its place.

pub(crate) mod effective;
pub(crate) mod machine;
pub(crate) mod problem;

mod draft;
mod file;
mod layers;
mod names;
mod row;
mod table;
mod unit;
mod upstreams;

use std::{ffi::OsString, fs, net::SocketAddr};

use clap::{Arg, ArgMatches, ValueHint};

use self::{
    draft::{Draft, address},
    effective::Effective,
    file::File,
    layers::Given,
    machine::Machine,
    problem::{Place, Problem, Wrong},
    row::{Row, Value},
    unit::Unit,
};

/// The flags of the commands that take settings: the file's, and one for each row of the table.
pub(crate) fn arguments() -> Vec<Arg> {
    let config = Arg::new(CONFIG).long(CONFIG).value_name("FILE").help(CONFIG_HELP);
    let config = config.value_hint(ValueHint::FilePath);
    [config].into_iter().chain(layers::arguments()).collect()
}

/// The words that a setting may have, if it is one of a few.
pub(crate) fn choices(key: &str) -> Option<&'static [&'static str]> {
    match table::by_key(key)?.value {
        Value::Choice { of, .. } => Some(of),
        _ => None,
    }
}

/// Reads all settings. `flags` was parsed with [`arguments`], `variables` is the environment.
pub(crate) fn load(
    flags: &ArgMatches,
    variables: &[(OsString, OsString)],
    machine: &Machine,
) -> Result<Effective, Wrong> {
    load_with(flags, variables, machine, Vec::new())
}

/// The same with a layer above all others.
pub(crate) fn load_with(
    flags: &ArgMatches,
    variables: &[(OsString, OsString)],
    machine: &Machine,
    top: Vec<Given>,
) -> Result<Effective, Wrong> {
    let Some((place, path)) = file_path(flags, variables)? else {
        return resolve(flags, variables, None, machine, top);
    };
    match fs::read_to_string(&path) {
        Ok(text) => resolve(flags, variables, Some((&path, &text)), machine, top),
        Err(error) => {
            let what = format!("the file {path} cannot be read: {error}");
            Err(Wrong { problems: vec![Problem::new(place, what)] })
        }
    }
}

/// Where the variables, or the file that they name, have a hub listen, for those who look for it.
/// `key` is that of the listener. What else is wrong there is for the hub to tell: one that runs
/// must be found even while somebody edits its file.
pub(crate) fn listener(
    key: &str,
    variables: &[(OsString, OsString)],
) -> Result<Option<SocketAddr>, Wrong> {
    let mut others = Vec::new();
    let file = variables.iter().find(|(name, _)| name == CONFIG_VARIABLE).and_then(|(_, path)| {
        let text = fs::read_to_string(path).ok()?;
        Some(file::parse(&path.to_string_lossy(), &text, &mut others))
    });
    let from_file = file.unwrap_or_default().given;
    let mut given = from_file.into_iter().chain(layers::variables(variables, &mut others));
    let last = given.rfind(|given| given.row.key == key);
    let Some(given) = last else { return Ok(None) };
    match address(given.row, &given.texts) {
        Ok(address) => Ok(Some(address)),
        Err(what) => Err(Wrong { problems: vec![Problem::new(given.place, what)] }),
    }
}

/// The file that was named, and where.
fn file_path(
    flags: &ArgMatches,
    variables: &[(OsString, OsString)],
) -> Result<Option<(Place, String)>, Wrong> {
    if let Some(path) = flags.get_one::<String>(CONFIG) {
        return Ok(Some((Place::Flag("--config"), path.clone())));
    }
    let Some((_, path)) = variables.iter().find(|(name, _)| name == CONFIG_VARIABLE) else {
        return Ok(None);
    };
    let place = Place::Variable(CONFIG_VARIABLE.to_owned());
    match path.to_str() {
        Some(path) => Ok(Some((place, path.to_owned()))),
        None => Err(Wrong { problems: vec![Problem::new(place, "is not UTF-8")] }),
    }
}

/// Lays the layers over each other. `file` is a path, for places, and a text.
fn resolve(
    flags: &ArgMatches,
    variables: &[(OsString, OsString)],
    file: Option<(&str, &str)>,
    machine: &Machine,
    top: Vec<Given>,
) -> Result<Effective, Wrong> {
    let mut problems = Vec::new();
    let file =
        file.map_or_else(File::default, |(path, text)| file::parse(path, text, &mut problems));
    let from_variables = layers::variables(variables, &mut problems);
    let mut draft = Draft::new();
    let given = [file.given, from_variables, layers::flags(flags), top];
    let machine = with_given(machine, &given, !file.upstreams.is_empty());
    for layer in [layers::defaults(&machine)].into_iter().chain(given) {
        draft.lay(layer, &mut problems);
    }
    draft.lay_channels(file.channels, &mut problems);
    draft.lay_upstreams(file.upstreams, variables, &mut problems);
    draft.finish(problems)
}

/// The machine with what was given of it to the process and to fetches: defaults are made from it.
/// What is wrong is told of when its layer is laid.
fn with_given(machine: &Machine, layers: &[Vec<Given>], has_upstreams: bool) -> Machine {
    let given = |key, unit: Unit| {
        let given = layers.iter().flatten().rev().find(|given| given.row.key == key)?;
        unit.parse(given.texts.first()?).ok()
    };
    let budget_bytes = given(MEMORY_MAX, Unit::Bytes).unwrap_or(machine.budget_bytes);
    let fetches = given(UPSTREAM_FETCHES_MAX, Unit::Count);
    let fetches = fetches.unwrap_or_else(|| machine.fetches_default());
    let machine = Machine { budget_bytes, ..*machine };
    if has_upstreams { machine.with_fetches(fetches) } else { machine }
}

/// The table of settings as Markdown: the README holds exactly this.
pub(crate) fn markdown() -> String {
    let mut text = format!(
        "| flag | variable | key | default | allowed | what it is |\n|---|---|---|---|---|---|\n\
         | `--{CONFIG}` | `{CONFIG_VARIABLE}` | | none | a path | {CONFIG_HELP} |\n"
    );
    for row in table::rows() {
        let Row { flag, variable, key, help, .. } = row;
        let restart = if row.live { "" } else { " (needs a restart)" };
        let (default, allowed) = (row.default_words(), row.allowed());
        text.push_str(&format!(
            "| `{flag}` | `{variable}` | `{key}` | {default} | {allowed} | {help}{restart} |\n"
        ));
    }
    text
}

const MEMORY_MAX: &str = "memory_max";
const UPSTREAM_FETCHES_MAX: &str = "upstream_fetches_max";
const CONFIG: &str = "config";
const CONFIG_VARIABLE: &str = "FANFARE_CONFIG";
const CONFIG_HELP: &str = "A TOML file with settings by key; flags and variables win over it";

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use clap::Command;
    use fanfare_core::Retention;
    use fanfare_server::{Config, limits::FILES_RESERVED};

    use super::*;

    const MACHINE: Machine =
        Machine { cores: 4, budget_bytes: 4 << 30, open_files_max: 20_000, fetches: 0 };

    fn read(flags: &[&str], variables: &[(&str, &str)], text: &str) -> Result<Config, Wrong> {
        effective(flags, variables, text).map(|effective| effective.config)
    }

    fn effective(
        flags: &[&str],
        variables: &[(&str, &str)],
        text: &str,
    ) -> Result<Effective, Wrong> {
        let command = Command::new("fanfare").no_binary_name(true).args(arguments());
        let flags = command.try_get_matches_from(flags).unwrap();
        let variables: Vec<_> =
            variables.iter().map(|(name, text)| (name.into(), text.into())).collect();
        resolve(&flags, &variables, Some(("f.toml", text)), &MACHINE, Vec::new())
    }

    fn wrong(flags: &[&str], variables: &[(&str, &str)], text: &str) -> String {
        read(flags, variables, text).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let config = read(&[], &[], "").unwrap();
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(config.listen, address("127.0.0.1:8080"));
        assert_eq!(config.admin_listen, address("127.0.0.1:8081"));
        assert_eq!((config.allowed_hosts.len(), config.cors_origins.len()), (0, 0));
        assert_eq!((config.insecure_open, config.insecure_open_admin), (false, false));
        assert_eq!((config.workers, config.connections_max), (4, 20_000 - FILES_RESERVED));
        assert_eq!(config.listen_backlog, 4_096);
        assert_eq!((config.channels_max, config.tombstones_max), (1_000_000, 1_000_000));
        assert_eq!((config.journal_events_max, config.rings_bytes_max), (1_048_576, 2 << 30));
        assert_eq!((config.idempotency_keys_max, config.event_data_bytes_max), (100_000, 262_144));
        assert_eq!(config.retention, Retention::default());
        assert!(config.channels.is_empty());
        assert_eq!((config.heartbeat_interval_ms, config.write_stall_ms_max), (15_000, 30_000));
        assert_eq!((config.socket_unsent_bytes_max, config.drain_period_ms), (131_072, 20_000));
        assert_eq!((config.memory_bytes_max, config.connections_per_address_max), (4 << 30, 0));
        assert_eq!((config.connection_age_ms_max, config.drain_delay_ms), (0, 0));
        assert_eq!((config.telemetry.log.as_str(), config.telemetry.otlp_percent), ("info", 100));
    }

    #[test]
    fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
        let (flag, variable) = (["--workers", "1"], [("FANFARE_WORKERS", "2")]);
        let workers = |result: Result<Config, Wrong>| result.unwrap().workers;
        assert_eq!(workers(read(&flag, &variable, "workers = 3")), 1);
        assert_eq!(workers(read(&[], &variable, "workers = 3")), 2);
        assert_eq!(workers(read(&[], &[], "workers = 3")), 3);
        assert_eq!(workers(read(&[], &[], "")), 4);
    }

    #[test]
    fn names_come_repeated_with_commas_or_as_an_array() {
        let expected = ["a.example", "b.example"];
        let flags = ["--allowed-host", "a.example", "--allowed-host", "b.example"];
        for config in [
            read(&flags, &[], ""),
            read(&["--allowed-host", "a.example,b.example"], &[], ""),
            read(&[], &[("FANFARE_ALLOWED_HOSTS", "a.example, b.example")], ""),
            read(&[], &[], "allowed_hosts = [\"a.example\", \"b.example\"]"),
        ] {
            assert_eq!(config.unwrap().allowed_hosts, expected);
        }
        let none = read(&[], &[("FANFARE_ALLOWED_HOSTS", "")], "allowed_hosts = [\"a\"]").unwrap();
        assert!(none.allowed_hosts.is_empty());
    }

    #[test]
    fn a_switch_is_on_when_it_is_named() {
        assert!(read(&["--insecure-open"], &[], "").unwrap().insecure_open);
        assert!(!read(&["--insecure-open=false"], &[], "").unwrap().insecure_open);
        assert!(read(&[], &[("FANFARE_INSECURE_OPEN", "true")], "").unwrap().insecure_open);
        assert!(read(&[], &[], "insecure_open_admin = true").unwrap().insecure_open_admin);
    }

    #[test]
    fn channels_keep_what_their_pattern_says() {
        let text = "[[channels]]\npattern = \"orders/**\"\nring_events = 10_000\n\
                    [[channels]]\npattern = \"prices/*\"\nring_age = \"5m\"\n";
        let config = read(&["--ring-age", "2h"], &[], text).unwrap();
        let [(orders, of_orders), (prices, of_prices)] = &config.channels[..] else { panic!() };
        assert_eq!((orders.as_str(), prices.as_str()), ("orders/**", "prices/*"));
        assert_eq!((of_orders.ring_events_max, of_orders.ring_age_ms), (10_000, 7_200_000));
        assert_eq!((of_prices.ring_events_max, of_prices.ring_age_ms), (4_096, 300_000));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_what_is_allowed() {
        for (found, expected) in [
            (
                wrong(&["--listen", "localhost:8080"], &[], ""),
                "--listen: `localhost:8080` is not an address; \
                 allowed: IP:PORT, such as [::1]:8080",
            ),
            (
                wrong(&[], &[("FANFARE_WORKERS", "64")], ""),
                "FANFARE_WORKERS: 64 is too much; allowed: 1 to 63",
            ),
            (
                wrong(&[], &[], "\nclosed_retention = \"1m\""),
                "f.toml:2: closed_retention: 1m is too little; allowed: 2m to 30days",
            ),
            (
                wrong(&["--heartbeat-interval", "15"], &[], ""),
                "--heartbeat-interval: `15` is not a duration such as 500ms, 15s or 1h; \
                 allowed: 1s to 1m",
            ),
            (
                wrong(&["--allowed-host", "a:80"], &[], ""),
                "--allowed-host: `a:80` is not a host name without port; \
                 allowed: host names without port, or *",
            ),
            (
                wrong(&[], &[("FANFARE_INSECURE_OPEN", "yes")], ""),
                "FANFARE_INSECURE_OPEN: `yes` is not true or false; allowed: true or false",
            ),
            (
                wrong(&[], &[], "[[channels]]\npattern = \"a\"\nring_events = 0"),
                "f.toml:3: channels.ring_events: 0 is too little; allowed: 1 to 16_777_216",
            ),
        ] {
            assert_eq!(found, expected);
        }
        let pattern = wrong(&[], &[], "[[channels]]\npattern = \"a/**/b\"");
        assert!(pattern.starts_with("f.toml:2: channels.pattern: "), "{pattern}");
    }

    #[test]
    fn a_wrong_value_is_told_although_a_higher_layer_has_a_right_one() {
        let found = wrong(&["--workers", "1"], &[("FANFARE_WORKERS", "x")], "workers = 99");
        let expected = "f.toml:1: workers: 99 is too much; allowed: 1 to 63\n\
                        FANFARE_WORKERS: `x` is not a whole number; allowed: 1 to 63";
        assert_eq!(found, expected);
    }

    #[test]
    fn two_that_contradict_are_named_with_both_places() {
        for (found, expected) in [
            (
                wrong(&["--listen", "0.0.0.0:80"], &[], "admin_listen = \"127.0.0.1:80\""),
                "f.toml:1: admin_listen: 127.0.0.1:80 is taken already, by --listen",
            ),
            (
                wrong(&["--ring-bytes", "8MiB"], &[], "rings_bytes_max = \"4MiB\""),
                "f.toml:1: rings_bytes_max: 4MiB is less than 8MiB, \
                 --ring-bytes: all rings hold at least one ring",
            ),
            (
                wrong(&["--event-data-bytes-max", "8MiB", "--rings-bytes-max", "4MiB"], &[], ""),
                "--rings-bytes-max: 4MiB is less than 8MiB, \
                 --event-data-bytes-max: a hub keeps at least one event",
            ),
            (
                wrong(&[], &[], "[[channels]]\npattern = \"a\"\nring_events = 2_000_000"),
                "the default of --journal-events-max: 1_048_576 is less than 2_000_000, \
                 f.toml:3: channels.ring_events: a journal holds at least one ring",
            ),
            (
                wrong(&[], &[], "[[channels]]\npattern = \"a\"\n[[channels]]\npattern = \"a\""),
                "f.toml:4: channels.pattern: the first match counts, \
                 and the same pattern is at f.toml:2: channels.pattern",
            ),
        ] {
            assert_eq!(found, expected);
        }
        let budget = wrong(&["--memory-max", "1GiB", "--rings-bytes-max", "1GiB"], &[], "");
        assert!(budget.starts_with("--memory-max: 1GiB is less than 1"), "{budget}");
        assert!(budget.ends_with("MiB, --rings-bytes-max: the process holds all its parts"));
        let given = read(&["--rings-bytes-max", "2500MiB"], &[], "").unwrap();
        assert_eq!((given.rings_bytes_max, given.memory_bytes_max), (2_500 << 20, 4 << 30));
        assert_eq!(
            wrong(&["--proxy-protocol"], &[], ""),
            "--proxy-protocol: nobody would send the header, because the default of \
             --trusted-proxy names no network"
        );
        assert!(
            read(&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], &[], "").is_ok()
        );
        assert!(read(&["--listen", "[::1]:80", "--admin-listen", "127.0.0.1:80"], &[], "").is_ok());
    }

    #[test]
    fn the_budget_of_the_process_sets_the_defaults_of_its_shares() {
        let rings = |flags: &[&str], text| read(flags, &[], text).unwrap().rings_bytes_max;
        assert_eq!(rings(&[], "memory_max = \"256MiB\""), 128 << 20);
        assert_eq!(rings(&["--memory-max", "1GiB"], "memory_max = \"256MiB\""), 512 << 20);
        assert_eq!(rings(&["--rings-bytes-max", "100MiB", "--memory-max", "1GiB"], ""), 100 << 20);
        let small = read(&["--memory-max", "256MiB"], &[], "").unwrap();
        assert_eq!((small.journal_events_max, small.channels_max), (524_288, 65_536));
        assert_eq!((small.tombstones_max, small.idempotency_keys_max), (65_536, 65_536));
    }

    #[test]
    fn what_holds_is_told_with_where_it_came_from() {
        let text = "ring_age = \"2h\"\nmemory_max = \"1GiB\"\n\n[[channels]]\n\
                    pattern = \"orders/**\"\nring_bytes = 65_536\n";
        let flags = ["--allowed-host", "a.example", "--allowed-host", "b.example,*"];
        let variables = [("FANFARE_INSECURE_OPEN", "true"), ("FANFARE_WORKERS", "3")];
        let toml = effective(&flags, &variables, text).unwrap().to_toml();
        for (line, source) in [
            ("listen = \"127.0.0.1:8080\"", "default"),
            ("allowed_hosts = [\"a.example\", \"b.example\", \"*\"]", "--allowed-host"),
            ("cors_origins = []", "default"),
            ("insecure_open = true", "FANFARE_INSECURE_OPEN"),
            ("connections_max = 19_424", CONNECTIONS_SOURCE),
            ("workers = 3", "FANFARE_WORKERS"),
            ("memory_max = \"1GiB\"", "f.toml:2"),
            ("rings_bytes_max = \"512MiB\"", "default: half of --memory-max"),
            ("otlp_endpoint = \"\"", "default"),
            ("pattern = \"orders/**\"", "f.toml:5"),
            ("ring_bytes = \"64KiB\"", "f.toml:6"),
            ("ring_age = \"2h\"", "as all channels"),
        ] {
            let is_it = |found: &str| {
                found.split_once("  # ").is_some_and(|(a, b)| (a.trim_end(), b) == (line, source))
            };
            assert!(toml.lines().any(is_it), "{line} # {source}\n{toml}");
        }
        // It is a configuration, and gives the same again.
        let again = effective(&[], &[], &toml).unwrap();
        let bare = |toml: &str| -> Vec<_> {
            let lines = toml.lines().map(|line| line.split("  # ").next().unwrap().trim_end());
            lines.map(str::to_owned).collect()
        };
        assert_eq!(bare(&again.to_toml()), bare(&toml));
    }

    const CONNECTIONS_SOURCE: &str =
        "default: open files \u{2212} 576, with [[upstreams]] less --upstream-fetches-max";

    #[test]
    fn connections_leave_files_for_fetches_where_there_are_upstreams() {
        let upstream = "[[upstreams]]\nname = \"u\"\nurl = \"http://api.example\"\n\
                        paths = [\"*\"]\nallow_http = true\n";
        let read = |flags: &[&str], text: &str| {
            let config = read(flags, &[], text).unwrap();
            (config.connections_max, config.upstream_fetches_max)
        };
        let peers = 20_000 - FILES_RESERVED;
        assert_eq!(read(&[], ""), (peers, 1_000));
        assert_eq!(read(&[], upstream), (peers - 1_000, 1_000));
        assert_eq!(read(&["--upstream-fetches-max", "5"], upstream), (peers - 5, 5));
        let by_file = format!("upstream_fetches_max = 7\n{upstream}");
        assert_eq!(read(&[], &by_file), (peers - 7, 7));
        assert_eq!(read(&["--upstream-fetches-max", "5"], &by_file), (peers - 5, 5));
        assert_eq!(read(&["--upstream-fetches-max", "5"], ""), (peers, 5));
        // More than there are files for does not leave connections without any.
        let bounded = |flags: &[&str]| {
            let mut effective = effective(flags, &[], upstream).unwrap();
            let lowered = effective.bound_by_files(&MACHINE).len();
            (effective.config.connections_max, effective.config.upstream_fetches_max, lowered)
        };
        let many = ["--upstream-fetches-max", "1_000_000"];
        assert_eq!(bounded(&many), (peers / 2, peers / 2, 1));
        assert_eq!(bounded(&["--connections-max", "20_000"]), (peers - 1_000, 1_000, 1));
        assert_eq!(bounded(&[]), (peers - 1_000, 1_000, 0));
    }

    #[test]
    fn what_holds_is_json_for_programs() {
        let text = "ring_age = \"2h\"\n[[channels]]\npattern = \"a\"\nslow_policy = \"latest\"";
        let json = effective(&["--workers", "1"], &[], text).unwrap().to_json();
        let json: serde_json::Value = json.parse().unwrap();
        let of = |settings: &serde_json::Value, key: &str| {
            let settings = settings.as_array().unwrap();
            settings.iter().find(|setting| setting["key"] == key).unwrap().clone()
        };
        let age = of(&json["settings"], "ring_age");
        assert_eq!((&age["value"], &age["unit"]), (&7_200_000.into(), &"ms".into()));
        assert_eq!((&age["source"], &age["place"]), (&"file".into(), &"f.toml:1".into()));
        let rings = of(&json["settings"], "rings_bytes_max");
        assert_eq!(
            (&rings["source"], &rings["note"]),
            (&"default".into(), &"half of --memory-max".into())
        );
        assert_eq!(of(&json["settings"], "workers")["place"], "--workers");
        assert_eq!(of(&json["settings"], "cors_origins")["value"], serde_json::json!([]));
        assert_eq!(json["channels"][0]["pattern"], "a");
        let of_channel = &json["channels"][0]["settings"];
        assert_eq!(of(of_channel, "slow_policy")["value"], "latest");
        assert_eq!(of(of_channel, "ring_age")["source"], "all channels");
        assert_eq!(of_channel.as_array().unwrap().len(), 9);
    }

    #[test]
    fn small_machines_have_valid_defaults() {
        let flags = Command::new("fanfare").no_binary_name(true).args(arguments());
        let flags = flags.try_get_matches_from([""; 0]).unwrap();
        let budget_bytes = 64 << 20;
        let tiny = Machine { cores: 1, budget_bytes, open_files_max: 64, fetches: 0 };
        let budget_bytes = 64 << 40;
        let huge = Machine { cores: 512, budget_bytes, open_files_max: u64::MAX, fetches: 0 };
        for machine in [tiny, huge] {
            assert!(resolve(&flags, &[], None, &machine, Vec::new()).is_ok(), "{machine:?}");
        }
    }

    #[test]
    fn the_markdown_has_every_flag() {
        let markdown = markdown();
        assert!(table::rows().all(|row| markdown.contains(&format!("| `{}` |", row.flag))));
        assert_eq!(markdown.lines().count(), table::rows().count() + 3);
    }
}
