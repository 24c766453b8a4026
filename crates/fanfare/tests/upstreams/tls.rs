//! An upstream over TLS, with a certificate of an authority that only the tests know: see
//! `tls/README.md`.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    thread,
};

use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{
    closed, data, error, fetch, hub,
    scripted::{STREAM, say, stream},
    support::http::chunk,
};

const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstreams/tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/cert.pem");
const KEY: &[u8] = include_bytes!("tls/key.pem");

/// An upstream over TLS that answers each request with these bytes, and then says goodbye or not.
/// Its port.
fn start(answer: Vec<u8>, says_goodbye: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            CertificateDer::pem_slice_iter(CERTIFICATE).map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, socket.unwrap());
            let mut read = Vec::new();
            while !read.ends_with(crate::REQUEST.as_bytes()) {
                let mut bytes = [0; 1024];
                // Whoever does not trust the certificate sends nothing.
                let Ok(count @ 1..) = stream.read(&mut bytes) else { break };
                read.extend_from_slice(&bytes[..count]);
            }
            say(&mut stream, &answer);
            if says_goodbye {
                stream.conn.send_close_notify();
                stream.flush().ok();
            }
        }
    });
    port
}

#[test]
fn one_that_a_given_authority_vouches_for() {
    let port = start(stream(&["data: 1\n\n"]), true);
    for host in ["localhost", "127.0.0.1"] {
        let hub = hub(&format!("https://{host}:{port}"), &format!("ca_file = \"{CA}\""));
        fetch(&hub, "a");
        let history = closed(&hub, "a");
        assert_eq!((&history["closed"], data(&history)), (&"done".into(), vec!["1"]), "{host}");
    }
}

#[test]
fn one_that_nobody_vouches_for() {
    let port = start(stream(&["data: 1\n\n"]), true);
    // The system trusts others.
    let hub = hub(&format!("https://localhost:{port}"), "");
    fetch(&hub, "a");
    let (told, _) = error(&hub, "a");
    assert_eq!(told["type"], "upstream_connect");
    assert!(told["message"].as_str().unwrap().contains("certificate"), "{told}");
}

#[test]
fn one_with_the_certificate_of_another_name() {
    let port = start(stream(&["data: 1\n\n"]), true);
    let hub = hub(&format!("https://127.0.0.2:{port}"), &format!("ca_file = \"{CA}\""));
    fetch(&hub, "a");
    assert_eq!(error(&hub, "a").0["type"], "upstream_connect");
}

#[test]
fn one_that_speaks_no_tls() {
    let upstream = crate::scripted::Upstream::answering(stream(&["data: 1\n\n"]));
    let url = upstream.url().replace("http://", "https://");
    let hub = hub(&url, &format!("ca_file = \"{CA}\"\nconnect_timeout = \"300ms\""));
    fetch(&hub, "a");
    let (told, _) = error(&hub, "a");
    let kind = told["type"].as_str().unwrap();
    assert!(["upstream_connect", "upstream_timeout"].contains(&kind), "{told}");
}

#[test]
fn one_that_is_cut_off_without_a_goodbye() {
    // Without chunks and without a length only TLS can tell an end from a cut.
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let answer = [head.as_bytes(), b"data: 1\n\n"].concat();
    for (says_goodbye, reason) in [(true, "done"), (false, "error")] {
        let port = start(answer.clone(), says_goodbye);
        let hub = hub(&format!("https://localhost:{port}"), &format!("ca_file = \"{CA}\""));
        fetch(&hub, "a");
        assert_eq!(closed(&hub, "a")["closed"], reason);
    }
    let port = start([STREAM.as_bytes(), &chunk(b"data: 1\n\n")].concat(), true);
    let hub = hub(&format!("https://localhost:{port}"), &format!("ca_file = \"{CA}\""));
    fetch(&hub, "a");
    assert_eq!(error(&hub, "a").0["type"], "upstream_broken");
}
