//! What the settings of upstreams may be, and that no secret of them is shown.

use std::{
    fs,
    path::PathBuf,
    process::{self, Command, Output},
};

use crate::{
    SECRET, fetch,
    scripted::{Upstream, stream},
    support::{eventually, hub::Hub},
    table,
};

/// A file of a test; it goes with it.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fanfare-{}-{name}", process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// Runs the binary on a file of settings.
fn fanfare(arguments: &[&str], toml: &File, variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.env_clear().envs(variables.iter().copied());
    let Output { status, stdout, stderr } =
        command.args(arguments).args(["--config", toml.path()]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn a_check_shows_where_secrets_are_and_not_what() {
    let secret = File::new("secret", &format!("{SECRET}\n"));
    let toml = File::new(
        "shown.toml",
        &format!(
            "[[upstreams]]\nname = \"u\"\nurl = \"http://api.example/base?key={SECRET}\"\n\
             paths = [\"v1/chat\", \"/v1/models/*\"]\nallow_http = true\nidle_timeout = \"5s\"\n\
             headers.Authorization = \"Bearer env:KEY\"\nheaders.X-File = \"file:{}\"\n\
             headers.X-Plain = \"{SECRET}\"\nheaders.\"x.y\" = \"env:KEY\"\n",
            secret.path()
        ),
    );
    let variables = [("KEY", SECRET)];
    let (code, stdout, stderr) = fanfare(&["check", "--print"], &toml, &variables);
    assert_eq!(code, 0, "{stderr}");
    assert!(!stdout.contains("hunter2") && !stderr.contains("hunter2"), "{stdout}{stderr}");
    for line in [
        "name = \"u\"",
        "url = \"http://api.example/base?***\"",
        "paths = [\"v1/chat\", \"v1/models/*\"]",
        "headers.Authorization = \"Bearer env:KEY\"",
        &format!("headers.X-File = \"file:{}\"", secret.path()),
        "headers.X-Plain = \"***\"",
        "headers.\"x.y\" = \"env:KEY\"",
        "allow_private = false",
        "idle_timeout = \"5s\"",
        "total_timeout = \"1h\"",
    ] {
        assert!(stdout.lines().any(|found| found.starts_with(line)), "{line}\n{stdout}");
    }
    let json = fanfare(&["check", "--print", "--json"], &toml, &variables);
    let json = if json.0 == 0 { json } else { fanfare(&["check", "--json"], &toml, &variables) };
    assert!(!json.1.contains("hunter2") && json.1.contains("\"upstreams\""), "{}", json.1);
}

#[test]
fn what_is_wrong_is_told_before_the_start() {
    let base = "[[upstreams]]\nname = \"u\"\nurl = \"http://a.example\"\nallow_http = true\n\
                paths = [\"v1\"]\n";
    let no_file = "cannot be read: No such file";
    for (index, (text, expected)) in [
        (
            format!("{base}headers.A = \"env:KEY\""),
            ":6: upstreams.headers.A: the variable KEY is not set",
        ),
        (
            format!("{base}headers.A = \"Bearer env:KEY\""),
            ":6: upstreams.headers.A: the variable KEY",
        ),
        (format!("{base}headers.A = \"file:/no/such\""), no_file),
        (format!("{base}headers.A = \"***\""), ":6: upstreams.headers.A: `***` stands for"),
        (format!("{base}headers.A = \"env:EMPTY\""), "has no value that a header can have"),
        (format!("{base}headers.A = \"{SECRET}\\u0007\""), "has no value that a header can have"),
        (format!("{base}headers.Host = \"x\""), ":6: upstreams.headers.Host: is no header that"),
        (format!("{base}headers.\"a b\" = \"x\""), "is no header that can be set here"),
        (format!("{base}headers = \"x\""), ":6: upstreams.headers: is a table"),
        (format!("{base}headers.A = []"), ":6: upstreams.headers.A: the value is of type array"),
        (format!("{base}idle_timout = \"5s\""), "no such setting; did you mean idle_timeout?"),
        (
            format!("{base}idle_timeout = \"5m\"\ntotal_timeout = \"2days\""),
            "2days is too much; allowed: 100ms to 1day",
        ),
        (format!("{base}idle_timeout = \"1ms\""), ":6: upstreams.idle_timeout: 1ms is too little"),
        (format!("{base}idle_timeout = \"soon\""), "`soon` is not a duration"),
        (format!("{base}allow_private = \"yes\""), "is not true or false"),
        (format!("{base}{base}"), ":6: upstreams: an upstream of the same name is at"),
        (base.replace("allow_http = true\n", ""), ":3: upstreams.url: is not one of https"),
        (
            base.replace("http://a.example", &format!("http://me:{SECRET}@a.example")),
            "it has a user",
        ),
        (base.replace("http://a", "ftp://a"), "the URL is wrong: it begins with https://"),
        (base.replace("\"u\"", "\"U\""), ":2: upstreams.name: a name is 1 to 64"),
        (base.replace("name = \"u\"\n", ""), ":1: upstreams: name is missing, such as"),
        (base.replace("[\"v1\"]", "[]"), "allows nothing"),
        (base.replace("[\"v1\"]", "[\"v1/../x\"]"), "`v1/../x`: it is a path"),
        (base.replace("http://", "https://") + "ca_file = \"/no/such\"", no_file),
        (base.replace("http://", "https://") + "ca_file = \"/dev/null\"", "no certificate in PEM"),
        ("upstreams = 3".to_owned(), ":1: upstreams: is written [[upstreams]]"),
        ("[upstreams.u]\nurl = \"x\"".to_owned(), "is written [[upstreams]]"),
        ("[[upstream]]\nname = \"u\"".to_owned(), "did you mean upstreams?"),
    ]
    .into_iter()
    .enumerate()
    {
        let toml = File::new(&format!("wrong-{index}.toml"), &text);
        for command in ["check", "serve"] {
            let (code, stdout, stderr) = fanfare(&[command], &toml, &[("EMPTY", "")]);
            assert_eq!((code, stdout.as_str()), (64, ""), "{text}\n{stderr}");
            assert!(stderr.contains(expected), "{expected}\n{stderr}");
            assert!(!stderr.contains("hunter2"), "{stderr}");
        }
    }
}

#[test]
fn a_secret_comes_from_where_the_settings_say() {
    let upstream = Upstream::answering(stream(&["data: 1\n\n"]));
    let secret = File::new("from-file", &format!("{SECRET}-of-the-file\n"));
    let settings = format!(
        "{}headers.X-File = \"file:{}\"\nheaders.X-Env = \"Token env:KEY\"\n",
        table(&upstream.url(), "allow_private = true"),
        secret.path()
    );
    let toml = File::new("from.toml", &settings);
    let hub = Hub::with_variables(&["--config", toml.path()], &[("KEY", "of-the-environment")]);
    fetch(&hub, "a");
    let asked = upstream.asked().to_ascii_lowercase();
    for line in [
        &format!("x-file: {SECRET}-of-the-file"),
        "x-env: token of-the-environment",
        &format!("authorization: bearer {SECRET}"),
    ] {
        assert!(asked.lines().any(|found| found == line), "{line}\n{asked}");
    }
}

#[test]
fn a_running_hub_takes_new_ones() {
    let upstream = Upstream::answering(stream(&["data: 1\n\n"]));
    let with = |key: &str| {
        table(&upstream.url(), &format!("allow_private = true\nheaders.X-Key = \"{key}\""))
    };
    let hub = Hub::configured(&with("first-key"), &[]);
    fetch(&hub, "a");
    assert!(upstream.asked().to_ascii_lowercase().contains("x-key: first-key"));
    hub.reconfigure(&with("other-key"));
    eventually("it is read", || hub.said().contains("were read again").then_some(()));
    fetch(&hub, "b");
    assert!(upstream.asked().to_ascii_lowercase().contains("x-key: other-key"));
    assert!(hub.said().contains("upstreams") && !hub.said().contains("other-key"));
}
