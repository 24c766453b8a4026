//! The metrics: those of the documentation, and each moves when what it counts happens.

use std::fs;

use crate::{
    NDJSON, beside, eventually, metric, metric_becomes,
    peers::{SLOW, flood, slow},
    problem, publish, publish_many,
    support::{
        http::{Client, call, get, post},
        hub::Hub,
        sse::Stream,
    },
};

/// A metric of the documentation.
struct Row {
    name: String,
    kind: String,
    /// Labels with their values; without any if those are not the same for each hub.
    labels: Vec<(String, Vec<String>)>,
}

/// The table of the documentation.
fn documented() -> Vec<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let document = fs::read_to_string(path).unwrap();
    let (document, _) = document.split_once("<!-- /metrics -->").unwrap();
    let bare = |text: &str| text.trim_matches('`').to_owned();
    let label = |text: &str| {
        let (name, values) = text.split_once(": ").unwrap();
        (bare(name), values.split(", ").filter(|v| v.starts_with('`')).map(bare).collect())
    };
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ").unwrap();
        let cells: Vec<_> = rest.split(" | ").collect();
        let labels = cells[1].split("; ").filter(|text| !text.trim().is_empty());
        let (name, kind) = (name.to_owned(), cells[0].to_owned());
        Some(Row { name, kind, labels: labels.map(label).collect() })
    };
    document.lines().filter_map(row).collect()
}

#[test]
fn a_hub_that_begins_has_the_metrics_of_the_documentation() {
    let hub = Hub::start(&[]);
    let answer = get(hub.admin(), "/metrics");
    assert_eq!(answer.status(), 200);
    assert!(answer.get("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    let documented = documented();
    assert_eq!(text.matches("# TYPE ").count(), documented.len(), "{text}");
    for Row { name, kind, labels } in documented {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}: {text}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}: {text}");
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.clone() };
        let samples = text.lines().filter_map(|line| line.strip_prefix(&sample));
        let samples: Vec<_> = samples.filter(|rest| rest.starts_with(['{', ' '])).collect();
        assert!(!samples.is_empty(), "{name}: {text}");
        for (label, values) in &labels {
            let has = |value: &String| {
                samples.iter().any(|sample| sample.contains(&format!("{label}=\"{value}\"")))
            };
            assert!(values.iter().all(has), "{name}: {samples:?}");
            let begin = format!("{label}=\"");
            assert!(samples.iter().all(|sample| sample.contains(&begin)), "{name}: {samples:?}");
        }
        // Workers look around even before there is anybody.
        if kind != "gauge" && name.starts_with("fanfare_") && !name.contains("_worker_") {
            assert!(samples.iter().all(|sample| sample.ends_with(" 0")), "{name}: {samples:?}");
        }
    }
}

/// Does something, and waits until each of these metrics has risen by so much.
fn rises(hub: &Hub, metrics: &[(&str, f64)], act: impl FnOnce()) {
    let before: Vec<_> = metrics.iter().map(|(name, _)| metric(hub, name)).collect();
    act();
    for ((name, by), before) in metrics.iter().zip(before) {
        metric_becomes(hub, name, before + by);
    }
}

#[test]
fn what_happens_to_events_is_counted() {
    let hub = Hub::start(&[]);
    let mut stream = None;
    let subscribed = [
        ("fanfare_subscribers{protocol=\"http1\"}", 1.0),
        ("fanfare_connections{protocol=\"http1\"}", 1.0),
        ("fanfare_connections_opened_total{protocol=\"http1\"}", 1.0),
        ("fanfare_subscribes_total{result=\"stream\"}", 1.0),
        ("fanfare_replays_total{result=\"live\"}", 1.0),
        ("fanfare_worker_subscribers", 1.0),
        ("fanfare_channels{state=\"live\"}", 1.0),
    ];
    rises(&hub, &subscribed, || {
        stream = Some(Stream::open(hub.public(), "/channels/secret/a?open=0"));
    });
    let mut stream = stream.unwrap();
    let published = [
        ("fanfare_events_published_total", 1.0),
        ("fanfare_bytes_published_total", 39.0),
        ("fanfare_publish_seconds_count{result=\"accepted\"}", 1.0),
        ("fanfare_events_delivered_total", 1.0),
        ("fanfare_writes_total", 1.0),
        ("fanfare_events_per_write_count", 1.0),
        ("fanfare_delivery_seconds_count", 1.0),
        ("fanfare_journal_events", 1.0),
        ("fanfare_idempotency_keys", 1.0),
    ];
    let keyed = |data: &str| {
        let headers = [("Idempotency-Key", "k")];
        call(hub.public(), "POST", "/channels/secret/a", &headers, data.as_bytes())
    };
    rises(&hub, &published, || assert_eq!(keyed("0123456789").status(), 200));
    // As it stands in the ring, which is as it comes over HTTP/1.1.
    let (event, framing) = (stream.event(), "21\r\n\r\n".len());
    assert_eq!(event.raw.len() + framing, 39, "{event:?}");
    assert!(metric(&hub, "fanfare_bytes_sent_total") > 39.0);
    assert!(metric(&hub, "fanfare_worker_busy_seconds_total") > 0.0);
    rises(&hub, &[("fanfare_publish_seconds_count{result=\"duplicate\"}", 1.0)], || {
        assert_eq!(keyed("0123456789").status(), 200);
    });
    let text = get(hub.admin(), "/metrics");
    assert!(!text.text().contains("secret"), "no channel's name is ever there: {}", text.text());
}

#[test]
fn what_happens_to_those_who_come_back_is_counted() {
    let hub = Hub::start(&[]);
    let first = publish(&hub, "a", "1");
    let last = publish_many(&hub, "a", 5);
    let stream = Stream::open(hub.public(), "/channels/a");
    let replayed = [
        ("fanfare_replays_total{result=\"exact\"}", 1.0),
        ("fanfare_events_replayed_total", 5.0),
        ("fanfare_events_delivered_total", 5.0),
    ];
    rises(&hub, &replayed, || {
        Stream::open(hub.public(), &format!("/channels/a?from={first}")).events(6);
    });
    let gap = [
        ("fanfare_gaps_total{reason=\"epoch\"}", 1.0),
        ("fanfare_replays_total{result=\"gap\"}", 1.0),
    ];
    rises(&hub, &gap, || {
        let target = "/channels/a?open=0&last_event_id=another-1";
        assert_eq!(Stream::open(hub.public(), target).event().kind(), "fanfare.gap");
    });
    drop(stream);
    metric_becomes(&hub, "fanfare_disconnects_total{reason=\"client\"}", 3.0);
    let ended = [
        ("fanfare_channels{state=\"closed\"}", 1.0),
        ("fanfare_channels{state=\"live\"}", -1.0),
        ("fanfare_subscribes_total{result=\"finished\"}", 1.0),
    ];
    rises(&hub, &ended, || {
        post(hub.public(), "/channels/a?close", "");
        let end = beside(&last, 1);
        let after = format!("/channels/a?from={end}");
        assert_eq!(get(hub.public(), &after).status(), 204);
    });
}

#[test]
fn what_is_refused_and_removed_is_counted() {
    let hub = Hub::start(&[]);
    publish(&hub, "a", "1");
    post(hub.public(), "/channels/a?close", "");
    let refused = [
        ("fanfare_publish_seconds_count{result=\"refused\"}", 1.0),
        ("fanfare_problems_total{type=\"channel-closed\"}", 1.0),
    ];
    rises(&hub, &refused, || {
        problem(&post(hub.public(), "/channels/a", "2"), 409, "channel-closed");
    });
    let deleted = [
        ("fanfare_channels_removed_total{reason=\"deleted\"}", 1.0),
        ("fanfare_channels{state=\"closed\"}", -1.0),
        ("fanfare_tombstones", 1.0),
    ];
    rises(&hub, &deleted, || {
        call(hub.public(), "DELETE", "/channels/a", &[], b"");
    });
    rises(&hub, &[("fanfare_channels_removed_total{reason=\"unused\"}", 1.0)], || {
        drop(Stream::open(hub.public(), "/channels/never"));
    });
    for target in ["/channels/a?heartbeat=0", "/events?channel=*b"] {
        rises(&hub, &[("fanfare_subscribes_total{result=\"refused\"}", 1.0)], || {
            assert_eq!(get(hub.public(), target).status(), 400);
        });
    }
    let lost = [
        ("fanfare_subscribes_total{result=\"gap\"}", 1.0),
        ("fanfare_problems_total{type=\"gap\"}", 1.0),
    ];
    rises(&hub, &lost, || {
        let target = "/channels/b?control=off&last_event_id=another-1";
        problem(&get(hub.public(), target), 410, "gap");
    });
    // A problem that comes as a line counts as well, and so does one of the operators' listener.
    rises(&hub, &[("fanfare_problems_total{type=\"line\"}", 1.0)], || {
        let ndjson = [("Content-Type", NDJSON)];
        call(hub.public(), "POST", "/channels/c?acks=stream", &ndjson, b"x\n");
    });
    rises(&hub, &[("fanfare_problems_total{type=\"not-found\"}", 2.0)], || {
        get(hub.public(), "/nothing");
        get(hub.admin(), "/nothing");
    });
}

#[test]
fn what_slow_subscribers_hold_is_told() {
    let hub = Hub::start(&SLOW);
    let mut late = Stream::over(slow(&hub, "/channels/a?open=0"));
    flood(&mut Client::connect(hub.public()), 0..300);
    metric_becomes(&hub, "fanfare_subscribers_blocked", 1.0);
    assert!(metric(&hub, "fanfare_blocked_bytes") > 0.0);
    assert!(metric(&hub, "fanfare_memory_used_bytes{share=\"pinned\"}") > 0.0);
    let stats = get(hub.admin(), "/api/stats").json();
    assert_eq!(stats["subscribers"]["blocked"], 1);
    post(hub.public(), "/channels/a?close", "");
    while late.event().kind() != "fanfare.end" {}
    metric_becomes(&hub, "fanfare_subscribers_blocked", 0.0);
    metric_becomes(&hub, "fanfare_blocked_bytes", 0.0);
    assert!(metric(&hub, "fanfare_backlog_events_count") > 0.0);
    assert!(metric(&hub, "fanfare_gaps_total{reason=\"lagged\"}") > 0.0);
}

#[test]
fn a_drain_and_an_overload_show() {
    let mut hub = Hub::start(&["--connections-max", "2", "--drain-period", "300ms"]);
    let one = Stream::open(hub.public(), "/channels/a?open=0");
    let two = Stream::open(hub.public(), "/channels/a?open=0");
    let full = [
        ("fanfare_subscribes_total{result=\"overload\"}", 1.0),
        ("fanfare_limit_reached_total{limit=\"connections\"}", 1.0),
    ];
    rises(&hub, &full, || {
        Stream::open(hub.public(), "/channels/a").event();
    });
    assert_eq!(metric(&hub, "fanfare_limit_used{limit=\"connections\"}"), 2.0);
    assert_eq!(metric(&hub, "fanfare_limit_max{limit=\"connections\"}"), 2.0);
    assert_eq!(metric(&hub, "fanfare_draining"), 0.0);
    let drained = [
        ("fanfare_draining", 1.0),
        ("fanfare_drain_departed_total", 2.0),
        ("fanfare_disconnects_total{reason=\"drain\"}", 2.0),
    ];
    rises(&hub, &drained, || {
        post(hub.admin(), "/api/drain", "");
    });
    drop((one, two));
    metric_becomes(&hub, "fanfare_drain_subscribers_left", 0.0);
    eventually("a place", || {
        let mut stream = Stream::open(hub.public(), "/channels/a");
        (stream.event().json()["reason"] == "drain").then_some(())
    });
    assert!(metric(&hub, "fanfare_subscribes_total{result=\"drain\"}") > 0.0);
    hub.terminate();
    assert_eq!(hub.wait().code, Some(0));
}

#[test]
fn the_process_is_told_of() {
    let hub = Hub::start(&["--workers", "3"]);
    let at_least = |name: &str, least: f64| {
        let value = metric(&hub, name);
        assert!(value >= least, "{name} {value}");
    };
    at_least("process_cpu_seconds_total", 0.001);
    at_least("process_resident_memory_bytes", 1024.0 * 1024.0);
    at_least("process_open_fds", 8.0);
    at_least("process_max_fds", metric(&hub, "process_open_fds"));
    at_least("process_start_time_seconds", 1_600_000_000.0);
    at_least("process_threads", 4.0);
    at_least("fanfare_memory_budget_bytes", metric(&hub, "fanfare_memory_max_bytes"));
    at_least("fanfare_config_last_reload_success_timestamp_seconds", 1_600_000_000.0);
    assert_eq!(metric(&hub, "fanfare_worker_queue{worker=\"2\",queue=\"attach\"}"), 0.0);
    assert_eq!(metric(&hub, "fanfare_broker_info{broker=\"memory\"}"), 1.0);
    assert_eq!(metric(&hub, "fanfare_broker_ready"), 1.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(metric(&hub, &format!("fanfare_build_info{{version=\"{version}\"}}")), 1.0);
}

#[test]
fn reloads_are_counted_and_limits_follow() {
    let hub = Hub::configured("channels_max = 100\n", &[]);
    let max = || metric(&hub, "fanfare_limit_max{limit=\"channels\"}");
    assert_eq!(max(), 100.0);
    rises(&hub, &[("fanfare_config_reloads_total{result=\"ok\"}", 1.0)], || {
        hub.reconfigure("channels_max = 200\n");
    });
    assert_eq!(max(), 200.0);
    rises(&hub, &[("fanfare_config_reloads_total{result=\"failed\"}", 1.0)], || {
        hub.reconfigure("channels_max = \"many\"\n");
    });
    assert_eq!(max(), 200.0);
    let is_fine = "fanfare_config_last_reload_successful";
    assert_eq!(metric(&hub, is_fine), 0.0);
    hub.reconfigure("channels_max = 300\n");
    metric_becomes(&hub, is_fine, 1.0);
}
