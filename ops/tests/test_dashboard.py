"""The dashboard is whole: Grafana takes it as it is, and it reads well."""

import json

import support

DASHBOARD = json.loads(support.DASHBOARD.read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
COLUMNS = 24
# Units of Grafana that say what the numbers here are: seconds, bytes, shares, rates.
UNITS = {
    *("s", "bytes", "Bps", "percentunit", "short", "none", "dateTimeFromNow"),
    *("eps", "ops", "reqps", "wps", "cps"),
}


def test_the_panels_lie_side_by_side():
    taken = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < COLUMNS, panel["title"]
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]
    lines = {y for _, y in taken}
    assert len(taken) == COLUMNS * len(lines), "there is a hole"
    assert lines == set(range(len(lines)))


def test_every_panel_says_what_it_shows():
    for panel in PANELS:
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]
    for field in ["id", "title"]:
        values = [panel[field] for panel in DASHBOARD["panels"]]
        assert len(set(values)) == len(values), field


def test_everything_uses_the_variables():
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "job", "instance"}
    parts = [*PANELS, *DASHBOARD["annotations"]["list"]]
    parts += [target for panel in PANELS for target in panel["targets"]]
    for part in parts:
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, part
    for part in parts:
        if "expr" in part:
            assert 'job="$job"' in part["expr"] and 'instance=~"$instance"' in part["expr"], part


def test_nothing_binds_it_to_one_grafana():
    assert "id" not in DASHBOARD and DASHBOARD["uid"] == "fanfare"
    assert "__inputs" not in DASHBOARD
