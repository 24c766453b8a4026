//! Follows a channel with LaunchDarkly's eventsource-client: resumes exactly after a cut, tells of
//! gaps, stops at the end.

use std::time::Duration;

use eventsource_client::{Client, ClientBuilder, Error, ReconnectOptions, SSE};
use futures::StreamExt;
use launchdarkly_sdk_transport::HyperTransport;

// The hub sends a heartbeat every 15 s: a connection so silent is dead.
const SILENCE: Duration = Duration::from_secs(40);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: follow URL")?;
    let retries = ReconnectOptions::reconnect(true).delay_max(Duration::from_secs(10)).build();
    let transport = HyperTransport::builder().read_timeout(SILENCE).build_http()?;
    let client = ClientBuilder::for_url(&url)?.reconnect(retries).build_with_transport(transport);
    let mut stream = client.stream();
    while let Some(next) = stream.next().await {
        match next {
            // The channel ended while we were away, and we had seen all of it.
            Ok(SSE::Connected(told)) if told.response().status() == 204 => break,
            Ok(SSE::Event(event)) => match event.event_type.as_str() {
                "fanfare.gap" => eprintln!("fanfare.gap {}", event.data),
                "fanfare.end" => return Ok(eprintln!("fanfare.end {}", event.data)),
                "fanfare.open" | "fanfare.reconnect" => {}
                _ => println!("{}", event.data),
            },
            Err(Error::UnexpectedResponse(told, _)) if (400..500).contains(&told.status()) => {
                return Err(format!("the hub refuses: {}", told.status()).into());
            }
            Ok(_) | Err(_) => {} // It was cut, and comes back by itself.
        }
    }
    Ok(())
}
