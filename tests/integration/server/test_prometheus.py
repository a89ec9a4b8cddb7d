"""A real Prometheus scrapes a control plane that runs, by the files that `amas monitoring write` writes."""

import asyncio
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_server import PROMETHEUS, PROMTOOL, prometheus, promtool, query

from amas.controllers.figures import Figures
from amas.model.breaker import BreakerState
from amas.model.latency import Latencies
from amas.observe import dashboards, names, rules
from amas.observe.catalogue import BY_NAME, FAMILIES
from amas.observe.metrics import Histogrammed
from amas.observe.monitoring import Scraping, files
from amas.server.figures import durations, snapshot
from amas.server.plane import ControlPlane

from .conftest import WORK, Hands
from .test_serve import served, serving  # noqa: F401  `served` is a fixture

LIMIT_S = 90
REQUIRED = (
    names.ACTIVE_WORKFLOWS,
    names.ACTIVE_AGENTS,
    names.MESSAGE_QUEUE_DEPTH,
    f"{names.DECOMPOSITION_DURATION}_count",
    f"{names.ASSIGNMENT_DURATION}_count",
    f"{names.MESSAGE_LATENCY}_count",
    f"{names.RECOVERY_DURATION}_count",
)
"""A12, as Prometheus stores them."""


@pytest.mark.skipif(PROMETHEUS is None, reason="this machine has no Prometheus")
@pytest.mark.requirement("A12", "A13", "B10", "M6", "T4")
async def test_a_real_prometheus_answers_for_every_required_name(served: ControlPlane, tmp_path: Path) -> None:  # noqa: F811
    hands = Hands(served)
    await hands.register()
    folder = tmp_path / "prometheus"
    folder.mkdir()
    async with serving(served) as (port, metrics_port):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) as client:
            for _ in range(3):
                assert (await client.post("/api/tasks", json={"capability": WORK})).status_code == 201
        await hands.finish((await hands.claim())[0], "done")
        for name, text in files(Scraping((f"127.0.0.1:{metrics_port}",))):
            if not name.startswith("dashboards/"):
                (folder / name).write_text(text.replace("15s", "500ms"))
        asked = asyncio.to_thread(_look, folder)
        await asyncio.wait_for(asked, LIMIT_S)


def _look(folder: Path) -> None:
    """Wait until Prometheus has worked out a rate, then ask it everything; blocking."""
    import time

    with prometheus(folder) as url:
        give_up_at = time.monotonic() + LIMIT_S
        while not query(url, rules.ENDED) or not query(url, f"{names.ENGINE_UP} == 1"):
            assert time.monotonic() < give_up_at, (folder / "log").read_text()
            time.sleep(0.1)
        for name in REQUIRED:
            assert query(url, name), name
        assert query(url, f'{names.TASKS}_total{{state="succeeded"}}')[0]["value"][1] == "1"
        assert query(url, f'sum({names.TASKS_QUEUED}{{queue="{WORK}"}})')[0]["value"][1] == "2"
        for part in ("engine", "control_plane"):
            assert float(query(url, f'{names.MEMORY}{{part="{part}"}}')[0]["value"][1]) > 1e6
            assert float(query(url, f'{names.CPU}_total{{part="{part}"}}')[0]["value"][1]) > 0
        assert {each["metric"]["direction"] for each in query(url, f"{names.NETWORK}_total")} == {"received", "sent"}
        for expression in (*rules.expressions(), *dashboards.expressions()):
            query(url, expression)  # raises for one that Prometheus can't read
        assert [each["metric"]["alertname"] for each in query(url, "ALERTS{alertname='ControlPlaneDown'}")] == []


async def test_the_page_shows_what_the_catalogue_says(plane: ControlPlane, hands: Hands) -> None:
    """Everything that can be there is there, with these kinds and labels, and promtool finds nothing to say against it."""
    found = await snapshot(plane)
    assert found is not None and found.usage is not None
    filled = found.__class__(
        **{name: getattr(found, name) for name in found.__struct_fields__}
        | {"breakers": {"model/x": BreakerState.OPEN}, "alerts": {("HostLost", "critical", "firing"): 1}, "response_s": 0.5}
        | {"backup_age_s": 60.0, "bounds": {WORK: 10}}
    )
    plane.metrics.http.labels("GET", "/api/tasks", "200").observe(0.01)
    latencies = Latencies()
    histograms = [*durations(Figures()), Histogrammed(name=names.MESSAGE_LATENCY, buckets=latencies.buckets(), sum_s=0.0)]
    page = plane.metrics.page(filled, histograms, queues=frozenset({WORK}))
    shown = {family.name: family for family in text_string_to_metric_families(page.decode())}
    assert set(shown) == {family.name for family in FAMILIES}
    for name, family in shown.items():
        series = dict(BY_NAME[name].series())
        assert (family.type, family.documentation) == (BY_NAME[name].kind, BY_NAME[name].meaning)
        for sample in family.samples:
            assert series[sample.name] == set(sample.labels), sample
    if PROMTOOL:
        checked = promtool("check", "metrics", stdin=page)
        assert checked.returncode == 0, checked.stderr.decode()
