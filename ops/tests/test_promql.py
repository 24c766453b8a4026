"""The reader of queries finds what is wrong; else the tests that use it would prove nothing."""

import promql

KNOWN = promql.samples(
    """# TYPE fanfare_gaps_total counter
fanfare_gaps_total{reason="lagged"} 0
fanfare_gaps_total{reason="evicted"} 0
fanfare_turn_seconds_bucket{le="0.1"} 1
fanfare_turn_seconds_bucket{le="+Inf"} 1
fanfare_draining 0
"""
)


def test_what_exists_is_fine():
    for expr in [
        'rate(fanfare_gaps_total{job="x",reason=~"lagged|evicted"}[5m]) > 0.1',
        "histogram_quantile(0.9, sum by (job, le) (rate(fanfare_turn_seconds_bucket[1m])))",
        "fanfare_gaps_total unless on (instance) fanfare_draining == bool 1 offset 10m",
        "sum without (reason) (fanfare_gaps_total) / clamp_min(fanfare_draining, 1)",
        "time() - fanfare_draining",
    ]:
        assert promql.wrong(expr, KNOWN) == [], expr


def test_what_does_not_exist_is_found():
    for expr, found in {
        "rate(fanfare_gap_total[5m])": "there is no fanfare_gap_total",
        'fanfare_gaps_total{cause="lagged"}': "fanfare_gaps_total has no label cause",
        'fanfare_gaps_total{reason="lag"}': "fanfare_gaps_total has no reason=lag",
        'fanfare_gaps_total{reason!~"lagged|lag"}': "fanfare_gaps_total has no reason=lag",
        "sum by (protocol) (fanfare_gaps_total)": "nothing here has the label protocol",
        "a or fanfare_draining": "there is no a",
        "fanfare_turn_seconds": "there is no fanfare_turn_seconds",
    }.items():
        assert promql.wrong(expr, KNOWN) == [found]
