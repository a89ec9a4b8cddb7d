"""Agents whose tasks run again, and agents that don't get all that they need, on real hosts."""

from host_bench import Bench, pool

from amas.clock import new_id
from amas.engine.queue import make_submission
from amas.engine.workflows import Workflows
from amas.model.blob import to_blob
from amas.model.journal import WorkflowOpening
from amas.model.states import TaskState
from amas.model.task import TaskSpec


async def test_a_parent_that_starts_anew_has_sub_tasks_of_its_own(bench: Bench) -> None:
    workflow, root = new_id(), new_id()
    spec = TaskSpec(capability="test.parent", workflow_id=workflow)
    async with bench.host([pool("parent"), pool("echo")]):
        await bench.queue.submit([make_submission(root, spec)], workflow=WorkflowOpening(workflow, to_blob(None), root))
        first = await bench.ended(root)
        assert await Workflows(bench.engine).rerun(workflow, root) == 1
        second = await bench.ended(root)
        tasks = await bench.queue.workflow_tasks(workflow, limit=10)
    assert (first.result["attempt"], second.result["attempt"]) == (2, 4)
    assert [(view.key, view.state) for view in tasks] == [("", "succeeded"), *[(key, "succeeded") for key in "abab"]]
    assert len({view.id for view in tasks}) == 5


async def test_an_agent_with_a_quorum_sees_which_needs_were_still_open(bench: Bench) -> None:
    quick, slow, last = new_id(), new_id(), new_id()
    await bench.queue.submit([make_submission(slow, TaskSpec(capability="test.nobody"))])
    spec = TaskSpec(capability="test.echo", needs=(quick, slow), need_keys=("quick", "slow"))
    await bench.queue.submit(
        [make_submission(quick, TaskSpec(capability="test.echo", input=1)), make_submission(last, spec, quorum=1)]
    )
    async with bench.host([pool("echo")]):
        view = await bench.ended(last)
    assert view.state is TaskState.SUCCEEDED
    assert view.result["results"]["quick"]["echo"] == 1
    assert list(view.result["results"]) == ["quick"]
    assert view.result["failures"] == ["slow"]
