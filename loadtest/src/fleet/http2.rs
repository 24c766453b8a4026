//! Subscribers over HTTP/2: many streams on one connection.

use std::{io, rc::Rc};

use h2::client::{Builder, SendRequest};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    http1::{Open, connect},
    subscriber::{Body, Reading, Shared, Subscriber},
    tally::add,
};

/// What a stream may send ahead of its reader, in bytes, and all streams of a connection.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;

/// Subscribes all of them over one connection, and reads until their streams end.
pub(crate) async fn subscribe(
    subscribers: Vec<Rc<Subscriber>>,
    shared: Rc<Shared>,
    connecting: Rc<Semaphore>,
) {
    // Tasks of a set end with it, so whoever aborts this task ends the connection.
    let mut tasks = JoinSet::new();
    let opened = {
        let permit = connecting.acquire().await;
        let opened = open(&shared, &mut tasks).await;
        drop(permit);
        opened
    };
    let Ok(sender) = opened else {
        let class = |subscriber: &Rc<Subscriber>| add(&shared.class(subscriber).refused, 1);
        return subscribers.iter().for_each(class);
    };
    for subscriber in subscribers {
        let Ok(ready) = sender.clone().ready().await else {
            add(&shared.class(&subscriber).refused, 1);
            continue;
        };
        tasks.spawn_local(read(ready, subscriber, Rc::clone(&shared)));
    }
    while tasks.join_next().await.is_some() {}
}

async fn open(shared: &Shared, tasks: &mut JoinSet<()>) -> io::Result<SendRequest<&'static [u8]>> {
    let stream = connect(shared, Reading::Fast).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_reset_streams(0)
        .handshake(stream)
        .await
        .map_err(io::Error::other)?;
    tasks.spawn_local(async move { drop(connection.await) });
    Ok(sender)
}

/// Reads one stream to its end.
async fn read(sender: SendRequest<&'static [u8]>, subscriber: Rc<Subscriber>, shared: Rc<Shared>) {
    let class = shared.class(&subscriber);
    let Ok(mut stream) = request(sender, &subscriber, &shared).await else {
        return add(&class.refused, 1);
    };
    let open = Open::new(&subscriber, &shared);
    let mut body = Body::default();
    let is_whole = loop {
        let bytes = match stream.data().await {
            Some(Ok(bytes)) => bytes,
            end => break end.is_none() && body.is_whole(),
        };
        add(&class.bytes, bytes.len() as u64);
        body.take(&bytes, &subscriber, &shared);
        if stream.flow_control().release_capacity(bytes.len()).is_err() {
            break false;
        }
    };
    drop(open);
    subscriber.end(is_whole, &shared);
}

async fn request(
    mut sender: SendRequest<&'static [u8]>,
    subscriber: &Subscriber,
    shared: &Shared,
) -> io::Result<h2::RecvStream> {
    let endpoint = &shared.endpoint;
    let path = endpoint.subscribe_path(subscriber.channels());
    let mut request = http::Request::get(format!("http://{}{path}", endpoint.address))
        .header("accept", "text/event-stream");
    if !subscriber.last_id.borrow().is_empty() {
        request = request.header("last-event-id", subscriber.last_id.borrow().as_slice());
    }
    if let Some(token) = &endpoint.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(()).map_err(io::Error::other)?;
    let (response, _) = sender.send_request(request, true).map_err(io::Error::other)?;
    let response = response.await.map_err(io::Error::other)?;
    if response.status() != http::StatusCode::OK {
        return Err(io::Error::other(format!("status {}", response.status())));
    }
    Ok(response.into_body())
}
