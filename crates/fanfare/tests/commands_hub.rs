//! The commands of operators on a real hub: what they ask for is what it has.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    io::Write,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{hub::Hub, sse::Stream};

/// Runs a command on a hub: exit code, standard output, standard error.
fn fanfare(hub: &Hub, arguments: &[&str]) -> (i32, String, String) {
    outcome(command(hub, arguments).output().unwrap())
}

/// Begins a command on a hub that reads what the test writes.
fn begin(hub: &Hub, arguments: &[&str]) -> Child {
    let mut command = command(hub, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn command(hub: &Hub, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    let (public, admin) = (format!("http://{}", hub.public()), format!("http://{}", hub.admin()));
    command.env_clear().env("FANFARE_URL", public).env("FANFARE_ADMIN_URL", admin).args(arguments);
    command
}

fn outcome(output: Output) -> (i32, String, String) {
    let Output { status, stdout, stderr } = output;
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

/// A publish of lines that go on, and somebody who reads the first of them.
fn streaming(hub: &Hub) -> (Child, Stream) {
    let mut reader = Stream::open(hub.public(), "/channels/chat/1?open=0");
    let mut publish = begin(hub, &["publish", "chat/1", "--close", "on-end"]);
    publish.stdin.as_mut().unwrap().write_all(b"one\ntw").unwrap();
    assert_eq!(reader.event().data, "one");
    (publish, reader)
}

#[test]
fn a_stream_closes_its_channel_when_its_input_ends() {
    let hub = Hub::start(&[]);
    let (mut publish, mut reader) = streaming(&hub);
    publish.stdin.take().unwrap().write_all(b"o").unwrap();
    let (code, stdout, stderr) = outcome(publish.wait_with_output().unwrap());
    let two = reader.event();
    assert_eq!((two.data.as_str(), stdout), ("two", format!("{}\n", two.id())));
    assert_eq!((code, stderr.as_str()), (0, "fanfare: 2 events published\n"));
    assert_eq!(reader.event().json()["reason"], "done");
}

#[test]
fn a_stream_whose_command_is_killed_waits_for_its_producer() {
    // It waits no time at all, so that it is seen to have begun to.
    let hub = Hub::start(&["--producer-grace", "0s"]);
    let (mut publish, mut reader) = streaming(&hub);
    publish.kill().unwrap();
    publish.wait().unwrap();
    assert_eq!(reader.event().json()["reason"], "error");
}

#[test]
fn a_stream_whose_input_cannot_be_read_waits_for_its_producer() {
    let hub = Hub::start(&["--producer-grace", "0s"]);
    let (mut publish, mut reader) = streaming(&hub);
    publish.stdin.take().unwrap().write_all(b"o\n\xff\n").unwrap();
    let (code, _, stderr) = outcome(publish.wait_with_output().unwrap());
    let said = "fanfare: 2 events published\n\
                fanfare: the input could not be read to its end: line 3 is not UTF-8\n";
    assert_eq!((code, stderr.as_str()), (1, said));
    assert_eq!(reader.event().data, "two");
    assert_eq!(reader.event().json()["reason"], "error");
}

#[test]
fn a_stream_ends_when_somebody_cancels_its_channel() {
    let hub = Hub::start(&[]);
    let (mut publish, mut reader) = streaming(&hub);
    assert_eq!(fanfare(&hub, &["cancel", "chat/1"]).0, 0);
    // Standard input stays open until the command has ended, with half a line in it.
    let input = publish.stdin.take();
    let (code, stdout, stderr) = outcome(publish.wait_with_output().unwrap());
    drop(input);
    let said = "fanfare: 1 event published\n\
                fanfare: somebody asked that chat/1 be cancelled; nothing more is published\n";
    assert_eq!((code, stderr.as_str()), (2, said));
    let end = reader.event();
    assert_eq!((end.json()["reason"].as_str(), stdout.lines().count()), (Some("cancelled"), 1));
}

#[test]
fn a_stream_of_a_command_ends_as_the_command_does() {
    let hub = Hub::start(&["--producer-grace", "0s"]);
    let killed = "fanfare: the input could not be read to its end: sh ended with signal: 9 \
                  (SIGKILL)\n";
    for (channel, then, code, said, reason) in [
        ("chat/1", "", 0, "", "done"),
        // Its half line is no event.
        ("chat/2", "; printf tw; kill -9 $$", 1, killed, "error"),
    ] {
        let script = format!("echo one{then}");
        let publish = ["publish", channel, "--close", "on-end", "--", "sh", "-c", &script];
        let (found, _, stderr) = fanfare(&hub, &publish);
        assert_eq!((found, stderr), (code, format!("fanfare: 1 event published\n{said}")));
        let target = format!("/channels/{channel}?open=0&from=start");
        let mut reader = Stream::open(hub.public(), &target);
        assert_eq!(reader.event().data, "one");
        assert_eq!(reader.event().json()["reason"], reason);
    }
    let (code, _, stderr) = fanfare(&hub, &["publish", "chat/3", "--", "no/such/program"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("no/such/program: No such file or directory"), "{stderr}");
}

#[test]
fn a_cancel_kills_the_command_of_a_stream() {
    let hub = Hub::start(&[]);
    let mut reader = Stream::open(hub.public(), "/channels/chat/1?open=0");
    let arguments = ["publish", "chat/1", "--close=on-end", "--", "sh", "-c", "echo one; exec cat"];
    let mut publish = begin(&hub, &arguments);
    assert_eq!(reader.event().data, "one");
    let input = publish.stdin.take();
    assert_eq!(fanfare(&hub, &["cancel", "chat/1"]).0, 0);
    // Standard error is open as long as the command of the command lives.
    assert_eq!(outcome(publish.wait_with_output().unwrap()).0, 2);
    drop(input);
    assert_eq!(reader.event().json()["reason"], "cancelled");
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
