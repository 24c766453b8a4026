//! Limits that are set, and taken back, while a hub runs: they count who is there and cut nobody.

use crate::{
    limits::{from, is_let_in, reached, subscribe},
    metric_becomes, publish,
    support::hub::Hub,
};

/// Gives a hub other settings; `nth` is how many times that makes.
fn set(hub: &Hub, nth: usize, toml: &str) {
    hub.reconfigure(toml);
    metric_becomes(hub, "fanfare_config_reloads_total{result=\"ok\"}", nth as f64);
}

#[test]
fn a_limit_that_is_set_counts_who_is_there_and_cuts_nobody() {
    for (toml, limit) in [
        ("connections_per_address_max = 1\n", "connections_per_address"),
        ("subscribers_per_channel_max = 1\n", "subscribers_per_channel"),
        ("connections_max = 1\n", "connections"),
    ] {
        let hub = Hub::configured("", &[]);
        let open = || subscribe(from(&hub, 2), "/channels/a?control=on", &[]);
        let mut there: Vec<_> = (0..3).map(|_| open()).collect();
        assert!(there.iter_mut().all(is_let_in), "{limit}");
        set(&hub, 1, toml);
        assert!(!is_let_in(&mut open()), "{limit}");
        assert!(reached(&hub, limit) > 0.0, "{limit}");
        set(&hub, 2, "");
        assert!(is_let_in(&mut open()), "{limit}");
        publish(&hub, "a", "x");
        assert!(there.iter_mut().all(|stream| stream.event().data == "x"), "{limit}");
    }
}

#[test]
fn rates_can_be_set_and_taken_back() {
    let hub = Hub::configured("", &[]);
    let open = || is_let_in(&mut subscribe(from(&hub, 2), "/channels/a", &[]));
    assert!((0..20).all(|_| open()));
    set(&hub, 1, "connect_rate_max = 1\npublish_rate_max = 1\n");
    let refused = |ask: &dyn Fn() -> bool| (0..20).filter(|_| !ask()).count();
    assert!(refused(&open) > 0);
    let post = || crate::support::http::post(hub.public(), "/channels/a", "x").status() == 200;
    assert!(refused(&post) > 0);
    set(&hub, 2, "");
    assert_eq!((refused(&open), refused(&post)), (0, 0));
}
