//! The commands of operators on a real hub: what they ask for is what it has.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{hub::Hub, sse::Stream};

/// Runs a command on a hub: exit code, standard output, standard error.
fn fanfare(hub: &Hub, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    let (public, admin) = (format!("http://{}", hub.public()), format!("http://{}", hub.admin()));
    command.env_clear().env("FANFARE_URL", public).env("FANFARE_ADMIN_URL", admin);
    let Output { status, stdout, stderr } = command.args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn channels_are_those_of_the_hub() {
    let hub = Hub::start(&[]);
    for channel in ["orders/1", "orders/2", "news/2"] {
        assert_eq!(fanfare(&hub, &["publish", channel, "hello"]).0, 0);
    }
    let mut subscriber = Stream::open(hub.public(), "/channels/orders/2");
    subscriber.event();
    let names = |arguments: &[&str]| -> Vec<String> {
        let arguments = [&["channels", "--json"], arguments].concat();
        let (code, stdout, stderr) = fanfare(&hub, &arguments);
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
        let channels = stdout.lines().map(|line| line.parse::<Value>().unwrap());
        channels.map(|channel| channel["channel"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["--sort", "name"]), ["news/2", "orders/1", "orders/2"]);
    assert_eq!(names(&[])[0], "orders/2");
    assert_eq!(names(&["--limit", "1"]), ["orders/2"]);
    assert_eq!(names(&["orders/", "--contains", "1"]), ["orders/1"]);
    for sort in ["subscribers", "events", "bytes", "rate"] {
        assert_eq!(names(&["--sort", sort]).len(), 3, "{sort}");
    }
    let (_, stdout, stderr) = fanfare(&hub, &["channels", "--limit", "1"]);
    assert!(stdout.ends_with("  orders/2\n"), "{stdout}");
    assert!(stderr.ends_with(" of 3 channels; --all prints all of them\n"), "{stderr}");

    let (code, stdout, stderr) = fanfare(&hub, &["top"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("  running\n") && stdout.contains("  orders/2\n"), "{stdout}");
}

#[test]
fn a_drain_sends_everybody_away_and_is_taken_back() {
    let hub = Hub::start(&["--drain-period", "100ms"]);
    let mut subscriber = Stream::open(hub.public(), "/channels/news");
    subscriber.event();
    assert_eq!(fanfare(&hub, &["health", "--ready"]), (0, String::new(), String::new()));
    let (code, stdout, stderr) = fanfare(&hub, &["drain", "--wait"]);
    assert_eq!((code, stdout.as_str()), (0, "drained: 1 subscriber sent away\n"), "{stderr}");
    assert_eq!(subscriber.event().kind.as_deref(), Some("fanfare.reconnect"));
    let (code, _, stderr) = fanfare(&hub, &["health", "--ready"]);
    assert!(code == 1 && stderr.contains("/readyz of the hub answers 503"), "{stderr}");
    assert_eq!(fanfare(&hub, &["health"]).0, 0);
    let outcome = fanfare(&hub, &["drain", "--cancel"]);
    assert_eq!(outcome, (0, "the drain was taken back\n".to_owned(), String::new()));
    assert_eq!(fanfare(&hub, &["health", "--ready"]).0, 0);
    Stream::open(hub.public(), "/channels/news").event();
}

#[test]
fn a_channel_is_looked_at_and_cancelled() {
    let hub = Hub::start(&[]);
    let (code, stdout, stderr) = fanfare(&hub, &["status", "chat/1"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("the channel never was, or it has expired"), "{stderr}");
    // The wish waits for a producer to come.
    let asked = "cancelling: its producer is asked to stop\n";
    assert_eq!(fanfare(&hub, &["cancel", "chat/1"]), (0, asked.to_owned(), String::new()));
    let (code, stdout, stderr) = fanfare(&hub, &["status", "chat/1"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with(&format!("state        {asked}events       0, 0 B\n")), "{stdout}");
    assert_eq!(fanfare(&hub, &["publish", "chat/1", "x", "--close"]).0, 0);
    let closed = (0, "closed (done)\n".to_owned(), String::new());
    assert_eq!(fanfare(&hub, &["cancel", "chat/1"]), closed);
    let (_, stdout, _) = fanfare(&hub, &["status", "chat/1", "--json"]);
    let status: Value = stdout.parse().unwrap();
    assert_eq!((&status["reason"], &status["events"]), (&"done".into(), &1.into()));
}

#[test]
fn the_public_listener_is_not_the_operators_one() {
    let hub = Hub::start(&[]);
    let public = format!("http://{}", hub.public());
    for command in [&["channels"][..], &["top"], &["drain"], &["drain", "--cancel"]] {
        let arguments = [command, &["--admin-url", &public]].concat();
        let (code, stdout, stderr) = fanfare(&hub, &arguments);
        assert_eq!((code, stdout.as_str()), (1, ""), "{command:?}");
        assert!(stderr.contains(" its public listener?"), "{stderr}");
    }
}
