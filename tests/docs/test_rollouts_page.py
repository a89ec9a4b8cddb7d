"""The example of docs/rollouts.md, as it stands: the version that doesn't shout primes is taken back, and every task is done."""

import importlib
import re
import sys
from pathlib import Path

import msgspec
import pytest
from host_bench import QUICK, Bench

from amas.clock import new_id
from amas.controllers.rollouts import Rollouts
from amas.controllers.router import Router
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.engine.queue import make_submission
from amas.engine.routes import Routes
from amas.fleet.load import load_fleet
from amas.model.rollout import Phase
from amas.model.rollout_spec import RolloutSpec
from amas.model.states import TaskState
from amas.model.task import TaskSpec
from amas.orchestration.rollouts import RolloutDesk

PAGE = (Path(__file__).parents[2] / "docs" / "rollouts.md").read_text()
ROUNDS_MAX = 40


def _block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_the_section_says_every_field_with_its_default(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(_block("yaml"))
    assert load_fleet(tmp_path / "fleet.yaml", environ={}).rollout == RolloutSpec(steps=(0.1, 0.5), min_tasks=20)
    section = _block("yaml").partition("pools:")[0]
    names = {name.removesuffix("_s") for name in RolloutSpec.__struct_fields__}
    assert names == set(re.findall(r"^  (\w+):", section, re.MULTILINE))


async def test_the_example_is_taken_back(
    engine: Engine, engine_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(engine, engine_url, tmp_path)
    (tmp_path / "fleet.yaml").write_text(_block("yaml").replace("min_time: 1m", "min_time: 0"))
    (tmp_path / "rolled.py").write_text(_block("python"))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    fleet = load_fleet(tmp_path / "fleet.yaml", agents=True, environ={})
    desired, routes = DesiredState(bench.engine), Routes(bench.engine)
    desk, duty, router = RolloutDesk(desired, routes, fleet), Rollouts(desired, routes, fleet), Router(routes, fleet, desired)
    await desk.begin("shouter", "2", changes={"agent": "rolled:second"}, spec=None, by="ann")
    try:
        async with bench.host((await desired.read()).pools, "h1"):
            for _ in range(ROUNDS_MAX):
                await duty.run_once()
                await router.run_once()
                if (view := await desk.one("shouter")).phase is Phase.ROLLED_BACK:
                    break
                specs = [TaskSpec(capability="text.shout", input=f"number {n}", retry=QUICK) for n in range(100)]
                batch = [make_submission(new_id(), spec) for spec in specs]
                await bench.queue.submit(batch)
                for each in batch:
                    assert (await bench.ended(each.id)).state is TaskState.SUCCEEDED
    finally:
        sys.modules.pop("rolled", None)
    assert "version 2 is worse" in view.why
    assert [msgspec.structs.replace(pool, options={}) for pool in (await desired.read()).pools] == list(fleet.pools)
