//! `fanfare drain`: sends the subscribers of a hub away without stopping it, shows how far that
//! is, and takes it back.

use hyper::Method;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    admin::Admin,
    amount,
    hub::ClientError,
    stats::{self, Phase},
};
use crate::{
    limits::{PROGRESS_INTERVAL, PROGRESS_LINES_EVERY},
    terminal::{self, Progress},
};

/// Which hub to drain, and how.
#[derive(Debug)]
pub(crate) struct Drain {
    /// The hub.
    pub(crate) admin: Admin,
    /// What to do.
    pub(crate) act: Act,
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Act {
    /// Begin, and be gone.
    Begin,
    /// Begin, and wait for the end.
    BeginAndWait,
    /// Take it back.
    Cancel,
}

/// Does what was asked; what came of it is printed.
pub(crate) async fn run(drain: Drain) -> Result<(), ClientError> {
    let admin = &drain.admin;
    let method = if drain.act == Act::Cancel { Method::DELETE } else { Method::POST };
    let before: stats::Drain = admin.get(PATH).await?;
    let was_draining = before.phase != Phase::None;
    // What it answers is asked for anew, for hubs that only say that they drain.
    admin.ask::<Value>(method, PATH).await?;
    let result = match drain.act {
        Act::Begin => {
            terminal::say(match was_draining {
                false => "the drain has begun; `fanfare drain --cancel` takes it back",
                true => "the hub was draining already",
            });
            words(&admin.get(PATH).await?)
        }
        Act::BeginAndWait => {
            terminal::say(match was_draining {
                false => "the drain has begun; it goes on if this command is ended",
                true => "the hub was draining already; that goes on if this command is ended",
            });
            wait(admin).await?
        }
        Act::Cancel if was_draining => "the drain was taken back".to_owned(),
        Act::Cancel => "the hub was not draining".to_owned(),
    };
    terminal::out(&format!("{result}\n")).map_err(ClientError::Output)
}

/// Shows how far it is until it is done.
async fn wait(admin: &Admin) -> Result<String, ClientError> {
    let mut progress = Progress::new();
    let (mut last, mut shown) = (stats::Drain::default(), 0_u32);
    for asked in 0_u32.. {
        let now: stats::Drain = match admin.get(PATH).await {
            Ok(now) => now,
            Err(error) if asked == 0 => return Err(error),
            Err(_) => return ended(&last),
        };
        match now.phase {
            Phase::Done => return Ok(words(&now)),
            Phase::None => return Err(ClientError::Undrained("the drain was taken back".into())),
            Phase::Delay | Phase::Publishes | Phase::Subscribers | Phase::Other => {}
        }
        let is_due = asked == 0 || now.phase != last.phase || PROGRESS_LINES_EVERY <= shown;
        shown = if is_due { 0 } else { shown + 1 };
        progress.show(&words(&now), is_due);
        last = now;
        sleep(PROGRESS_INTERVAL).await;
    }
    ended(&last)
}

/// The hub is gone: it was asked to stop, too, or it crashed.
fn ended(last: &stats::Drain) -> Result<String, ClientError> {
    if last.phase == Phase::Subscribers && last.subscribers_left == 0 {
        return Ok(format!(
            "drained: {} sent away, and the hub ended",
            amount::subscribers(last.departed)
        ));
    }
    let left = amount::subscribers(last.subscribers_left);
    let why = format!("the hub ended during its drain, with {left} left");
    Err(ClientError::Undrained(why))
}

/// How far it is.
pub(super) fn words(drain: &stats::Drain) -> String {
    let gone = amount::subscribers(drain.departed);
    let left = amount::subscribers(drain.subscribers_left);
    let few = amount::count(drain.subscribers_left);
    let time = amount::time(drain.left_ms.saturating_add(999));
    match drain.phase {
        Phase::None => "not draining".to_owned(),
        Phase::Delay => format!("load balancers get time; {left}, {time} to go"),
        Phase::Publishes => format!("publishes finish; {left}, {time} to go"),
        Phase::Subscribers => format!("{gone} sent away, {few} left, {time} to go"),
        Phase::Done => format!("drained: {gone} sent away"),
        Phase::Other => format!("draining; {gone} sent away, {few} left"),
    }
}

const PATH: &str = "/api/drain";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_put_into_words() {
        for (json, expected) in [
            (
                r#"{"phase": "delay", "left_ms": 4200, "subscribers_left": 1500}"#,
                "load balancers get time; 1,500 subscribers, 5s to go",
            ),
            (
                r#"{"phase": "publishes", "left_ms": 20000, "subscribers_left": 3}"#,
                "publishes finish; 3 subscribers, 20s to go",
            ),
            (
                r#"{"phase": "subscribers", "left_ms": 1, "departed": 9, "subscribers_left": 3}"#,
                "9 subscribers sent away, 3 left, 1s to go",
            ),
            (r#"{"phase": "done", "departed": 12}"#, "drained: 12 subscribers sent away"),
            (r#"{"phase": "of a later version"}"#, "draining; 0 subscribers sent away, 0 left"),
            ("{}", "not draining"),
        ] {
            assert_eq!(words(&serde_json::from_str(json).unwrap()), expected);
        }
    }

    #[test]
    fn a_hub_that_ends_has_drained_only_if_nobody_was_left() {
        let drain = |left| stats::Drain {
            phase: Phase::Subscribers,
            departed: 7,
            subscribers_left: left,
            ..stats::Drain::default()
        };
        assert_eq!(
            ended(&drain(0)).unwrap(),
            "drained: 7 subscribers sent away, and the hub ended"
        );
        assert!(matches!(ended(&drain(1)), Err(ClientError::Undrained(_))));
    }
}
