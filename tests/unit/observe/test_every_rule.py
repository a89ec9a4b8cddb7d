"""Every alert in a case that raises it and in one just short of it, every recorded series with what it comes to, by promtool."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_server import PROMTOOL, promtool

from amas.observe import rules
from amas.observe.monitoring import RULES_FILE, Scraping, files

pytestmark = [
    pytest.mark.requirement("M6", "M7"),
    pytest.mark.skipif(PROMTOOL is None, reason="this machine has no promtool"),
]
Series = dict[str, str]
HERE = 'job="amas",instance="a"'
JOB = {"job": "amas"}
AT = "15m"
"""When cases are looked at: every alert has had its time by then."""


def steady(value: float) -> str:
    return f"{value:g}x80"


def growing(by: float) -> str:
    """A counter, looked at four times a minute."""
    return f"0+{by:g}x80"


def share(metric: str, label: str, *, of: str, rest: str, by: float, grows: bool) -> Series:
    """Return two series of which the first is `by` of both together."""
    told = growing if grows else steady
    return {f'{metric}{{{HERE},{label}="{of}"}}': told(100 * by), f'{metric}{{{HERE},{label}="{rest}"}}': told(100 * (1 - by))}


def cpu(busy: float) -> Series:
    return share("amas_machine_cpu_seconds_total", "mode", of="busy", rest="idle", by=busy, grows=True)


def memory(used: float) -> Series:
    return share("amas_machine_memory_bytes", "what", of="used", rest="available", by=used, grows=False)


def disk(free: float) -> Series:
    return share("amas_disk_bytes", "what", of="free", rest="used", by=free, grows=False)


def tasks(failed: float) -> Series:
    return share("amas_tasks_total", "state", of="failed", rest="succeeded", by=failed, grows=True)


def gauge(name: str, value: float, labels: str = "") -> Series:
    return {f"{name}{{{HERE}{labels}}}": steady(value)}


def queue(depth: float, bound: float) -> Series:
    return gauge("amas_tasks_queued", depth, ',queue="q"') | gauge("amas_queue_bound", bound, ',queue="q"')


def agents(wanted: float, seated: float) -> Series:
    return gauge("amas_pool_agents", wanted, ',pool="p",what="wanted"') | gauge("amas_agents", seated, ',status="idle"')


def recovery(seconds: float) -> Series:
    name = "orchestration_failure_recovery_duration"
    return {f'{name}_sum{{{HERE},cause="host"}}': growing(seconds), f'{name}_count{{{HERE},cause="host"}}': growing(1)}


def lost(hosts: float) -> Series:
    return {f"amas_hosts_lost_total{{{HERE}}}": f"0x50 {steady(hosts)}"}


HOST = {**JOB, "instance": "a"}
CASES: dict[str, tuple[Series, dict[str, str], Series]] = {
    "ControlPlaneDown": ({'up{job="amas"}': steady(0)}, JOB, {}),
    "EngineDown": (gauge("amas_engine_up", 0), JOB, gauge("amas_engine_up", 1)),
    "QueueNearlyFull": (queue(91, 100), {**JOB, "queue": "q"}, queue(90, 100)),
    "BreakerOpen": (
        gauge("amas_breaker_state", 2, ',dependency="d"'),
        {**JOB, "dependency": "d"},
        gauge("amas_breaker_state", 1, ',dependency="d"'),
    ),
    "HostLost": (lost(1), JOB, lost(0)),
    "AgentFailure": (
        gauge("amas_agents", 1, ',status="error"'),
        {**JOB, "status": "error"},
        gauge("amas_agents", 0, ',status="error"'),
    ),
    "AgentsMissing": (agents(9, 2), JOB, agents(3, 3)),
    "HostStalled": (gauge("amas_host_loop_lag_seconds", 11), JOB, gauge("amas_host_loop_lag_seconds", 10)),
    "NoHosts": (gauge("amas_hosts", 0), JOB, gauge("amas_hosts", 1)),
    "HighErrorRate": (tasks(0.11), JOB, tasks(0.09)),
    "HighCPUUsage": (cpu(0.81), HOST, cpu(0.79)),
    "HighMemoryUsage": (memory(0.91), HOST, memory(0.89)),
    "DiskNearlyFull": (disk(0.04), HOST, disk(0.06)),
    "SlowRecovery": (recovery(31), {}, recovery(29)),
    "RecordsBehind": (gauge("amas_recorder_lag_seconds", 61), JOB, gauge("amas_recorder_lag_seconds", 60)),
}
"""(Series that raise it, its labels, series that don't); what the fleet says itself is `told_of`."""


def told_of(alert: rules.Alerting) -> tuple[Series, dict[str, str], Series]:
    """Return the cases of an alert that Prometheus passes on from the fleet."""
    named = f',alertname="{alert.name}",severity="{alert.severity}"'
    firing, pending = (gauge("amas_alerts", 1, f'{named},alertstate="{state}"') for state in ("firing", "pending"))
    return firing, {}, pending


def check(folder: Path, cases: list[dict[str, Any]]) -> None:
    for name, text in files(Scraping(("plane:9090",))):
        if name == RULES_FILE:
            (folder / name).write_text(text)
    document = {"rule_files": [RULES_FILE], "evaluation_interval": "15s", "tests": cases}
    (folder / "tests.yml").write_text(yaml.safe_dump(document))
    done = promtool("test", "rules", folder / "tests.yml")
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def given(series: Series, **checks: Any) -> dict[str, Any]:
    """Return one of promtool's cases; the control plane answers unless the series say otherwise."""
    values = {'up{job="amas"}': steady(1), **series}
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": told} for name, told in values.items()],
        **checks,
    }


def test_every_alert_is_raised_and_not_too_early(tmp_path: Path) -> None:
    """All of them at once in a fleet in which everything is wrong, and none in one where everything is just short of that."""
    wrong: Series = {}
    nearly: Series = {}
    all_expected, none_expected = list[dict[str, Any]](), list[dict[str, Any]]()
    for alert in rules.ALERTINGS:
        raises, labels, short_of_it = CASES[alert.name] if alert.name in CASES else told_of(alert)
        wrong |= raises
        nearly |= short_of_it
        told = {"summary": alert.summary, **({"runbook": alert.runbook} if alert.runbook else {})}
        raised = {"exp_labels": {"severity": alert.severity, **labels}, "exp_annotations": told}
        all_expected.append({"eval_time": AT, "alertname": alert.name, "exp_alerts": [raised]})
        none_expected.append({"eval_time": AT, "alertname": alert.name, "exp_alerts": []})
    check(tmp_path, [given(wrong, alert_rule_test=all_expected), given(nearly, alert_rule_test=none_expected)])
    passed_on = {alert.name for alert in rules.ALERTINGS if "amas_alerts{" in alert.expression}
    assert set(CASES) | passed_on == {alert.name for alert in rules.ALERTINGS}


def histogram(name: str, labels: str = "") -> Series:
    """Return a histogram in which every request took between one and two seconds."""
    bounds = {"1": 0, "2": 1, "+Inf": 1}
    return {f'{name}_bucket{{{HERE}{labels},le="{bound}"}}': growing(by) for bound, by in bounds.items()}


RECORDED: dict[str, tuple[Series, str, float]] = {
    rules.ENDED: (tasks(0.25), '{job="amas",state="failed"}', 1.667),
    rules.FAILED_SHARE: (tasks(0.25), '{job="amas"}', 0.25),
    rules.UTILISATION: (
        gauge("amas_agents", 3, ',status="working"') | gauge("orchestration_active_agents", 4),
        '{job="amas"}',
        0.75,
    ),
    rules.CPU_SHARE: (cpu(0.75), '{instance="a",job="amas"}', 0.75),
    rules.MEMORY_SHARE: (memory(0.5), '{instance="a",job="amas"}', 0.5),
    rules.DISK_FREE: (disk(0.25), '{instance="a",job="amas"}', 0.25),
    rules.RECOVERY: (recovery(8), "", 8),
    rules.HTTP_P99: (histogram("amas_http_request_duration_seconds", ',route="/x"'), '{route="/x"}', 1.99),
    rules.MESSAGE_P99: (histogram("orchestration_message_latency"), "", 1.99),
    rules.COST_RATE: ({f"amas_cost_usd_total{{{HERE}}}": growing(15)}, '{job="amas"}', 0.25),  # a quarter of its hour is over
}


def test_every_recorded_series_comes_to_what_it_says(tmp_path: Path) -> None:
    told: Series = {}
    cases = []
    for name, (series, labels, value) in RECORDED.items():
        told |= series
        # rounded: the last digit of a division is nobody's business
        expected = [{"labels": labels or "{}", "value": value}]
        cases.append({"expr": f"round({name}{labels}, 0.001)", "eval_time": AT, "exp_samples": expected})
    check(tmp_path, [given(told, promql_expr_test=cases)])
    assert set(RECORDED) == set(rules.RECORDED)
