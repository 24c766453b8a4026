//! What is logged, how, and what never is.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{
    eventually,
    http::{Client, call, get, post},
    hub::{Hub, run},
    sse::Stream,
};

const NDJSON: [(&str, &str); 1] = [("Content-Type", "application/x-ndjson")];

/// The lines that a hub logged, each a JSON object.
pub(crate) fn lines(said: &str) -> Vec<Value> {
    said.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

fn messages(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["message"].as_str().unwrap()).collect()
}

#[test]
fn a_life_is_a_line_an_event_and_none_is_of_a_publish() {
    let mut hub = Hub::start(&["--drain-period", "100ms"]);
    let stream = Stream::open(hub.public(), "/channels/a");
    for _ in 0..10 {
        post(hub.public(), "/channels/a", "x");
    }
    hub.terminate();
    drop(stream);
    let lines = lines(&hub.wait().said);
    let starts = lines.iter().find(|line| line["message"] == "the hub starts").unwrap();
    assert_eq!(starts["public"], hub.public().to_string());
    assert_eq!(starts["admin"], hub.admin().to_string());
    assert_eq!((&starts["level"], &starts["target"]), (&"INFO".into(), &"fanfare::serve".into()));
    let settings = lines.iter().find(|line| line["message"] == "settings").unwrap();
    assert_eq!(settings["drain_period_ms"], 100);
    let messages = messages(&lines);
    for expected in ["ready", "draining; a second signal exits now"] {
        assert_eq!(messages.iter().filter(|message| **message == expected).count(), 1);
    }
    assert!(messages.last().unwrap().starts_with("drained: "), "{messages:?}");
    assert!(lines.len() < 10, "{messages:?}");
}

#[test]
fn neither_queries_nor_data_are_ever_logged() {
    let (query, data) = ("querymark", "datamark");
    let mut hub = Hub::start(&["--log", "trace", "--drain-period", "100ms"]);
    let public = hub.public();
    let with = |path: &str| format!("{path}?event={query}&token={query}");
    let mut stream = Stream::open(public, &with("/channels/pathmark"));
    stream.event();
    post(public, &with("/channels/pathmark"), data);
    assert_eq!(stream.event().data, data);
    let key = [("Idempotency-Key", data)];
    call(public, "POST", &with("/channels/pathmark"), &key, data.as_bytes());
    let line = format!("{{\"channel\": \"pathmark\", \"data\": \"{data}\"}}\n{data}\n");
    call(public, "POST", &with("/events"), &NDJSON, line.as_bytes());
    call(public, "GET", &with("/channels/pathmark"), &[("Accept", "application/json")], b"");
    call(public, "GET", &with("/channels/pathmark"), &[("Host", "evil.example")], b"");
    call(public, "DELETE", &with("/nothing"), &[("Last-Event-ID", data)], b"");
    get(public, &format!("/events?channel=*{query}&from={query}"));
    get(hub.admin(), &with("/api/channels/none"));
    Client::connect(public).send(format!("GET /{query} nonsense {data}\r\n\r\n"));
    Client::connect(public).send(format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{data}{query}"));
    drop(stream);
    hub.terminate();
    let said = hub.wait().said;
    assert!(said.contains("/channels/pathmark"), "{said}");
    assert!(!said.contains(query) && !said.contains(data), "{said}");
    assert!(
        lines(&said).iter().all(|line| line["target"].as_str().unwrap().starts_with("fanfare"))
    );
}

#[test]
fn a_limit_is_told_once_for_many_times() {
    let hub = Hub::start(&["--event-data-bytes-max", "10", "--log", "debug"]);
    for _ in 0..20 {
        assert_eq!(post(hub.public(), "/channels/a", "x".repeat(11)).status(), 413);
    }
    let told = eventually("a line of the limit", || {
        let said = hub.said();
        let lines = lines(said.rsplit_once('\n')?.0);
        lines.into_iter().find(|line| line["message"] == "a limit was reached")
    });
    assert_eq!((&told["limit"], &told["level"]), (&"event_data_bytes".into(), &"WARN".into()));
    let from = hub.said().contains("\"message\":\"a connection\",\"from\":\"127.0.0.1:");
    assert!(from, "{}", hub.said());
}

#[test]
fn people_get_lines_for_people() {
    let mut hub = Hub::start(&["--log-format", "human", "--log", "warn,fanfare_server=info"]);
    hub.terminate();
    let said = hub.wait().said;
    assert!(said.contains(" INFO fanfare_server::server: ready\n"), "{said}");
    assert!(!said.contains("draining; a second signal"), "{said}");
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(["--log", "trace", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let mut child =
        command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let public = printed.find_map(|line| {
        line.unwrap().strip_prefix("  hub      http://").map(|address| address.parse().unwrap())
    });
    // A pipe holds 64 KiB, and the queue 1,024 lines; each publish is a line of at least 100 B.
    let mut publisher = Client::connect(public.unwrap());
    for _ in 0..4_000 {
        publisher.request("POST", "/channels/a", &[], b"x");
        assert_eq!(publisher.answer().status(), 200);
    }
    drop(publisher);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = eventually("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn wrong_directives_are_a_mistake_of_the_settings() {
    for (flags, expected) in [
        (["--log", "loud"], "fanfare: --log: `loud` is no level; allowed: "),
        (["--log", "info,h2=trace"], "fanfare: --log: `h2` is no module of the hub; allowed: "),
        (["--log-format", "xml"], "fanfare: --log-format: `xml` is not one of them; allowed: "),
    ] {
        let exit = run(&flags);
        assert_eq!(exit.code, Some(64), "{}", exit.said);
        assert!(exit.said.starts_with(expected), "{}", exit.said);
    }
}
