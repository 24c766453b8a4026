//! The layers of settings, lowest first: defaults, the file, the environment, the command line.
//! Each gives texts with their places; nothing is interpreted here.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches};

use super::{
    machine::Machine,
    problem::{Place, Problem, did_you_mean},
    row::{Fallback, Row, Value},
    table,
};

/// A setting as it was given.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// Which setting.
    pub(crate) row: &'static Row,
    /// Where it was given.
    pub(crate) place: Place,
    /// Its text; those of a list of names may be several or none.
    pub(crate) texts: Vec<String>,
}

/// What holds when nothing is given.
pub(crate) fn defaults(machine: &Machine) -> Vec<Given> {
    let text = |row: &Row| match row.default {
        Fallback::Machine { find, .. } => find(machine).to_string(),
        Fallback::Text(text) => text.to_owned(),
    };
    let given =
        |row: &'static Row| Given { row, place: Place::Default(row.flag), texts: vec![text(row)] };
    table::rows().map(given).collect()
}

/// The settings among the variables. Any other variable that starts with `FANFARE_` is wrong.
pub(crate) fn variables(
    variables: &[(OsString, OsString)],
    problems: &mut Vec<Problem>,
) -> Vec<Given> {
    let mut found = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let place = Place::Variable(name.to_owned());
        match (table::by_variable(name), value.to_str()) {
            (Some(row), Some(text)) => {
                found.push(Given { row, place, texts: vec![text.to_owned()] });
            }
            (Some(_), None) => problems.push(Problem::new(place, "is not UTF-8")),
            (None, text) if is_foreign(name, text.unwrap_or_default()) => {}
            (None, _) => {
                let hint = did_you_mean(name, table::rows().map(|row| row.variable));
                let what = format!("there is no such setting{hint}");
                problems.push(Problem::new(place, what));
            }
        }
    }
    found
}

/// The settings on the command line, which was parsed with [`arguments`].
pub(crate) fn flags(flags: &ArgMatches) -> Vec<Given> {
    let given = |row: &'static Row| {
        let texts = flags.get_many::<String>(row.key)?.cloned().collect();
        Some(Given { row, place: Place::Flag(row.flag), texts })
    };
    table::rows().filter_map(given).collect()
}

/// The table as arguments of a command.
pub(crate) fn arguments() -> impl Iterator<Item = Arg> {
    table::groups().into_iter().flat_map(|group| {
        group.rows.iter().map(move |row| argument(row).help_heading(group.heading))
    })
}

fn argument(row: &'static Row) -> Arg {
    let Row { variable, help, .. } = row;
    let (allowed, default) = (row.allowed(), row.default_words());
    let help = format!("{help}\n[{allowed}; default: {default}; {variable}]");
    let arg = Arg::new(row.key).long(row.flag.trim_start_matches('-')).help(help);
    match row.value {
        Value::Address(_) => arg.value_name("IP:PORT"),
        Value::Choice { .. } | Value::Text { .. } => arg.value_name("TEXT"),
        Value::Names { .. } => arg.value_name("NAME").action(ArgAction::Append),
        Value::Number { unit, .. } => arg.value_name(unit.value_name()),
        Value::Switch(_) => arg
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

/// Whether a variable is not meant as a setting: it belongs to our other commands and to the
/// tests, or Kubernetes made it for a service that is called `fanfare` or `fanfare-…`.
fn is_foreign(name: &str, text: &str) -> bool {
    let is_link = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    OTHER_VARIABLES.contains(&name)
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && is_link)
        || ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
            name.contains("_PORT_")
                && (name.ends_with(protocol) || name.contains(&format!("{protocol}_")))
        })
}

/// What the names of our variables start with.
const PREFIX: &str = "FANFARE_";
/// Variables that are not settings of the hub: the file, the addresses for the client commands,
/// and what the tests take.
const OTHER_VARIABLES: [&str; 5] =
    ["FANFARE_ADMIN_URL", "FANFARE_BIN", "FANFARE_CONFIG", "FANFARE_SIM_SEEDS", "FANFARE_URL"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> (Vec<Given>, Vec<Problem>) {
        let mut problems = Vec::new();
        let given = variables(&[(name.into(), text.into())], &mut problems);
        (given, problems)
    }

    #[test]
    fn a_variable_is_a_setting() {
        let (given, problems) = read("FANFARE_WORKERS", "3");
        assert_eq!((given[0].row.key, given[0].texts[0].as_str()), ("workers", "3"));
        assert!(problems.is_empty());
    }

    #[test]
    fn an_unknown_variable_is_wrong() {
        let (given, problems) = read("FANFARE_WORKRES", "3");
        assert!(given.is_empty());
        let expected = "FANFARE_WORKRES: there is no such setting; did you mean FANFARE_WORKERS?";
        assert_eq!(problems[0].to_string(), expected);
    }

    #[test]
    fn variables_of_others_are_none_of_ours() {
        for (name, text) in [
            ("PATH", "/bin"),
            ("FANFARE", "x"),
            ("FANFARE_URL", "http://hub:8080"),
            ("FANFARE_ADMIN_URL", "http://hub:8081"),
            ("FANFARE_SERVICE_HOST", "10.0.0.1"),
            ("FANFARE_SERVICE_PORT_HTTP", "80"),
            ("FANFARE_PORT", "tcp://10.0.0.1:80"),
            ("FANFARE_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("FANFARE_ADMIN_PORT_80_TCP_ADDR", "10.0.0.1"),
        ] {
            let (given, problems) = read(name, text);
            assert!(given.is_empty() && problems.is_empty(), "{name}");
        }
        assert_eq!(read("FANFARE_PORT", "8080").1.len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_utf8_is_wrong() {
        use std::os::unix::ffi::OsStringExt;
        let mut problems = Vec::new();
        let value = OsString::from_vec(vec![0xff]);
        variables(&[("FANFARE_LISTEN".into(), value)], &mut problems);
        assert_eq!(problems[0].to_string(), "FANFARE_LISTEN: is not UTF-8");
    }
}
