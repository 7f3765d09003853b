"""What watches quell: its metrics as Prometheus reads them, the alerts, and the dashboard."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from support.postgres import Postgres
from support.processes import REPOSITORY, tool
from support.promql import Metrics
from support.quell import Quell

MONITORING = REPOSITORY / "monitoring"
NOWHERE = "http://127.0.0.1:9"


def promtool(*arguments: str | Path, text: str | None = None) -> None:
    """Runs promtool, which says what is wrong, by its exit code too."""
    run = subprocess.run([tool("promtool"), *arguments], cwd=REPOSITORY, input=text, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"promtool {arguments}:\n{run.stdout}{run.stderr}"


@pytest.fixture(scope="module")
def quell(directory: Path, postgres: Postgres) -> Iterator[Quell]:
    """A quell that serves, and to which nothing has happened yet."""
    quell = Quell(directory, postgres.new_database(), name="quell-monitoring")
    quell.start(NOWHERE)
    yield quell
    quell.stop()


def test_promtool_finds_no_fault_in_the_metrics(quell: Quell) -> None:
    answer = httpx.get(f"{quell.url}/metrics", headers={"Accept": "text/plain"})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    promtool("check", "metrics", text=answer.text)


def test_who_asks_for_openmetrics_has_it(quell: Quell) -> None:
    # As Prometheus 2.42 does.
    accept = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    answer = httpx.get(f"{quell.url}/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.text.endswith("\n# EOF\n")


def alerts() -> list[dict]:
    [group] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return group["rules"]


def test_the_alerts_are_tested() -> None:
    promtool("check", "rules", MONITORING / "alerts.yaml")
    promtool("test", "rules", MONITORING / "alerts.test.yaml")
    fires: dict[str, set[bool]] = {}
    for test in yaml.safe_load((MONITORING / "alerts.test.yaml").read_text())["tests"]:
        for check in test["promql_expr_test"]:
            found = re.fullmatch(r'ALERTS{alertname="(\w+)",alertstate="firing"}', check["expr"])
            assert found is not None, check
            fires.setdefault(found[1], set()).add(bool(check["exp_samples"]))
    assert fires == {alert["alert"]: {True, False} for alert in alerts()}


def test_every_alert_says_what_to_do() -> None:
    manual = (REPOSITORY / "docs/OPERATIONS.md").read_text()
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", manual, re.MULTILINE)}
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning"), alert
        assert alert["annotations"].keys() == {"summary", "description", "runbook"}, alert
        page, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert page == "docs/OPERATIONS.md", alert
        assert anchor == alert["alert"].lower(), alert
        assert anchor in anchors, alert


def test_what_alerts_and_dashboard_ask_for_is_there(quell: Quell) -> None:
    metrics = Metrics(httpx.get(f"{quell.url}/metrics").text)
    queries = [(alert["alert"], alert["expr"], "") for alert in alerts()]
    for panel in json.loads((MONITORING / "grafana-dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            # Grafana's variables: one stands for a duration, one for the job's name.
            query = target["expr"].replace("$__rate_interval", "5m").replace("$job", "quell")
            queries.append((panel["title"], query, target["legendFormat"]))
    assert len(queries) > len(alerts()) + 20
    faults = {(where, query): metrics.faults(query, legend) for where, query, legend in queries}
    assert not {where: found for where, found in faults.items() if found}


def test_the_dashboard_has_one_datasource_for_all() -> None:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    variables = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query"}
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        for part in [panel, *panel["targets"]] if panel["type"] != "row" else []:
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken), "panels lie over each other"
    assert max(x for x, _ in taken) < 24
