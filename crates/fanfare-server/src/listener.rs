//! Listeners: how sockets are made ready and accepted.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use crate::{
    config::Config,
    connection,
    limits::{ACCEPT_PAUSE_MS, REFUSED_CONNECTIONS_MAX, REFUSED_MS_MAX, USER_TIMEOUT_EXTRA_MS},
    metrics::Reached,
    state::{Shared, State},
};

/// Opens the public listener. What is set here, accepted sockets inherit.
pub(crate) fn public(config: &Config) -> io::Result<TcpListener> {
    let socket = open(config.listen)?;
    // A stalled subscriber costs the kernel no more than this.
    socket.set_send_buffer_size(config.socket_unsent_bytes_max as usize)?;
    socket.set_tcp_notsent_lowat(config.socket_unsent_bytes_max)?;
    // A peer that vanished without a word is noticed while something is unacknowledged, and the
    // heartbeat sees to that.
    let stall = Duration::from_millis(config.write_stall_ms_max.into());
    // A little later than the hub's own limit, which counts why.
    socket.set_tcp_user_timeout(Some(stall + Duration::from_millis(USER_TIMEOUT_EXTRA_MS)))?;
    listen(&socket, config)
}

/// Opens the operators' listener.
pub(crate) fn admin(config: &Config) -> io::Result<TcpListener> {
    listen(&open(config.admin_listen)?, config)
}

/// Accepts connections until it is dropped.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker) {
    let places = Arc::clone(&shared.state.connections);
    let places_max = || shared.state.config().connections_max;
    let refusals = Arc::new(Semaphore::new(REFUSED_CONNECTIONS_MAX));
    loop {
        let Some(stream) = next(&listener, &shared.state).await else { continue };
        if let Some(place) = places.try_take(places_max()) {
            tasks.spawn(connection::serve(Arc::clone(&shared), stream, Some(place)));
            continue;
        }
        shared.state.metrics.reached(Reached::Connections);
        if refusals.available_permits() == 0 {
            shared.state.metrics.reached(Reached::RefusedConnections);
        }
        // Full: there is room to say so properly, and a bound on that too. Whichever comes first.
        tokio::select! {
            biased;
            place = places.take(places_max) => {
                tasks.spawn(connection::serve(Arc::clone(&shared), stream, Some(place)));
            }
            Ok(refusal) = Arc::clone(&refusals).acquire_owned() => {
                let refuse = connection::serve(Arc::clone(&shared), stream, None);
                tasks.spawn(async move {
                    // Whether it took its answer or not, its time is over.
                    drop(timeout(Duration::from_millis(REFUSED_MS_MAX), refuse).await);
                    drop(refusal);
                });
            }
        }
    }
}

/// The next socket; none after an error that may pass, such as no file left to open.
pub(crate) async fn next(listener: &TcpListener, state: &State) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            if error.raw_os_error().is_some_and(|code| FILES_USED_UP.contains(&code)) {
                state.metrics.reached(Reached::OpenFiles);
            }
            if let Some(times) = state.accept_errors.pass() {
                tracing::warn!(%error, times, "a connection was not accepted");
            }
            sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            None
        }
    }
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: &Socket, config: &Config) -> io::Result<TcpListener> {
    socket.listen(i32::try_from(config.listen_backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.try_clone()?.into())
}

/// The system's errors `EMFILE` and `ENFILE` (accept(2)).
const FILES_USED_UP: [i32; 2] = [24, 23];
