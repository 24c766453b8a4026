//! The hub drains and starts anew, behind a proxy or not: everybody has to come back, spread out,
//! with everything that was acknowledged and with the gap told.

mod client;
mod proxy;
mod rate;

use std::{
    io,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    sync::Semaphore,
    task::{LocalSet, spawn_local},
    time::sleep,
};

use self::{
    client::{Client, Room},
    proxy::{Proxy, ProxyKind},
    rate::Rate,
};
use crate::{
    cpus::Cpus,
    endpoint::{Endpoint, Kind},
    outcome::{Outcome, Unit},
    payload,
    publisher::{Log, Pace, Publisher},
    ranges,
    run::Common,
    server::{Server, ServerArgs},
};

/// The hub drains and starts anew, behind a proxy, and everybody comes back
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Restart {
    /// How many subscribe; each does as a browser's `EventSource`
    #[arg(long, default_value_t = 8_000, value_parser = ranges::some::<usize>)]
    pub(crate) subscribers: usize,
    /// The proxy before the hub, started here; none unless given
    #[arg(long, value_enum, requires = "proxy_config")]
    pub(crate) proxy: Option<ProxyKind>,
    /// Its recipe, such as ops/proxies/nginx.conf
    #[arg(long, value_name = "PATH", requires = "proxy")]
    pub(crate) proxy_config: Option<PathBuf>,
    /// Events a second
    #[arg(long, default_value_t = 2.0, value_parser = ranges::positive)]
    pub(crate) rate: f64,
    /// Bytes of data of an event
    #[arg(long, default_value_t = 100)]
    pub(crate) size: usize,
    /// Seconds over which the hub drains
    #[arg(long, default_value_t = 20.0, value_parser = ranges::positive)]
    pub(crate) drain: f64,
    /// Seconds between the end of the hub and the start of the next
    #[arg(long, default_value_t = 0.0, value_parser = ranges::not_negative)]
    pub(crate) down: f64,
}

/// The channel of all.
const CHANNEL: u32 = 0;
/// How many may be connecting at once before the drain; after it nobody holds them back.
const CONNECTING_MAX: usize = 256;
/// How long connecting may take in all, and arriving of the last event.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long all have their subscription before the drain begins, and after the last is back.
const SETTLE: Duration = Duration::from_secs(2);
/// By how much a drain may be longer than its period: its last streams linger, and it exits.
const DRAIN_EXTRA: Duration = Duration::from_secs(10);
/// How long after its `retry` a subscriber may have its new stream: timers, connecting, the proxy.
const COME_BACK_S: f64 = 1.0;
/// How often the progress of the subscribers is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// No second sees more than so many times the mean rate of reconnects.
const CROWDING_MAX: f64 = 3.0;

/// A hub, a proxy, and the clients behind it.
struct Stage {
    args: ServerArgs,
    server: Server,
    /// Dropped before the server: it holds connections to it.
    _proxy: Option<Proxy>,
    clients: Vec<Rc<Client>>,
    room: Rc<Room>,
}

/// When what happened, on the clock of [`payload::now_ns`].
struct Times {
    drain_ns: u64,
    ended_ns: u64,
    started_ns: u64,
}

impl Restart {
    pub(crate) async fn run(&self, common: &Common) -> io::Result<Outcome> {
        if common.server.url.is_some() || common.server.target != Kind::Fanfare {
            let why = "restart starts the hub itself: it takes no --url and no --target";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        LocalSet::new().run_until(Box::pin(self.play(common))).await
    }

    async fn play(&self, common: &Common) -> io::Result<Outcome> {
        let mut stage = self.set(common)?;
        stage.connect().await?;
        let mut publisher = Publisher::connect(&stage.server.endpoint).await?;
        self.publish_until(&mut publisher, sleep(SETTLE)).await?;

        let drain_ns = payload::now_ns();
        let period = Duration::from_secs_f64(self.drain);
        let draining = stage.server.drain(period + DRAIN_EXTRA);
        let drained = self.publish_until(&mut publisher, draining).await?;
        let ended_ns = payload::now_ns();
        let old = publisher.into_log();
        sleep(Duration::from_secs_f64(self.down)).await;
        stage.server.restart(&stage.args)?;
        let times = Times { drain_ns, ended_ns, started_ns: payload::now_ns() };

        let mut publisher = Publisher::go_on(&stage.server.endpoint, old.clone()).await?;
        let back = stage.all_are(Client::is_back);
        self.publish_until(&mut publisher, back).await?;
        self.publish_until(&mut publisher, sleep(SETTLE)).await?;
        let log = publisher.into_log();
        stage.all_are(|client| client.newest() == newest(&log)).await;

        let target = self.proxy.map_or_else(|| "directly".to_owned(), |proxy| proxy.to_string());
        let mut outcome = Outcome { scenario: "restart".to_owned(), target, ..Outcome::default() };
        self.parameters(&mut outcome);
        if let Err(error) = drained {
            fault(&mut outcome, format!("the drain: {error}"));
        }
        stage.judge_events(&mut outcome, &old, &log);
        stage.judge_times(&mut outcome, &times, self.drain);
        Ok(outcome)
    }

    /// Starts the hub and the proxy.
    fn set(&self, common: &Common) -> io::Result<Stage> {
        let cpus = Cpus::all()?;
        let args = common.server.clone();
        let args = args.with_setting("--drain-period", format_args!("{}ms", self.drain * 1e3));
        let server = Server::start(&args, "restart")?;
        let hub = server.endpoint.address;
        // The proxy works for both sides, so it may use what either leaves.
        cpus.enter()?;
        let proxy = match (self.proxy, &self.proxy_config) {
            (Some(kind), Some(recipe)) => Some(Proxy::start(kind, recipe, hub)?),
            _ => None,
        };
        common.server.cpus()?.1.enter()?;
        let address = proxy.as_ref().map_or(hub, |proxy| proxy.address);
        let endpoint = Endpoint { address, ..server.endpoint.clone() };
        let clients = (0..self.subscribers).map(|_| Rc::default()).collect();
        Ok(Stage { args, server, _proxy: proxy, clients, room: Rc::new(Room::new(endpoint)) })
    }

    /// Publishes at the rate until `done`; what is refused or cannot be said is not published.
    async fn publish_until<T>(
        &self,
        publisher: &mut Publisher,
        done: impl Future<Output = T>,
    ) -> io::Result<T> {
        let mut pace = Pace::new(self.rate);
        let mut done = std::pin::pin!(done);
        let mut is_there = true;
        loop {
            tokio::select! {
                value = &mut done => return Ok(value),
                stamp_ns = pace.wait(), if is_there => {
                    let published = publisher.publish_at(stamp_ns, CHANNEL, self.size).await;
                    is_there = published.is_ok();
                }
            }
        }
    }

    fn parameters(&self, outcome: &mut Outcome) {
        let mut add = |name: &str, value: String| outcome.parameters.push((name.to_owned(), value));
        add("subscribers", self.subscribers.to_string());
        add("events a second", self.rate.to_string());
        add("drain period", format!("{} s", self.drain));
        add("without a hub", format!("{} s and its start", self.down));
    }
}

impl Stage {
    /// Connects all clients, and waits until they are told that they are.
    async fn connect(&mut self) -> io::Result<()> {
        let connecting = Rc::new(Semaphore::new(CONNECTING_MAX));
        for client in &self.clients {
            let (client, room) = (Rc::clone(client), Rc::clone(&self.room));
            spawn_local(client.run(room, Rc::clone(&connecting)));
        }
        if self.all_are(Client::is_open).await {
            return Ok(());
        }
        let open = self.clients.iter().filter(|client| client.is_open()).count();
        let died = self.room.deaths().join(", ");
        Err(io::Error::other(format!("only {open} of {} connected {died}", self.clients.len())))
    }

    /// Waits until something is true of all clients; whether it became so in time.
    async fn all_are(&self, is_so: impl Fn(&Client) -> bool) -> bool {
        let began = Instant::now();
        while !self.clients.iter().all(|client| is_so(client)) {
            if began.elapsed() > PATIENCE || self.room.has_deaths() {
                return false;
            }
            sleep(LOOK).await;
        }
        true
    }

    /// Everybody got all that was acknowledged, and was told one gap, that of the new epoch.
    fn judge_events(&self, outcome: &mut Outcome, old: &Log, log: &Log) {
        let count = |is_so: &dyn Fn(&Client) -> bool| {
            self.clients.iter().filter(|client| is_so(client)).count()
        };
        let faults = [
            (count(&|client| !client.is_back()), "did not come back"),
            (
                count(&|client| client.newest_before_gap() != Some(newest(old))),
                "had not got everything acknowledged before the end of the hub",
            ),
            (count(&|client| client.gaps() != (1, 1)), "were not told of one gap, of the epoch"),
            (count(&|client| client.newest() != newest(log)), "did not get all of the new hub"),
            (count(&|client| client.faults() > 0), "lost events, or got them twice or changed"),
        ];
        for (clients, what) in faults.iter().filter(|(clients, _)| *clients > 0) {
            fault(outcome, format!("{clients} {what}"));
        }
        for death in self.room.deaths() {
            fault(outcome, format!("a subscriber stopped for good: {death}"));
        }
        if newest(old) == 0 || newest(log) == newest(old) {
            fault(outcome, "too few events were published to see anything".to_owned());
        }
        let gaps: u64 = self.clients.iter().map(|client| client.gaps().1).sum();
        outcome.push("gaps of the epoch told", gaps as f64, Unit::Count);
        outcome.push("events of the old hub", newest(old) as f64, Unit::Count);
        outcome.push("events of the new hub", (newest(log) - newest(old)) as f64, Unit::Count);
        outcome.push("publishes refused meanwhile", log.refused as f64, Unit::Count);
    }

    /// Everybody came back in time, and not in a crowd.
    fn judge_times(&self, outcome: &mut Outcome, times: &Times, drain_s: f64) {
        let seconds = |from_ns: u64, to_ns: u64| to_ns.saturating_sub(from_ns) as f64 / 1e9;
        let returns: Vec<u64> = self.clients.iter().filter_map(|client| client.back_ns()).collect();
        let (first, last) = (returns.iter().min().copied(), returns.iter().max().copied());
        let retry_s = self.room.retry_ms_max() as f64 / 1e3;
        let after_s = seconds(times.drain_ns, last.unwrap_or(0));
        let down_s = seconds(times.ended_ns, times.started_ns);
        outcome.push("drain took", seconds(times.drain_ns, times.ended_ns), Unit::Seconds);
        outcome.push("without a hub", down_s, Unit::Seconds);
        outcome.push("largest retry told", retry_s, Unit::Seconds);
        outcome.push(
            "first back after",
            seconds(times.drain_ns, first.unwrap_or(0)),
            Unit::Seconds,
        );
        outcome.push("all back after", after_s, Unit::Seconds);
        let bound_s = drain_s + retry_s + down_s + COME_BACK_S;
        if after_s > bound_s {
            fault(outcome, format!("the last was back after {after_s:.1} s, not {bound_s:.1} s"));
        }
        let attempts = self.room.attempts_after(times.drain_ns);
        for (what, moments) in [("reconnects", attempts), ("returns", returns)] {
            let rate = Rate::of(moments);
            outcome.push(what, rate.count as f64, Unit::Count);
            outcome.push(&format!("{what}, mean"), rate.mean, Unit::PerSecond);
            outcome.push(&format!("{what}, most in a second"), rate.most, Unit::PerSecond);
            outcome.push(&format!("{what}, most by mean"), rate.crowding(), Unit::Ratio);
            if rate.crowding() > CROWDING_MAX {
                let crowding = rate.crowding();
                fault(outcome, format!("a second saw {crowding:.1} times the mean of {what}"));
            }
        }
    }
}

/// The number of the newest event that was acknowledged.
fn newest(log: &Log) -> u64 {
    log.newest.get(&CHANNEL).copied().unwrap_or(0)
}

/// Says what was done wrong.
fn fault(outcome: &mut Outcome, what: String) {
    outcome.faulty = true;
    outcome.complaints.push(what);
}
