"""The files for Prometheus and Grafana: every name exists, promtool takes the rules, and alerts fire when they should."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_server import PROMTOOL, promtool

from amas.model.alert_defaults import DEFAULT_RULES
from amas.observe import dashboards, rules
from amas.observe.catalogue import FAMILIES, unknown_in
from amas.observe.monitoring import RULES_FILE, Scraping, files

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="this machine has no promtool")


def write(folder: Path, scraping: Scraping) -> dict[str, str]:
    written = dict(files(scraping))
    for name, text in written.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return written


@pytest.mark.requirement("A13", "B10", "M6", "M7")
def test_every_name_in_an_expression_exists() -> None:
    asked = [*rules.expressions(), *dashboards.expressions()]
    assert [found for expression in asked for found in unknown_in(expression, rules.RECORDED)] == []
    wrong = 'sum(rate(amas_task_total{stat="failed"}[5m])) / amas_tasks_total{stat="x{y}"} + amas:nothing:ratio'
    assert unknown_in(wrong, rules.RECORDED) == ["amas_task_total", "amas_tasks_total{stat}", "amas:nothing:ratio"]


def test_what_the_page_may_show_somebody_can_see() -> None:
    """A metric that no rule and no dashboard asks for is one that nobody looks at."""
    asked = " ".join([*rules.expressions(), *dashboards.expressions()])
    assert [family.name for family in FAMILIES if family.name not in asked] == []
    labels = {label for family in FAMILIES for label in family.labels}
    assert not {label for label in labels if label.endswith("_id") or label in {"agent", "task", "host", "workflow"}}


def test_the_fleet_s_own_rules_are_prometheus_s_too() -> None:
    alerts = {alert.name: alert for alert in rules.ALERTINGS}
    for rule in DEFAULT_RULES:
        assert (alerts[rule.name].severity, alerts[rule.name].summary) == (rule.severity, rule.summary)
    assert (alerts["HighCPUUsage"].for_s, alerts["HighCPUUsage"].expression[-5:]) == (300, "> 0.8")
    assert (alerts["AgentFailure"].for_s, alerts["AgentFailure"].severity) == (0, "critical")
    assert alerts["LearningDegradation"].severity == "warning"


def test_dashboards_are_what_grafana_imports(tmp_path: Path) -> None:
    written = write(tmp_path, Scraping(("plane:9090",)))
    pages = [json.loads(text) for name, text in written.items() if name.startswith("dashboards/")]
    titles = {page["title"].removeprefix("amas: ") for page in pages}
    assert titles >= {"workflow execution", "agent activity", "message bus", "performance benchmarks"}
    assert titles >= {"error rates and recovery times", "fleet"}
    for page in pages:
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in page["panels"]]
        assert len(set(places)) == len(places)
        assert len({panel["id"] for panel in page["panels"]}) == len(places)
        assert all(panel["targets"] for panel in page["panels"])


def left_out(ours: Any, theirs: Any, at: str = "") -> Iterator[str]:
    """Yield the places of what stands in ours and not in theirs."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            yield from left_out(value, theirs.get(name), f"{at}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (value, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from left_out(value, other, f"{at}[{number}]")
    elif ours != theirs:
        yield at


@pytest.mark.requirement("A13")
def test_grafana_s_own_model_of_a_dashboard_leaves_nothing_out(tmp_path: Path) -> None:
    """What Grafana publishes of its format (10.1) reads each dashboard and writes the same: no field that it doesn't know."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    for name, text in write(tmp_path, Scraping(("plane:9090",))).items():
        if name.startswith("dashboards/"):
            page = json.loads(text)
            read = json.loads(JSONEncoder().encode(Dashboard.from_json(page)))
            assert list(left_out(page, read)) == [], name
            page["panels"][0]["targets"][0]["expression"] = page["panels"][0]["targets"][0].pop("expr")
            misnamed = json.loads(JSONEncoder().encode(Dashboard.from_json(page)))
            assert list(left_out(page, misnamed)) == [".panels[0].targets[0].expression"], "a field of another name is noticed"


@needs_promtool
def test_promtool_takes_the_files(tmp_path: Path) -> None:
    written = write(tmp_path, Scraping(("plane:9090",), "/run/token", ("alertmanager:9093",)))
    (scraped,) = yaml.safe_load(written["prometheus.yml"])["scrape_configs"]
    assert scraped["authorization"] == {"credentials_file": "/run/token"}
    assert "scrape_interval: 15s" in written["prometheus.yml"]
    checked = promtool("check", "config", "--syntax-only", tmp_path / "prometheus.yml")
    assert checked.returncode == 0, checked.stderr
    checked = promtool("check", "rules", tmp_path / RULES_FILE)
    assert checked.returncode == 0, checked.stderr


def case(series: dict[str, str], *expected: tuple[str, str, dict[str, str] | None]) -> dict[str, Any]:
    """Return one of promtool's tests: series from minute 0, and (when, alert, its labels or None for no alert)."""
    alerts = {rule.name: rule for rule in rules.ALERTINGS}
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in {'up{job="amas"}': "1x80", **series}.items()],
        "alert_rule_test": [
            {
                "eval_time": at,
                "alertname": name,
                "exp_alerts": []
                if labels is None
                else [
                    {
                        "exp_labels": {"severity": alerts[name].severity, **labels},
                        "exp_annotations": {
                            "summary": alerts[name].summary,
                            **({"runbook": alerts[name].runbook} if alerts[name].runbook else {}),
                        },
                    }
                ],
            }
            for at, name, labels in expected
        ],
    }


@needs_promtool
@pytest.mark.requirement("M6", "M7")
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    write(tmp_path, Scraping(("plane:9090",)))
    here = 'job="amas",instance="a"'
    cpu = "amas_machine_cpu_seconds_total"
    tests = [
        case(  # 13.5 of 15 seconds busy: 90 %, which must hold for five minutes
            {f'{cpu}{{{here},mode="busy"}}': "0+13.5x80", f'{cpu}{{{here},mode="idle"}}': "0+1.5x80"},
            ("5m", "HighCPUUsage", None),
            ("6m", "HighCPUUsage", {"job": "amas", "instance": "a"}),
        ),
        case(
            {f'{cpu}{{{here},mode="busy"}}': "0+11.9x80", f'{cpu}{{{here},mode="idle"}}': "0+3.1x80"},
            ("15m", "HighCPUUsage", None),
        ),
        case(  # told by both control planes, raised once and at once
            {
                f'amas_agents{{{here},status="error"}}': "0 0 2x40",
                'amas_agents{job="amas",instance="b",status="error"}': "0 0 2x40",
            },
            ("15s", "AgentFailure", None),
            ("30s", "AgentFailure", {"job": "amas", "status": "error"}),
        ),
        case(
            {f'amas_tasks_total{{{here},state="failed"}}': "0+2x80", f'amas_tasks_total{{{here},state="succeeded"}}': "0+8x80"},
            ("9m", "HighErrorRate", {"job": "amas"}),
        ),
        case(
            {f'amas_tasks_total{{{here},state="failed"}}': "0+1x80", f'amas_tasks_total{{{here},state="succeeded"}}': "0+19x80"},
            ("9m", "HighErrorRate", None),
        ),
        case(
            {f'amas_alerts{{{here},alertname="LearningDegradation",alertstate="firing",severity="warning"}}': "1x80"},
            ("15s", "LearningDegradation", {}),
        ),
        case({f"amas_engine_up{{{here}}}": "1 0x80"}, ("15s", "EngineDown", None), ("1m", "EngineDown", {"job": "amas"})),
        case({f"amas_hosts_lost_total{{{here}}}": "0 0 0 1x80"}, ("1m", "HostLost", {"job": "amas"}), ("10m", "HostLost", None)),
        {
            **case({}, ("2m", "ControlPlaneDown", {"job": "amas"})),
            "input_series": [{"series": 'up{job="amas"}', "values": "0x80"}],
        },
    ]
    (tmp_path / "tests.yml").write_text(
        yaml.safe_dump({"rule_files": [RULES_FILE], "evaluation_interval": "15s", "tests": tests})
    )
    tested = promtool("test", "rules", tmp_path / "tests.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_command_writes_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "amas", "monitoring", "write", str(tmp_path / "new"), "--target", "plane:9090", "--json"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr
    assert (tmp_path / "new" / "prometheus.yml").read_text() == dict(files(Scraping(("plane:9090",))))["prometheus.yml"]
    assert len(json.loads(said.stdout)["files"]) == len(list(files(Scraping(()))))
    (tmp_path / "file").touch()
    said = subprocess.run(
        [*command[:5], str(tmp_path / "file"), *command[6:]], capture_output=True, text=True, timeout=60, check=False
    )
    assert (said.returncode, "can't be written" in said.stderr) == (2, True), said.stderr
