//! `fanfare top`: what a hub does right now, in a terminal; or once, where there is none.

mod draw;
mod feed;
mod line;
mod screen;
mod view;

use std::io::{self, IsTerminal};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::sleep,
};

use self::{
    feed::Wish,
    screen::{Key, Screen},
    view::{Sort, View},
};
use super::{admin::Admin, hub::ClientError};
use crate::{
    limits::{TOP_CHANNELS, TOP_INTERVAL, TOP_SNAPSHOT_CHANNELS},
    terminal,
};

/// Which hub to look at.
#[derive(Debug)]
pub(crate) struct Top {
    /// The hub.
    pub(crate) admin: Admin,
}

/// Shows it until somebody has seen enough.
pub(crate) async fn run(top: Top) -> Result<(), ClientError> {
    let mut view = View::new(top.admin.authority());
    // What is wrong with the address is told before the terminal is taken.
    view.take_stats(top.admin.get("/api/stats").await?);
    if io::stdout().is_terminal() {
        live(top.admin, view).await
    } else {
        Box::pin(once(top.admin, view)).await
    }
}

/// A snapshot: rates need a second moment.
async fn once(admin: Admin, mut view: View) -> Result<(), ClientError> {
    sleep(TOP_INTERVAL).await;
    view.take(feed::look(&admin, Sort::default(), TOP_SNAPSHOT_CHANNELS as u64).await);
    let text = draw::snapshot(&view, TOP_SNAPSHOT_CHANNELS);
    terminal::out(&text).map_err(ClientError::Output)
}

async fn live(admin: Admin, mut view: View) -> Result<(), ClientError> {
    let mut signals = Signals::new().map_err(ClientError::System)?;
    let mut screen = Screen::take().map_err(ClientError::System)?;
    let mut keys = screen::keys();
    let (wishes, wished) = watch::channel(Wish::default());
    let (sender, mut moments) = mpsc::channel(1);
    tokio::spawn(feed::follow(admin, TOP_CHANNELS, wished, sender));
    loop {
        let (columns, rows) = screen.size();
        screen.show(&draw::screen(&view, columns, rows)).map_err(ClientError::Output)?;
        tokio::select! {
            () = signals.next() => return Ok(()),
            Some(moment) = moments.recv() => view.take(moment),
            key = keys.recv() => match key {
                None | Some(Key::Quit) => return Ok(()),
                Some(key) => act(&mut view, key),
            },
        }
        wishes.send_if_modified(|wish| {
            let before = std::mem::replace(wish, view.wish);
            before != view.wish
        });
    }
}

/// Does what a key asks for.
fn act(view: &mut View, key: Key) {
    match key {
        Key::Sort => {
            view.wish.sort = view.wish.sort.next();
            view.offset = 0;
        }
        Key::Pause => view.wish.is_paused = !view.wish.is_paused,
        Key::Scroll(lines) => view.scroll(lines),
        Key::Quit | Key::Resized => {}
    }
}

/// The signals that end a view; its own keys are no signals while it has the terminal.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        let on = |kind| signal(kind);
        let (hangup, interrupt) = (on(SignalKind::hangup())?, on(SignalKind::interrupt())?);
        Ok(Self([hangup, interrupt, on(SignalKind::terminate())?]))
    }

    async fn next(&mut self) {
        let [hangup, interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
