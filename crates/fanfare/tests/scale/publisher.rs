//! A publisher: one keep-alive connection.

use std::{fmt::Write as _, net::SocketAddr};

use crate::{stream::seq_of, support::http::Client};

pub(crate) struct Publisher {
    client: Client,
}

impl Publisher {
    pub(crate) fn new(hub: SocketAddr) -> Self {
        Self { client: Client::connect(hub) }
    }

    /// Publishes one event; returns its `seq` and how many subscribers it had.
    pub(crate) fn publish(&mut self, channel: &str, data: &str) -> (u64, u64) {
        self.client.request("POST", &format!("/channels/{channel}"), &[], data.as_bytes());
        let answer = self.client.answer();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let json = answer.json();
        (seq_of(json["id"].as_str().unwrap()), json["subscribers"].as_u64().unwrap())
    }

    /// Publishes many events in one request; returns the `seq`s, no one else publishing.
    pub(crate) fn publish_many(
        &mut self,
        channel: &str,
        count: usize,
        data: &str,
    ) -> std::ops::RangeInclusive<u64> {
        let mut body = String::new();
        (0..count).for_each(|_| writeln!(body, "{{\"data\":\"{data}\"}}").unwrap());
        let headers = [("Content-Type", "application/x-ndjson")];
        self.client.request("POST", &format!("/channels/{channel}"), &headers, body.as_bytes());
        let answer = self.client.answer();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let json = answer.json();
        assert_eq!(json["accepted"], count);
        let [first, last] = ["first_id", "last_id"].map(|id| seq_of(json[id].as_str().unwrap()));
        assert_eq!(last - first + 1, count as u64);
        first..=last
    }
}
