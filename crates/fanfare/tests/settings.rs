//! The settings as a user meets them: `check` and `serve` of the binary, its exit codes and what
//! it says. That each value goes where it belongs is tested beside the table.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output},
};

/// Runs the binary with these arguments and variables, and no others.
fn fanfare(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    let output = command.args(arguments).env_clear().envs(variables.iter().copied()).output();
    let Output { status, stdout, stderr } = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A file with this text; its name is the test's.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_configuration_that_is_fine_is_said_to_be() {
    let path = file("fine.toml", "workers = 2\n\n[[channels]]\npattern = \"orders/**\"\n");
    let arguments = ["check", "--config", path.to_str().unwrap()];
    let (code, stdout, stderr) = fanfare(&arguments, &[("FANFARE_RING_AGE", "2h")]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "the configuration is fine\n", ""));
}

#[test]
fn what_holds_is_printed_as_a_configuration() {
    let path = file("print.toml", "workers = 2\n\n[[channels]]\npattern = \"orders/**\"\n");
    let path = path.to_str().unwrap();
    let arguments = ["check", "--print", "--config", path, "--listen", "127.0.0.1:9000"];
    let (code, stdout, stderr) = fanfare(&arguments, &[("FANFARE_RING_AGE", "2h")]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for (line, source) in [
        ("listen = \"127.0.0.1:9000\" ", "# --listen"),
        ("workers = 2 ", &format!("# {path}:1")),
        ("ring_age = \"2h\" ", "# FANFARE_RING_AGE"),
        ("pattern = \"orders/**\" ", &format!("# {path}:4")),
    ] {
        let found = stdout.lines().find(|found| found.starts_with(line));
        assert!(found.is_some_and(|found| found.ends_with(source)), "{line}{source}\n{stdout}");
    }
    let again = file("print-again.toml", &stdout);
    let (code, _, stderr) = fanfare(&["check", "--config", again.to_str().unwrap()], &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let path = file("wrong.toml", "workers = 64\n\n[[channels]]\nring_age = \"1h\"\n");
    let path = path.to_str().unwrap();
    let variables = [("FANFARE_RING_AGE", "1"), ("FANFARE_CONFIG", path)];
    let (code, stdout, stderr) = fanfare(&["check", "--listen", "here"], &variables);
    assert_eq!((code, stdout.as_str()), (64, ""));
    let expected = [
        format!("fanfare: {path}:1: workers: 64 is too much; allowed: 1 to 63"),
        format!("fanfare: {path}:3: channels: a pattern is missing"),
        "fanfare: FANFARE_RING_AGE: `1` is not a duration such as 500ms, 15s or 1h".to_owned(),
        "fanfare: --listen: `here` is not an address; allowed: IP:PORT".to_owned(),
    ];
    for expected in &expected {
        assert!(stderr.lines().any(|line| line.starts_with(expected)), "{expected}\n{stderr}");
    }
    assert_eq!(stderr.lines().count(), expected.len());
}

#[test]
fn what_does_not_exist_is_named() {
    let path = file("unknown.toml", "\nworker = 2\n");
    let path = path.to_str().unwrap();
    for (arguments, variables, expected) in [
        (vec!["--worker", "2"], vec![], "unexpected argument '--worker' found"),
        (vec!["chekc"], vec![], "unrecognized subcommand 'chekc'"),
        (vec!["--workers"], vec![], "a value is required for '--workers <N>'"),
        (
            vec!["--workers", "2", "--workers", "3"],
            vec![],
            "'--workers <N>' cannot be used multiple",
        ),
        (vec![], vec![("FANFARE_WORKER", "2")], "FANFARE_WORKER: there is no such setting"),
        (vec!["--config", path], vec![], "unknown.toml:2: worker: there is no such setting"),
        (
            vec!["--config", "no/such/file"],
            vec![],
            "--config: the file no/such/file cannot be read",
        ),
        (vec![], vec![("FANFARE_CONFIG", "none")], "FANFARE_CONFIG: the file none cannot be read"),
    ] {
        let (code, stdout, stderr) = fanfare(&arguments, &variables);
        assert_eq!((code, stdout.as_str()), (64, ""), "{arguments:?} {stderr}");
        assert!(stderr.contains(expected), "{expected}\n{stderr}");
    }
}

#[test]
fn a_wrong_setting_is_told_before_a_port_is_opened() {
    // The port is in use, so whoever tried to open it would exit with 1.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for command in ["serve", "check"] {
        let (code, _, stderr) = fanfare(&[command, "--listen", &address, "--workers", "0"], &[]);
        let expected = "fanfare: --workers: 0 is too little; allowed: 1 to 63\n";
        assert_eq!((code, stderr.as_str()), (64, expected));
    }
    let (code, _, stderr) = fanfare(&["--listen", &address, "--admin-listen", "127.0.0.1:0"], &[]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains(&address), "{stderr}");
}

#[test]
fn off_loopback_needs_more_than_an_address() {
    for command in ["serve", "check"] {
        let (code, stdout, stderr) = fanfare(&[command, "--listen", "0.0.0.0:0"], &[]);
        assert_eq!((code, stdout.as_str()), (64, ""), "{stderr}");
        assert!(
            stderr.contains("--allowed-host") || stderr.contains("--insecure-open"),
            "{stderr}"
        );
    }
}

#[test]
fn help_tells_every_setting() {
    for arguments in [vec!["--help"], vec!["serve", "--help"], vec!["check", "--help"]] {
        let (code, stdout, stderr) = fanfare(&arguments, &[]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        for row in fanfare(&["settings-table"], &[]).1.lines().skip(2) {
            let flag = row.split('`').nth(1).unwrap();
            assert!(stdout.contains(&format!("{flag} ")) || stdout.contains(&format!("{flag}[")));
        }
    }
}
