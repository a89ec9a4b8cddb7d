"""What the API and the metrics say of pools whose size follows their work."""

import httpx
import pytest
from msgspec.structs import replace
from tests.integration.server.conftest import FLEET, WORK

from amas.cli.scaling import print_hosts
from amas.controllers.autoscaler import Autoscaler
from amas.controllers.host_scaler import HostScaler
from amas.engine.desired import DesiredState, Wish
from amas.engine.inbox import Inboxes
from amas.engine.scaling import ScalingState
from amas.model.desired import Seats
from amas.model.scaling import HostScaling, ScalingPace, ScalingSpec, ScalingTargets
from amas.observe import names
from amas.server.figures import snapshot
from amas.server.plane import ControlPlane
from amas.settings import MessageSettings

SPEC = ScalingSpec(max=5, targets=ScalingTargets(queue_depth=1), up=ScalingPace(count=2, every_s=0))


@pytest.fixture
async def scaled(plane: ControlPlane) -> Autoscaler:
    """An autoscaler that has looked once at a fleet whose worker follows its work."""
    *others, worker = FLEET.pools
    fleet = replace(FLEET, pools=(replace(worker, replicas=1, scaling=SPEC), *others))
    desired = DesiredState(plane.engine)
    seats = (Seats(fleet.pools[0].name, ((1, 1),)),)
    await desired.change([Wish("fleet", fleet), Wish("seats:h1", seats)], by="ann", why="a start")
    made = Autoscaler(ScalingState(plane.engine), desired, Inboxes(plane.engine, MessageSettings()), plane.records)
    await made.run_once(now_ms=100_000)
    return made


async def test_nothing_is_shown_where_nothing_is_scaled(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/scaling")).json() == {"pools": [], "hosts": None}


async def test_a_change_is_shown_with_its_reason(client: httpx.AsyncClient, scaled: Autoscaler) -> None:
    answer = await client.post("/api/tasks/batch", json=[{"capability": WORK}] * 4)
    assert answer.status_code == 201
    await scaled.run_once(now_ms=110_000)
    (listed,) = (await client.get("/api/scaling")).json()["pools"]
    assert (listed["pool"], listed["replicas"], listed["recommended"]) == ("worker", 3, 3)
    one = (await client.get("/api/scaling/worker")).json()
    assert one == listed
    assert one["steps"][0]["reason"] == (
        "grows from 1 to 3: 4 tasks wait, 1 for an agent, and nothing runs, which takes 4 agents; it may change by 2 in 0 s"
    )


async def test_a_pool_that_isn_t_scaled_is_told_from_one_that_is(client: httpx.AsyncClient, scaled: Autoscaler) -> None:
    answer = await client.get("/api/scaling/nobody")
    assert answer.status_code == 404
    assert answer.json()["code"] == "pool_not_scaled"


async def test_the_number_of_hosts_is_shown_with_its_reason(
    client: httpx.AsyncClient, plane: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = replace(SPEC, min=2, targets=ScalingTargets(cpu=0.7))
    fleet = replace(FLEET, hosts=2, host_scaling=HostScaling(agents=1, scaling=bounds))
    await plane.desired.change([Wish("fleet", fleet)], by="ann", why="a start")
    await HostScaler(ScalingState(plane.engine), plane.desired).run_once(now_ms=100_000)
    shown = (await client.get("/api/scaling")).json()["hosts"]
    assert (shown["replicas"], shown["min"], shown["max"]) == (2, 2, 5)
    found = (await client.get("/api/hosts")).json()
    assert found["scaling"] == shown
    print_hosts(shown)
    assert "2 hosts, 2 to 5 by load: stays at 2: agents that weigh" in capsys.readouterr().out


async def test_sizes_are_measured(plane: ControlPlane, scaled: Autoscaler) -> None:
    found = await snapshot(plane)
    page = plane.metrics.page(found, [], queues=frozenset()).decode()
    assert f'{names.POOL_AGENTS}{{pool="worker",what="wanted"}} 1.0' in page
    assert f'{names.POOL_AGENTS}{{pool="worker",what="seated"}} 1.0' in page
    assert f'{names.SCALINGS}_total{{direction="up",pool="worker"}} 0.0' in page
