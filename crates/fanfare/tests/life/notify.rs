//! What the service manager is told, by the real protocol.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process,
    time::{Duration, Instant},
};

use crate::support::{DEADLINE, http::call, hub::Hub, sse::Stream};

/// A service manager, and the name of its socket.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn new(name: String) -> Self {
        let socket = match name.strip_prefix('@') {
            Some(name) => UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()),
            None => UnixDatagram::bind(&name),
        };
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, name }
    }

    /// The next message that begins so; others are passed over.
    fn next(&self, start: &str) -> String {
        let mut bytes = [0; 1_000];
        loop {
            let read = self.socket.recv(&mut bytes).unwrap_or_else(|_| panic!("no {start}"));
            let message = std::str::from_utf8(&bytes[..read]).unwrap();
            if message.starts_with(start) {
                return message.to_owned();
            }
        }
    }
}

#[test]
fn a_life_is_told_to_the_service_manager() {
    let path = std::env::temp_dir().join(format!("fanfare-notify-{}", process::id()));
    let abstract_name = format!("@fanfare-notify-{}", process::id());
    for name in [path.to_str().unwrap(), &abstract_name] {
        let manager = Manager::new(name.to_owned());
        let variables = [("NOTIFY_SOCKET", manager.name.as_str()), ("WATCHDOG_USEC", "300000")];
        let mut hub = Hub::with_variables(&["--drain-period", "1s"], &variables);
        assert_eq!(manager.next("READY=1"), "READY=1");
        assert_eq!(manager.next("STATUS="), "STATUS=0 subscribers");
        let began = Instant::now();
        (0..4).for_each(|_| drop(manager.next("WATCHDOG=1")));
        assert!(began.elapsed() > Duration::from_millis(290), "two in each period");
        hub.hang_up();
        let told = manager.next("RELOADING=1\nMONOTONIC_USEC=");
        let now_us: u64 = told.rsplit_once('=').unwrap().1.parse().unwrap();
        assert!(now_us > 0);
        manager.next("READY=1");
        let stream = Stream::open(hub.public(), "/channels/a");
        hub.terminate();
        let told = manager.next("STOPPING=1\nEXTEND_TIMEOUT_USEC=");
        let takes_us: u64 = told.rsplit_once('=').unwrap().1.parse().unwrap();
        assert_eq!(takes_us, 11_000_000, "the period and what comes after it");
        drop(stream);
        assert_eq!(hub.wait().code, Some(0));
    }
    drop(std::fs::remove_file(path));
}

#[test]
fn without_a_manager_nothing_is_missed() {
    let variables = [("NOTIFY_SOCKET", "/no/such/socket"), ("WATCHDOG_USEC", "1000")];
    let mut hub = Hub::with_variables(&["--drain-period", "100ms"], &variables);
    assert_eq!(call(hub.public(), "POST", "/channels/a", &[], b"x").status(), 200);
    hub.terminate();
    let exit = hub.wait();
    assert_eq!(exit.code, Some(0));
    assert!(exit.said.contains("NOTIFY_SOCKET"), "{}", exit.said);
}
