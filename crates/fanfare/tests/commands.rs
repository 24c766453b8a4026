//! `fanfare publish` and `fanfare subscribe` against a hub that is only a script: what they ask
//! for, what they print, how they end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod script;

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
};

use crate::script::{Script, answer, fanfare, json, stream};

#[test]
fn publish_sends_one_event_and_prints_its_id() {
    for (arguments, input, line, body) in [
        (&["news", "hello"][..], "", "post /channels/news http/1.1\r\n", "hello"),
        (&["news"], "from stdin\n", "post /channels/news http/1.1\r\n", "from stdin"),
        (&["news", "-"], "a\nb\n", "post /channels/news http/1.1\r\n", "a\nb"),
        (
            &["orders/4 2", "{}", "--event", "add", "--close=error"],
            "",
            "post /channels/orders/4%202?event=add&close=error http/1.1\r\n",
            "{}",
        ),
        (&["news", "--close"], "", "post /channels/news?close=done http/1.1\r\n", ""),
    ] {
        let script = Script::new(&[json(r#"{"id": "k7f2w9ma-1042", "subscribers": 3}"#)]);
        let outcome = fanfare(&script, &[&["publish"], arguments].concat(), input);
        assert_eq!(outcome, (0, "k7f2w9ma-1042\n".to_owned(), String::new()));
        let request = &script.requests()[0];
        assert!(request.starts_with(line) && request.contains("\r\nhost: 127.0.0.1:"), "{request}");
        assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
    }
}

#[test]
fn publish_streams_many_events() {
    let lines = "{\"data\":\"one\"}\n{\"data\":\"two\"}\n";
    for (flags, media_type, query, body) in [
        (&["--ndjson"][..], "application/x-ndjson", "acks=stream", "one\ntwo\n"),
        (&["--sse"], "text/event-stream", "acks=stream", "one\ntwo\n"),
        (&["--lines", "--event=t"], "application/x-ndjson", "event=t&acks=stream", lines),
        (&["--close", "on-end"], "application/x-ndjson", "close=on-end&acks=stream", lines),
    ] {
        let acks = "{\"id\": \"e-1\"}\n{\"id\": \"e-2\"}\n";
        let script = Script::new(&[answer("200 OK", "application/x-ndjson", acks)]);
        let outcome = fanfare(&script, &[&["publish", "news"], flags].concat(), "one\ntwo\n");
        assert_eq!(outcome, (0, "e-2\n".to_owned(), "fanfare: 2 events published\n".to_owned()));
        let request = &script.requests()[0];
        assert!(request.starts_with(&format!("post /channels/news?{query} http")), "{request}");
        assert!(request.contains(&format!("content-type: {media_type}\r\n")), "{request}");
        assert!(request.contains(body), "{request}");
    }
}

#[test]
fn a_stream_that_is_refused_tells_how_far_it_came() {
    let refused = "{\"id\": \"e-1\"}\n{\"title\": \"a line is wrong\", \"status\": 400, \
                   \"detail\": \"line 2 is not JSON\"}\n";
    let said = "fanfare: 1 event published\nfanfare: a line is wrong: line 2 is not JSON\n";
    let script = Script::new(&[answer("200 OK", "application/x-ndjson", refused)]);
    let outcome = fanfare(&script, &["publish", "news", "--ndjson"], "{\"data\": 1}\nno\n");
    assert_eq!(outcome, (1, "e-1\n".to_owned(), said.to_owned()));

    let script = Script::new(&[answer("200 OK", "text/html", "<p>")]);
    let outcome = fanfare(&script, &["publish", "news", "--lines"], "one\n");
    assert_eq!(outcome, (1, String::new(), "fanfare: what answers is not a hub\n".to_owned()));
}

#[test]
fn what_a_hub_refuses_is_told() {
    let problem = r#"{"type": "/problems/closed", "title": "the channel is closed", "status": 409,
                      "detail": "it was closed with done"}"#;
    for (status, media_type, body, said) in [
        (
            "409 Conflict",
            "application/problem+json",
            problem,
            "the channel is closed: it was closed with done",
        ),
        ("502 Bad Gateway", "text/html", "<p>", "the hub answered 502 Bad Gateway"),
        ("200 OK", "text/html", "<p>", "what answers is not a hub"),
    ] {
        let script = Script::new(&[answer(status, media_type, body)]);
        let outcome = fanfare(&script, &["publish", "news", "a"], "");
        assert_eq!(outcome, (1, String::new(), format!("fanfare: {said}\n")));
    }
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        let script = Script::new(&[answer(status, "application/problem+json", problem)]);
        let outcome = fanfare(&script, &["subscribe", "news"], "");
        let said = "fanfare: the channel is closed: it was closed with done\n";
        assert_eq!(outcome, (1, String::new(), said.to_owned()));
    }
}

#[test]
fn a_stream_that_is_refused_early_ends_although_there_is_more_input() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(["publish", "news", "--ndjson", "--url", &url]).env_clear();
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"not json\n").unwrap();
    socket.read_exact(&mut [0]).unwrap();
    let problem = r#"{"title": "a line is wrong", "detail": "line 1 is not JSON"}"#;
    let refusal = answer("400 Bad Request", "application/problem+json", problem);
    socket.write_all(refusal.as_bytes()).unwrap();
    // Standard input stays open until the command has ended.
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let code = child.wait().unwrap().code().unwrap();
    assert_eq!((code, said.as_str()), (1, "fanfare: a line is wrong: line 1 is not JSON\n"));
}

#[test]
fn a_hub_that_is_not_there_is_told() {
    let gone = Script::nobody();
    let (code, stdout, stderr) = fanfare(&gone, &["publish", "news", "a"], "");
    assert_eq!((code, stdout.as_str()), (1, ""));
    let said = "fanfare: no hub can be reached at 127.0.0.1:1: Connection refused";
    assert!(stderr.starts_with(said), "{stderr}");
    let (code, _, stderr) = fanfare(&gone, &["publish", "news", "a", "--url", "hub"], "");
    assert_eq!(
        (code, stderr.as_str()),
        (64, "fanfare: --url: `hub` is wrong: it begins with http://\n")
    );
}

#[test]
fn subscribe_resumes_after_a_cut_and_ends_with_204() {
    let script = Script::new(&[
        stream("retry: 1\nid: e-1\nevent: fanfare.open\ndata: {\"channels\": [\"news\"]}\n\n"),
        stream(
            "id: e-2\ndata: hello\n\nid: e-3\nevent: add\ndata: two\ndata: lines\n\n:\nid: e-4\n",
        ),
        stream("event: fanfare.reconnect\ndata: {\"reason\": \"drain\"}\n\n"),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
    ]);
    let (code, stdout, stderr) = fanfare(&script, &["subscribe", "news", "--last", "5"], "");
    assert_eq!((code, stdout.as_str()), (0, "hello\ntwo\\nlines\n"), "{stderr}");
    let lines: Vec<_> = stderr.lines().collect();
    let cut = ["fanfare: the connection was cut", "fanfare: coming back in 0.0 s"];
    let told = ["fanfare: the hub closes this connection (drain)", cut[1]];
    let begun = ["fanfare: subscribed to news"];
    assert_eq!(lines, [&begun[..], &cut[..], &cut[..], &told[..]].concat());
    let requests = script.requests();
    let ids = ["", "last-event-id: e-1\r\n", "last-event-id: e-3\r\n", "last-event-id: e-3\r\n"];
    for (request, id) in requests.iter().zip(ids) {
        let line = "get /channels/news?last=5 http/1.1\r\n";
        assert!(request.starts_with(line) && request.contains(id), "{request}");
        assert!(request.contains("accept: text/event-stream\r\n"), "{request}");
    }
    assert!(!requests[0].contains("last-event-id"));
}

#[test]
fn subscribe_ends_with_its_last_channel() {
    let end = |channel, reason| {
        let data = format!("{{\"channels\": [\"{channel}\"], \"reason\": \"{reason}\"}}");
        format!("retry: 60000\nid: e-9\nevent: fanfare.end\ndata: {data}\n\n")
    };
    let gap = "id: e-4\nevent: fanfare.gap\ndata: {\"channels\": [\"a\"], \"requested\": \"e-1\", \
               \"resumed_after\": \"e-4\", \"reason\": \"lagged\"}\n\n";
    let events = format!("{gap}data: x\n\n{}{}", end("a", "done"), end("b", "error"));
    let script = Script::new(&[stream(&events)]);
    let (code, stdout, stderr) = fanfare(&script, &["subscribe", "a", "b", "--json"], "");
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "{\"id\":\"e-4\",\"event\":\"message\",\"data\":\"x\"}\n");
    let said = "fanfare: events of a were lost (lagged): asked for what follows e-1, \
                goes on after e-4\n\
                fanfare: a was closed (done)\nfanfare: b was closed (error)\n";
    assert_eq!(stderr, said);
    assert!(script.requests()[0].starts_with("get /events?channel=a&channel=b http/1.1\r\n"));
}

#[test]
fn subscribe_does_not_take_a_page_for_a_stream() {
    let script = Script::new(&[answer("200 OK", "text/html", "<p>data: x\n\n")]);
    let outcome = fanfare(&script, &["subscribe", "a*"], "");
    let said = "fanfare: what answers is not a stream of events\n";
    assert_eq!(outcome, (1, String::new(), said.to_owned()));
}

#[test]
fn the_status_of_a_channel_is_for_people_or_as_it_came() {
    let told = r#"{"channel":"chat/4 2","state":"closed","reason":"done","first_id":"e-7",
        "last_id":"e-90","events":1084,"bytes":19320,"kept":{"events":84,"bytes":29064},
        "subscribers":2,"publishing":0,"created_at":1767225600000,"updated_at":1767225604200,
        "closed_at":1767225605000}"#
        .replace("\n        ", "");
    let words = "\
state        closed (done)
events       1,084, 19 KiB
kept         84, e-7 to e-90
subscribers  2
streaming    0
created      2026-01-01T00:00:00Z
updated      2026-01-01T00:00:04Z
closed       2026-01-01T00:00:05Z
";
    for (flags, stdout) in [(&[][..], words.to_owned()), (&["--json"], format!("{told}\n"))] {
        let script = Script::new(&[json(&told)]);
        let arguments = [&["status", "chat/4 2"], flags].concat();
        assert_eq!(fanfare(&script, &arguments, ""), (0, stdout, String::new()));
        let request = &script.requests()[0];
        assert!(request.starts_with("get /status/chat/4%202 http/1.1\r\n"), "{request}");
    }
}

#[test]
fn cancel_says_what_became_of_the_channel() {
    let accepted = r#"{"channel": "a", "state": "cancelling", "reason": null}"#;
    let closed = r#"{"channel": "a", "state": "closed", "reason": "cancelled"}"#;
    for (status, body, said) in [
        ("202 Accepted", accepted, "cancelling: its producer is asked to stop\n"),
        ("200 OK", closed, "closed (cancelled)\n"),
    ] {
        let script = Script::new(&[answer(status, "application/json", body)]);
        let outcome = fanfare(&script, &["cancel", "a"], "");
        assert_eq!(outcome, (0, said.to_owned(), String::new()));
        let request = &script.requests()[0];
        assert!(request.starts_with("post /cancel/a http/1.1\r\n"), "{request}");
    }
    for body in ["<p>", "{}"] {
        let script = Script::new(&[answer("200 OK", "text/html", body)]);
        let said = "fanfare: what answers is not a hub\n".to_owned();
        assert_eq!(fanfare(&script, &["cancel", "a"], ""), (1, String::new(), said));
    }
}
