//! `fanfare publish`: one event from an argument or standard input, or a stream of many.

use std::{
    convert::Infallible,
    ffi::OsString,
    io::{self, Read},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming, header::CONTENT_TYPE};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    hub::{self, ClientError, Hub, channel_path, encode},
    stream::{self, Format},
};
use crate::{
    limits::{ANSWER_TIME_MAX, INPUT_EVENT_BYTES_MAX},
    terminal,
};

/// What to publish, and where.
#[derive(Debug)]
pub(crate) struct Publish {
    /// The hub.
    pub(crate) hub: Hub,
    /// The channel, as typed.
    pub(crate) channel: String,
    /// The type of the event, if it has one.
    pub(crate) event: Option<String>,
    /// The reason with which the channel is closed afterwards, if it is.
    pub(crate) close: Option<String>,
    /// What is sent.
    pub(crate) input: Input,
}

/// What is sent.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Input {
    /// One event with this data.
    Data(String),
    /// Nothing: the channel is only closed.
    Nothing,
    /// One event whose data is read from standard input, without the line end at its end.
    OneFromStdin,
    /// Events in this format as they come, from this command, or standard input if that is empty.
    Stream(Format, Vec<OsString>),
}

/// Publishes, and prints the id of the event, or of the last of many.
pub(crate) async fn run(publish: Publish) -> Result<(), ClientError> {
    let data = match &publish.input {
        Input::Stream(format, command) => return stream::run(&publish, *format, command).await,
        Input::Data(data) => data.clone().into_bytes(),
        Input::Nothing => Vec::new(),
        Input::OneFromStdin => one_from(io::stdin().lock())?,
    };
    let request = publish.hub.request(&publish.path()).method(Method::POST);
    let response = send_one(&publish.hub, request, data).await?;
    print(response).await
}

impl Publish {
    pub(super) fn path(&self) -> String {
        let event = self.event.iter().map(|event| format!("event={}", encode(event)));
        let close = self.close.iter().map(|reason| format!("close={}", encode(reason)));
        let acks = matches!(self.input, Input::Stream(..)).then(|| "acks=stream".to_owned());
        let query: Vec<_> = event.chain(close).chain(acks).collect();
        let path = channel_path(&self.channel);
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }
}

async fn send_one(
    hub: &Hub,
    request: hyper::http::request::Builder,
    data: Vec<u8>,
) -> Result<Response<Incoming>, ClientError> {
    let request = request.header(CONTENT_TYPE, "text/plain; charset=utf-8");
    let body = Full::new(Bytes::from(data)).map_err(|never: Infallible| match never {});
    let sending = hub.send(build(request, body)?);
    timeout(ANSWER_TIME_MAX, sending).await.unwrap_or(Err(ClientError::Silent))
}

/// A request, but for channels whose names are too long for one.
pub(super) fn build<B>(
    request: hyper::http::request::Builder,
    body: B,
) -> Result<Request<B>, ClientError> {
    request.body(body).map_err(|_| ClientError::NoHub("the address of the channel is too long"))
}

/// The data of one event.
fn one_from(input: impl Read) -> Result<Vec<u8>, ClientError> {
    let mut data = Vec::new();
    let mut bounded = input.take(INPUT_EVENT_BYTES_MAX + 1);
    bounded.read_to_end(&mut data).map_err(ClientError::Input)?;
    if INPUT_EVENT_BYTES_MAX < data.len() as u64 {
        let why = format!("one event has at most {INPUT_EVENT_BYTES_MAX} bytes");
        return Err(ClientError::Input(io::Error::other(why)));
    }
    let ends: [&[u8]; 2] = [b"\r\n", b"\n"];
    let end = ends.iter().find(|end| data.ends_with(end)).map_or(0, |end| end.len());
    data.truncate(data.len() - end);
    Ok(data)
}

/// Prints what the hub answered: the id alone on standard output, the rest for people.
async fn print(response: Response<Incoming>) -> Result<(), ClientError> {
    if !response.status().is_success() {
        return Err(hub::refusal(response).await);
    }
    let body = hub::text(response.into_body()).await?;
    let answer: Value =
        body.parse().map_err(|_| ClientError::NoHub("what answers is not a hub"))?;
    match answer["id"].as_str() {
        Some(id) => terminal::out(&format!("{}\n", id.escape_debug())).map_err(ClientError::Output),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_encoded() {
        let publish = Publish {
            hub: Hub::parse("http://127.0.0.1", "--url").unwrap(),
            channel: "orders/4 2".into(),
            event: Some("a&b".into()),
            close: Some("done".into()),
            input: Input::Nothing,
        };
        assert_eq!(publish.path(), "/channels/orders/4%202?event=a%26b&close=done");
        let publish =
            Publish { event: None, input: Input::Stream(Format::Sse, Vec::new()), ..publish };
        assert_eq!(publish.path(), "/channels/orders/4%202?close=done&acks=stream");
    }

    #[test]
    fn one_line_end_is_cut_off() {
        for (input, data) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("\n", ""), ("", "")]
        {
            assert_eq!(one_from(input.as_bytes()).unwrap(), data.as_bytes());
        }
    }

    #[test]
    fn one_event_is_bounded() {
        let error = one_from(io::repeat(b'x')).unwrap_err();
        assert!(matches!(error, ClientError::Input(_)), "{error}");
        let most = one_from(io::repeat(b'x').take(INPUT_EVENT_BYTES_MAX)).unwrap();
        assert_eq!(most.len() as u64, INPUT_EVENT_BYTES_MAX);
    }
}
