//! SIGHUP: what can change in a hub that runs does, what cannot is named, what is wrong changes
//! nothing.

use serde_json::{Value, json};

use crate::{
    logs::lines,
    support::{
        eventually,
        http::{call, get, post},
        hub::Hub,
        sse::Stream,
    },
};

const TAKEN: &str = "the settings were read again";
const REFUSED: &str = "the settings are wrong, so those of before still hold";

/// Gives a hub other settings, and answers what it logs of them: all lines since, up to the end.
fn reload(hub: &Hub, toml: &str) -> Vec<Value> {
    let before = hub.said().len();
    hub.reconfigure(toml);
    eventually("the end of the reload", || {
        let said = hub.said().split_off(before);
        let is_over = |line: &Value| line["message"] == TAKEN || line["message"] == REFUSED;
        let mut told = lines(said.rsplit_once('\n')?.0);
        told.retain(|line| line["target"] == "fanfare::reload");
        Some(told).filter(|told| told.last().is_some_and(is_over))
    })
}

/// What lines say of settings: level, key, old, new.
fn settings(lines: &[Value]) -> Vec<(&str, &str, &str, &str)> {
    lines
        .iter()
        .filter_map(|line| {
            let text = |name: &str| line[name].as_str();
            Some((text("level")?, text("key")?, text("old")?, text("new")?))
        })
        .collect()
}

#[test]
fn what_can_change_does() {
    let hub = Hub::configured("event_data_bytes_max = \"1KiB\"\n", &[]);
    let large = "x".repeat(2_000);
    assert_eq!(post(hub.public(), "/channels/a", &large).status(), 413);
    let named = || call(hub.public(), "POST", "/channels/a", &[("Host", "hub.example")], b"x");
    assert_eq!(named().status(), 403);
    let mut before = Stream::open(hub.public(), "/channels/a?open=0");
    let toml = "event_data_bytes_max = \"4KiB\"\nallowed_hosts = [\"hub.example\"]\n\
                log = \"debug\"\nring_events = 2\n[[channels]]\npattern = \"wide/*\"\n\
                ring_events = 3\n";
    let told = reload(&hub, toml);
    let expected = [
        ("INFO", "allowed_hosts", "", "hub.example"),
        ("INFO", "event_data_bytes_max", "1KiB", "4KiB"),
        ("INFO", "ring_events", "4_096", "2"),
        ("INFO", "log", "info", "debug"),
        ("INFO", "channels", "0 patterns", "1 patterns"),
    ];
    assert_eq!(settings(&told), expected);
    assert_eq!(told.last().unwrap()["changed"], 5);
    assert_eq!(post(hub.public(), "/channels/a", &large).status(), 200);
    assert_eq!(before.event().data, large, "who is connected stays");
    assert_eq!(named().status(), 200);
    eventually("debug lines", || hub.said().contains("/channels/a").then_some(()));
    for channel in ["a", "wide/a"] {
        (0..5).for_each(|_| drop(post(hub.public(), &format!("/channels/{channel}"), "x")));
    }
    let kept = |channel: &str| {
        let path = format!("/api/channels/{channel}");
        get(hub.admin(), &path).json()["ring_events"].clone()
    };
    assert_eq!(kept("wide/a"), 3);
    // Channels that there were have their turns.
    eventually("shorter rings", || (kept("a") == 2).then_some(()));
}

#[test]
fn what_cannot_is_named_and_stays() {
    let hub = Hub::configured("", &["--workers", "1"]);
    let toml = "listen_backlog = 77\nmemory_max = \"1GiB\"\nchannels_max = 5\n";
    let told = reload(&hub, toml);
    let kept: Vec<_> = settings(&told).into_iter().filter(|told| told.0 == "WARN").collect();
    assert_eq!(kept[0], ("WARN", "listen_backlog", "4_096", "77"));
    assert!(matches!(kept[1..], [("WARN", "memory_max", _, "1GiB")]), "{kept:?}");
    // The shares are made from the memory that holds, so they are as before.
    let changed: Vec<_> = settings(&told).into_iter().filter(|told| told.0 == "INFO").collect();
    assert!(matches!(changed[..], [("INFO", "channels_max", _, "5")]), "{changed:?}");
    assert_eq!(told.last().unwrap()["needs_restart"], 2);
    // They are named again as long as they are not what holds.
    assert_eq!(reload(&hub, toml).last().unwrap()["needs_restart"], 2);
    assert_eq!(reload(&hub, "channels_max = 5\n").last().unwrap()["needs_restart"], 0);
}

#[test]
fn what_is_wrong_changes_nothing_and_is_told_whole() {
    let hub = Hub::configured("event_data_bytes_max = \"1KiB\"\n", &[]);
    let path = hub.config();
    for (toml, expected) in [
        (
            "event_data_bytes_max = \"4KiB\"\nworkers = 99\nlog = \"loud\"\n",
            vec![":2: workers: 99 is too much", ":3: log: `loud` is no level"],
        ),
        ("event_data_bytes_max = \"4KiB\"\n[[channels]\n", vec![":2: "]),
        (
            "event_data_bytes_max = \"16MiB\"\nrings_bytes_max = \"1MiB\"\nring_bytes = \"1MiB\"\n",
            vec![":2: rings_bytes_max: 1MiB is less than 16MiB"],
        ),
    ] {
        let told = reload(&hub, toml);
        let (last, problems) = told.split_last().unwrap();
        assert_eq!((&last["message"], &last["level"]), (&json!(REFUSED), &json!("ERROR")));
        assert_eq!(problems.len(), expected.len(), "{told:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            let message = problem["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("{path}{expected}")), "{message}");
        }
        assert_eq!(post(hub.public(), "/channels/a", "x".repeat(2_000)).status(), 413);
    }
    // And then one that is right.
    assert_eq!(reload(&hub, "event_data_bytes_max = \"4KiB\"\n").last().unwrap()["changed"], 1);
    assert_eq!(post(hub.public(), "/channels/a", "x".repeat(2_000)).status(), 200);
}

#[test]
fn flags_win_over_the_file_as_at_the_start() {
    let hub = Hub::configured("", &["--event-data-bytes-max", "1KiB", "--connections-max", "5"]);
    let told = reload(&hub, "event_data_bytes_max = \"4KiB\"\nheartbeat_interval = \"1s\"\n");
    assert_eq!(settings(&told), [("INFO", "heartbeat_interval", "15s", "1s")]);
    assert_eq!(post(hub.public(), "/channels/a", "x".repeat(2_000)).status(), 413);
    Stream::open(hub.public(), "/channels/a?open=0").heartbeat();
}

#[test]
fn connections_that_wait_for_a_place_get_the_new_ones() {
    let hub = Hub::configured("connections_max = 1\n", &[]);
    let first = Stream::open(hub.public(), "/channels/a?open=0");
    assert_eq!(Stream::open(hub.public(), "/channels/a").event().kind(), "fanfare.reconnect");
    reload(&hub, "connections_max = 2\n");
    assert_eq!(Stream::open(hub.public(), "/channels/a").event().kind(), "fanfare.open");
    drop(first);
}
