//! The Rust clients of the table. A line of standard input, `NUMBER<tab>CLIENT<tab>URL`,
//! subscribes; a line of JSON on standard output says what the subscription's program is told.

use std::io;

use eventsource_client::{Client, ClientBuilder, SSE};
use futures::StreamExt;
use launchdarkly_sdk_transport::HyperTransport;
use reqwest_eventsource::{Event, EventSource};
use serde_json::{Value, json};

#[tokio::main]
async fn main() {
    println!("{}", json!({ "ready": true }));
    let mut line = String::new();
    while io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        let mut command = line.trim_end().split('\t').map(str::to_owned);
        let (at, client, url) =
            (command.next().unwrap(), command.next().unwrap(), command.next().unwrap());
        let say = move |mut told: Value| {
            told["at"] = at.as_str().into();
            println!("{told}");
        };
        match client.as_str() {
            "reqwest-eventsource" => drop(tokio::spawn(with_reqwest(url, say))),
            _ => drop(tokio::spawn(with_launchdarkly(url, say))),
        }
        line.clear();
    }
}

async fn with_reqwest(url: String, say: impl Fn(Value)) {
    let mut source = EventSource::get(url);
    let mut last = String::new();
    while let Some(next) = source.next().await {
        match next {
            Ok(Event::Open) => {}
            Ok(Event::Message(event)) => {
                say(json!({ "type": event.event, "data": event.data, "id": event.id }));
            }
            Err(error) => last = error.to_string(),
        }
    }
    say(json!({ "over": last }));
}

async fn with_launchdarkly(url: String, say: impl Fn(Value)) {
    let transport = HyperTransport::builder().build_http().unwrap();
    let client = ClientBuilder::for_url(&url).unwrap().build_with_transport(transport);
    let mut stream = client.stream();
    let mut last = String::new();
    while let Some(next) = stream.next().await {
        match next {
            Ok(SSE::Event(event)) => {
                say(json!({ "type": event.event_type, "data": event.data, "id": event.id }));
            }
            Ok(SSE::Connected(_) | SSE::Comment(_)) => {}
            Err(error) => last = error.to_string(),
        }
    }
    say(json!({ "over": last }));
}
