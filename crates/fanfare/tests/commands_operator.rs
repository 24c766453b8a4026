//! The commands of operators against a hub that is only a script: what they ask for, what they
//! print, how they end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod script;

use std::{fs, net::TcpListener, path::Path, process::Command};

use crate::script::{Script, answer, fanfare, fanfare_with, json};

#[test]
fn health_is_an_exit_code() {
    for (arguments, status, path, code, said) in [
        (&["health"][..], "200 OK", "/livez", 0, ""),
        (&["health", "--ready"], "200 OK", "/readyz", 0, ""),
        (
            &["health", "--ready"],
            "503 Service Unavailable",
            "/readyz",
            1,
            "fanfare: /readyz of the hub answers 503 Service Unavailable\n",
        ),
    ] {
        let script = Script::new(&[answer(status, "text/plain", "")]);
        assert_eq!(fanfare(&script, arguments, ""), (code, String::new(), said.to_owned()));
        let request = &script.requests()[0];
        assert!(request.starts_with(&format!("get {path} http/1.1\r\n")), "{request}");
    }
}

#[test]
fn a_hub_that_does_not_answer_is_not_healthy() {
    let (code, stdout, stderr) = fanfare(&Script::nobody(), &["health"], "");
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("Connection refused") && stderr.contains("--admin-url"), "{stderr}");

    // It takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = Script::at(silent.local_addr().unwrap());
    let (code, _, stderr) = fanfare(&script, &["health"], "");
    assert!(code == 1 && stderr.starts_with("fanfare: the hub did not answer\n"), "{stderr}");
    let (code, _, stderr) = fanfare(&script, &["health", "--admin-url", "hub:8081"], "");
    assert!(code == 64 && stderr.starts_with("fanfare: --admin-url: `hub:8081` is"), "{stderr}");
}

#[test]
fn a_hub_is_found_where_its_settings_have_it_listen() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("listens.toml");
    let path = file.to_str().unwrap();
    let anywhere = |script: &Script| script.url.replace("http://127.0.0.1", "0.0.0.0");
    let health = |variables: &[(&str, &str)]| fanfare_with(variables, &["health"], "");
    let well = (0, String::new(), String::new());
    let script = || Script::new(&[answer("200 OK", "text/plain", "")]);

    let hub = script();
    assert_eq!(health(&[("FANFARE_ADMIN_LISTEN", &anywhere(&hub))]), well);
    let request = &hub.requests()[0];
    assert!(request.contains("\r\nhost: 127.0.0.1:"), "{request}");

    // Half of the file is being edited, and that is not what is asked.
    let hub = script();
    fs::write(&file, format!("admin_listen = \"{}\"\nworkerss = 2\n", anywhere(&hub))).unwrap();
    assert_eq!(health(&[("FANFARE_CONFIG", path), ("FANFARE_WORKERS", "x")]), well);

    // The nearer word wins: a variable over the file, a URL over both.
    let (hub, wrong) = (script(), "127.0.0.1:1");
    let variables = [("FANFARE_CONFIG", path), ("FANFARE_ADMIN_LISTEN", &anywhere(&hub))];
    fs::write(&file, format!("admin_listen = \"{wrong}\"\n")).unwrap();
    assert_eq!(health(&variables), well);
    let hub = script();
    assert_eq!(health(&[("FANFARE_ADMIN_LISTEN", wrong), ("FANFARE_ADMIN_URL", &hub.url)]), well);

    let said = "fanfare: FANFARE_ADMIN_LISTEN: `8081` is not an address; allowed: IP:PORT, such \
                as [::1]:8080\n";
    let outcome = health(&[("FANFARE_ADMIN_LISTEN", "8081")]);
    assert_eq!(outcome, (64, String::new(), said.to_owned()));
}

#[test]
fn publishers_find_it_the_same_way() {
    let script = Script::new(&[json(r#"{"id": "e-1", "subscribers": 0}"#)]);
    let listen = script.url.replace("http://127.0.0.1", "0.0.0.0");
    let outcome = fanfare_with(&[("FANFARE_LISTEN", &listen)], &["publish", "news", "a"], "");
    assert_eq!(outcome, (0, "e-1\n".to_owned(), String::new()));
}

const CHANNELS: &str = r#"{"channels": [
    {"channel": "新聞/größe", "subscribers": 12345, "ring_events": 1024, "ring_bytes": 4194304,
     "events_total": 1000000, "rate_per_s": 1234.5, "closed": null},
    {"channel": "b\u202e", "subscribers": 7, "ring_events": 1, "ring_bytes": 120,
     "events_total": 1, "rate_per_s": 0.01, "closed": "done"}], "next": "7:b", "total": 1503}"#;
const REST: &str = r#"{"channels": [{"channel": "c", "subscribers": 0}], "next": null}"#;

#[test]
fn channels_are_a_table() {
    let script = Script::new(&[json(CHANNELS)]);
    let arguments = ["channels", "orders/", "--contains", "4 2", "--sort", "rate", "--limit", "2"];
    let (code, stdout, stderr) = fanfare(&script, &arguments, "");
    let table = "\
SUBSCRIBERS  EVENTS/S     EVENTS   KEPT    BYTES  CHANNEL
     12,345      1.2k  1,000,000  1,024  4.0 MiB  新聞/größe
          7      <0.1          1      1    120 B  b\\u{202e} (done)
";
    assert_eq!((code, stdout.as_str()), (0, table), "{stderr}");
    assert_eq!(stderr, "fanfare: 2 of 1,503 channels; --all prints all of them\n");
    let line = "get /api/channels?limit=2&prefix=orders%2f&contains=4%202&sort=rate http/1.1\r\n";
    assert!(script.requests()[0].starts_with(line));
}

#[test]
fn channels_are_asked_for_page_by_page() {
    let script = Script::new(&[json(CHANNELS), json(REST)]);
    let (code, stdout, stderr) = fanfare(&script, &["channels", "--all", "--json"], "");
    assert_eq!((code, stderr.as_str()), (0, ""));
    let lines: Vec<serde_json::Value> = stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["ring_bytes"]), (3, &4_194_304.into()));
    let requests = script.requests();
    assert!(requests[0].starts_with("get /api/channels?limit=500&sort=subscribers http"));
    assert!(requests[1].contains("&after=7%3ab http"), "{}", requests[1]);

    let script = Script::new(&[json(CHANNELS), json(REST)]);
    let (code, stdout, stderr) = fanfare(&script, &["channels", "--limit", "3"], "");
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stdout.lines().count(), 4);
    assert!(script.requests()[1].starts_with("get /api/channels?limit=1&"));

    let script = Script::new(&[json(r#"{"channels": [], "next": null}"#)]);
    let outcome = fanfare(&script, &["channels", "x"], "");
    let said = "fanfare: there is no channel that begins with x\n";
    assert_eq!(outcome, (0, String::new(), said.to_owned()));
}

#[test]
fn a_drain_is_begun_and_taken_back() {
    let state = json(r#"{"phase": "delay", "left_ms": 5000, "subscribers_left": 3}"#);
    for (before, said) in [
        (json("{}"), "the drain has begun; `fanfare drain --cancel` takes it back\n"),
        (state.clone(), "the hub was draining already\n"),
    ] {
        let accepted = state.replace("200 OK", "202 Accepted");
        let script = Script::new(&[before, accepted, state.clone()]);
        let (code, stdout, stderr) = fanfare(&script, &["drain"], "");
        let shown = "load balancers get time; 3 subscribers, 5s to go\n";
        assert_eq!((code, stdout.as_str()), (0, shown));
        assert_eq!(stderr, format!("fanfare: {said}"));
        let requests = script.requests();
        assert!(requests[1].starts_with("post /api/drain http"), "{requests:?}");
        assert!(!requests[1].contains("\norigin:"), "{requests:?}");
        assert!(requests[2].starts_with("get /api/drain http"));
    }

    for (before, said) in
        [(state, "the drain was taken back\n"), (json("{}"), "the hub was not draining\n")]
    {
        let script = Script::new(&[before, json("{}")]);
        let outcome = fanfare(&script, &["drain", "--cancel"], "");
        assert_eq!(outcome, (0, said.to_owned(), String::new()));
        assert!(script.requests()[1].starts_with("delete /api/drain http"));
    }

    let problem = r#"{"title": "The hub is about to stop", "detail": "it got a signal"}"#;
    let conflict = answer("409 Conflict", "application/problem+json", problem);
    let script = Script::new(&[json("{}"), conflict]);
    let said = "fanfare: The hub is about to stop: it got a signal\n";
    let outcome = fanfare(&script, &["drain", "--cancel"], "");
    assert_eq!(outcome, (1, String::new(), said.to_owned()));
}

#[test]
fn a_drain_is_waited_for() {
    let state = |phase, departed, left| {
        json(&format!(
            r#"{{"phase": "{phase}", "left_ms": 900, "departed": {departed},
                 "subscribers_left": {left}}}"#
        ))
    };
    let begun = state("publishes", 0, 2);
    for (then, code, last) in [
        (vec![state("subscribers", 1, 1), state("done", 2, 0)], 0, ""),
        (vec![state("none", 0, 2)], 1, "fanfare: the drain was taken back"),
        // The hub is gone.
        (vec![], 1, "fanfare: the hub ended during its drain, with 2 subscribers left"),
    ] {
        let script = Script::new(&[vec![json("{}"), begun.clone(), begun.clone()], then].concat());
        let (found, stdout, stderr) = fanfare(&script, &["drain", "--wait"], "");
        assert_eq!(found, code, "{stderr}");
        let lines: Vec<_> = stderr.lines().collect();
        assert_eq!(lines[1], "fanfare: publishes finish; 2 subscribers, 1s to go");
        if code == 0 {
            assert_eq!(stdout, "drained: 2 subscribers sent away\n");
            assert_eq!(lines[2..], ["fanfare: 1 subscriber sent away, 1 left, 1s to go"]);
        } else {
            assert_eq!((stdout.as_str(), &lines[2..]), ("", &[last][..]));
        }
    }
}

#[test]
fn the_wrong_listener_is_told_from_the_wrong_host() {
    let problem = r#"{"title": "No such thing", "detail": "this hub has `/channels`"}"#;
    for (status, media_type, body, said, advice) in [
        ("404 Not Found", "application/problem+json", problem, "No such thing: ", "public"),
        ("403 Forbidden", "application/problem+json", problem, "No such thing: ", "--allowed-host"),
        ("200 OK", "text/html", "<p>", "what answers is not the operators'", "public listener?"),
    ] {
        let script = Script::new(&[answer(status, media_type, body)]);
        let (code, stdout, stderr) = fanfare(&script, &["channels"], "");
        assert_eq!((code, stdout.as_str()), (1, ""));
        let lines: Vec<_> = stderr.lines().collect();
        assert!(lines[0].starts_with(&format!("fanfare: {said}")), "{stderr}");
        assert!(lines.len() == 2 && lines[1].contains(advice), "{stderr}");
    }
}

#[test]
fn shells_can_complete_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, stdout, stderr) = fanfare(&Script::nobody(), &["completions", shell], "");
        assert_eq!((code, stderr.as_str()), (0, ""));
        for word in ["health", "ring-age", "admin-url"] {
            assert!(stdout.contains(word), "{shell}: {word}");
        }
        assert!(!stdout.contains("settings-table"), "{shell}");
    }
    let (code, stdout, _) = fanfare(&Script::nobody(), &["completions", "basic"], "");
    assert_eq!((code, stdout.as_str()), (64, ""));
}

#[test]
fn bash_completes_commands_flags_and_words() {
    for (words, expected) in [
        ("fanfare chec", "check"),
        ("fanfare health --ad", "--admin-url"),
        ("fanfare channels --sort sub", "subscribers"),
        ("fanfare serve --slow-policy dis", "disconnect"),
    ] {
        let script = format!(
            "source <(\"$0\" completions bash); COMP_WORDS=({words}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _fanfare fanfare \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; \
             echo \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        let output = bash.args(["-c", &script, env!("CARGO_BIN_EXE_fanfare")]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{expected}\n"), "{words}");
    }
}

#[test]
fn the_manual_is_printed_or_written() {
    let (code, stdout, stderr) = fanfare(&Script::nobody(), &["man", "health"], "");
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("\\-\\-ready"), "{stdout}");
    let (code, stdout, stderr) = fanfare(&Script::nobody(), &["man", "settings-table"], "");
    assert!(code == 64 && stdout.is_empty() && stderr.contains("[possible values: "), "{stderr}");

    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("man");
    fs::create_dir_all(&dir).unwrap();
    let arguments = ["man", "--dir", dir.to_str().unwrap()];
    assert_eq!(fanfare(&Script::nobody(), &arguments, ""), (0, String::new(), String::new()));
    let page = fs::read_to_string(dir.join("fanfare-health.1")).unwrap();
    assert!(page.contains("\\-\\-ready"), "{page}");
    assert!(fs::read_to_string(dir.join("fanfare.1")).unwrap().contains("\\-\\-ring\\-age"));
    let (code, _, stderr) = fanfare(&Script::nobody(), &["man", "--dir", "no/such/place"], "");
    assert!(code == 1 && stderr.contains("no/such/place/fanfare.1: No such file"), "{stderr}");
}
