"""Three kinds of goal through the whole hierarchy on a real host: planned by the local model, and by playbooks alone.

What the model says is never judged: only that its plan is sound, or that playbooks stood in and the plan says why.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import host_bench
import pytest
from host_bench import Bench
from local_model import NEEDS_LOCAL_MODEL

from amas.artifacts.values import LargeValues
from amas.engine.limits import Limits
from amas.fleet.load import load_fleet
from amas.model.goal import Goal
from amas.model.limits import Amounts
from amas.model.states import TaskState
from amas.orchestration.submission import submit_goal
from amas.platforms.local.home import Home
from amas.platforms.local.host import fleet_facts
from amas.platforms.local.model import served

MODULE = '''"""Sums."""


def total(values, start=[]):
    """Return the sum."""
    return sum(values) + len(start)
'''
PROJECT = '[project]\nname = "sums"\nversion = "1.0"\nlicense = "MIT"\n'
MARKET = "# Market\n\nAI market trends point to smaller models. Prices fell by 40 % in 2025.\n"
GOALS = {
    "software": ("Review the code and write a report", {"sums.py": MODULE}),
    "research": ("Research AI market trends and create presentation", {"market.md": MARKET}),
    "documentation": ("Document the API and check the licences", {"sums/__init__.py": MODULE, "pyproject.toml": PROJECT}),
}
"""By kind: the goal, and the files that it is about."""
LIMIT_S = 180.0
"""For one goal, of which the model may take three tries at a plan on a busy core."""


class Met(NamedTuple):
    """A goal's end."""

    result: dict[str, Any]
    spent: Amounts
    output: Path


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    """The local model's address."""
    with served() as url:
        yield url


@pytest.fixture
def bench(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(host_bench, "LIMIT_S", LIMIT_S)
    for name in ("AMAS_MODEL", "AMAS_MODEL_URL"):
        monkeypatch.delenv(name, raising=False)
    return bench


async def met(bench: Bench, kind: str) -> Met:
    text, files = GOALS[kind]
    folder, output = bench.folder / "input", bench.folder / "out"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    spec = fleet_facts(load_fleet("amas", environ={}), Home(bench.folder / "home"))
    goal = Goal(text=text, input_dir=str(folder), output_dir=str(output), budget=Amounts(usd=1.0, tokens=100_000, calls=50))
    async with bench.host(spec.pools, lease_s=6.0):
        workflow_id, root_id = await submit_goal(bench.queue, goal, limits=spec.limits, values=LargeValues(None))
        root = await bench.ended(root_id)
        spent = (await Limits(bench.engine).budget(f"workflow/{workflow_id}")).spent
    assert root.state is TaskState.SUCCEEDED, root.failure
    assert isinstance(root.result, dict)
    return Met(root.result, spent, output)


def gated(done: Met) -> None:
    """Hold a goal to what every goal has, whoever planned it: parts that went through the gate, and a signed delivery."""
    assert done.result["signed_by"].startswith("quality-supervisor")
    assert done.result["parts"]
    for part in done.result["parts"].values():
        assert isinstance(part["accepted"], bool)
        assert 0.0 <= part["score"] <= 1.0
    assert (done.output / "report.md").stat().st_size > 0


@pytest.mark.parametrize("kind", GOALS)
async def test_playbooks_alone_meet_it(bench: Bench, kind: str) -> None:
    done = await met(bench, kind)
    gated(done)
    assert done.result["approved"], done.result["parts"]
    assert (done.spent.tokens or 0, done.spent.calls or 0) == (0, 0)
    assert not any("model" in note for note in done.result["notes"])


class TestWithTheLocalModel:
    """The same goals, planned by a model."""

    pytestmark = NEEDS_LOCAL_MODEL

    @pytest.mark.parametrize("kind", GOALS)
    async def test_it_is_met_and_counted(self, bench: Bench, kind: str, model_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AMAS_MODEL", "local")
        monkeypatch.setenv("AMAS_MODEL_URL", model_url)
        done = await met(bench, kind)
        gated(done)
        (said,) = [note for note in done.result["notes"] if "the model local" in note]
        by_model, instead = "planned by the model local", "planned by playbooks, since the model local made no plan: "
        assert said.startswith(by_model) or (said.startswith(instead) and len(said) > len(instead))
        assert (done.spent.calls or 0) >= 1
        assert (done.spent.tokens or 0) > 100, "a prompt with the fleet's playbooks takes more"
