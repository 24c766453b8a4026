//! SIGTERM under load: nothing that was acknowledged is missing.

use std::{
    collections::BTreeSet,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    alone,
    crowd::{Crowd, Member},
    stream::seq_of,
    support::{
        http::{Chunk, Client, chunk, request},
        hub::Hub,
    },
};

const PERIOD: Duration = Duration::from_secs(4);
const CHANNELS: usize = 5;
const MEMBERS: usize = 120;
/// What the open request publishes, again and again.
const LINE: &[u8] = b"{\"data\":\"some data\"}\n";

/// What a publisher was told: `seq`s that were acknowledged, and when.
type Acks = Vec<(Instant, u64)>;

#[test]
fn nothing_acknowledged_is_missing() {
    let _alone = alone();
    let mut hub = Hub::start(&["--workers", "2", "--drain-period", "4s"]);
    let mut crowd = Crowd::new(hub.public());
    for channel in 0..CHANNELS {
        crowd.join(MEMBERS, &format!("/channels/c{channel}"));
    }
    let streaming = crowd.join(MEMBERS, "/channels/stream");
    let singles: Vec<_> = (0..CHANNELS).map(|channel| single(&hub, channel)).collect();
    let stream = stream(&hub);
    crowd.run("a load", |crowd| crowd.seen.events > 20_000);
    let terminated = Instant::now();
    hub.terminate();
    let all = crowd.members.len();
    crowd.run("departures", |crowd| crowd.seen.ended == all);
    let exit = hub.wait();
    println!("{all} left and the hub was gone after {:?}", terminated.elapsed());
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    assert!(exit.said.contains("all in time"), "{}", exit.said);
    assert_eq!(crowd.seen.away, all, "all were sent away");
    for (channel, publisher) in singles.into_iter().enumerate() {
        let acks = publisher.join().unwrap();
        let members = &crowd.members[channel * MEMBERS..(channel + 1) * MEMBERS];
        check(members, &acks, terminated);
    }
    let acks = stream.join().unwrap();
    check(&crowd.members[streaming.clone()], &acks, terminated);
    let after = acks.iter().filter(|(at, _)| *at > terminated).count();
    println!("{} acks of the stream, {after} after SIGTERM", acks.len());
    assert!(after > 0, "an open stream goes on for a while");
    // Its subscribers left last, and it had ended by then: they got all of it.
    for member in &crowd.members[streaming.clone()] {
        assert!(acks.iter().all(|(_, seq)| *seq <= position(member)));
    }
    spread(&crowd, terminated, streaming.start);
}

/// All that was acknowledged up to the position at which a member was sent away was received, and
/// what was acknowledged before the signal is up to there.
fn check(members: &[Member], acks: &Acks, terminated: Instant) {
    assert!(!acks.is_empty());
    for member in members {
        let received: BTreeSet<_> = member.stream.seqs.iter().copied().map(u64::from).collect();
        assert_eq!(received.len(), member.stream.seqs.len(), "twice");
        let position = position(member);
        for (at, seq) in acks {
            assert!(*seq <= position || *at > terminated, "{seq} was acknowledged before");
            assert!(*seq > position || received.contains(seq), "{seq} is missing");
        }
        assert!(received.last().is_none_or(|last| *last <= position));
        assert!(member.stream.gaps.is_empty());
    }
    // Nor may one have what another that left later has not.
    let longest = members.iter().max_by_key(|member| member.stream.seqs.len()).unwrap();
    for member in members {
        assert!(longest.stream.seqs.starts_with(&member.stream.seqs));
    }
}

fn position(member: &Member) -> u64 {
    member.stream.away.unwrap().1
}

/// Departures are spread over the period, and those of the open stream come last.
fn spread(crowd: &Crowd, terminated: Instant, streaming: usize) {
    let left = |member: &Member| member.stream.away.unwrap().0 - terminated;
    let mut buckets = [0; 8];
    for member in &crowd.members {
        let bucket = left(member).as_millis() * 8 / PERIOD.as_millis();
        buckets[usize::try_from(bucket).unwrap().min(7)] += 1;
    }
    println!("departures per eighth of the period: {buckets:?}");
    let share = crowd.members.len() / 8;
    assert!(buckets[1..7].iter().all(|count| (share / 3..share * 3).contains(count)));
    // Each worker has its own half of them, so the two may overlap a little.
    let others = crowd.members[..streaming].iter().map(left).max().unwrap();
    let first = crowd.members[streaming..].iter().map(left).min().unwrap();
    assert!(others < first + PERIOD / 8, "the stream's from {first:?}, the others to {others:?}");
}

/// Publishes one event after the other until the hub refuses.
fn single(hub: &Hub, channel: usize) -> JoinHandle<Acks> {
    let mut client = Client::connect(hub.public());
    thread::spawn(move || {
        let mut acks = Acks::new();
        let request = request("POST", &format!("/channels/c{channel}"), &[], b"some data");
        while client.try_send(&request).is_ok() {
            let head = client.head();
            let body = client.body(&head);
            if head.status == 503 {
                assert!(head.get("retry-after").is_some(), "{}", head.raw);
                break;
            }
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            acks.push((Instant::now(), seq_of(json["id"].as_str().unwrap())));
            // So that the crowd keeps up on two cores.
            thread::park_timeout(Duration::from_millis(2));
        }
        acks
    })
}

/// Publishes on one open request until the hub ends it.
fn stream(hub: &Hub) -> JoinHandle<Acks> {
    let mut client = Client::connect(hub.public());
    client.send(
        "POST /channels/stream?acks=stream HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    thread::spawn(move || {
        let mut acks = Acks::new();
        let mut text = Vec::new();
        client.send_chunk(LINE);
        let head = client.head();
        assert_eq!(head.status, 200);
        while let Chunk::Data(data) = client.chunk() {
            text.extend_from_slice(&data);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = text.drain(..=end).collect();
                let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
                let Some(id) = json["id"].as_str() else { continue };
                acks.push((Instant::now(), seq_of(id)));
                thread::park_timeout(Duration::from_millis(2));
                if client.try_send(chunk(LINE)).is_err() {
                    return acks;
                }
            }
        }
        acks
    })
}
