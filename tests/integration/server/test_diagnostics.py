"""Diagnostics: every part is told of, what is late and stuck is seen, and a profile finds the code that works."""

import asyncio
import hashlib
import threading

import httpx
import pytest

from amas.clock import monotonic_s, new_id
from amas.controllers.run import keep_at
from amas.engine.queue import make_submission
from amas.model.task import TaskSpec
from amas.observe.profile import profile
from amas.server.plane import ControlPlane

from .conftest import WORK, Hands
from .test_contract import problem_of

pytestmark = pytest.mark.requirement("T4")


class Slow:
    """A duty that is found in its second sweep."""

    name = "slow"

    def __init__(self) -> None:
        self.second = asyncio.Event()
        self.sweeps = 0

    async def run_once(self) -> float:
        self.sweeps += 1
        if self.sweeps > 1:
            self.second.set()
            await asyncio.Event().wait()
        return 0.0


async def test_every_part_is_told_of(client: httpx.AsyncClient, plane: ControlPlane, hands: Hands) -> None:
    old = f"0{new_id()[1:]}"  # submitted in another age, as its id says
    await plane.queue.submit([make_submission(old, TaskSpec(capability=WORK))])
    running, duty = (await hands.claim())[0], Slow()
    await plane.queue.submit([make_submission(new_id(), TaskSpec(capability=WORK))])
    task = asyncio.create_task(keep_at(duty, plane.figures), name="slow duty")
    async with asyncio.timeout(60):
        await duty.second.wait()
    plane.figures.duties["rester"] = type(plane.figures.duties["slow"])(due_s=monotonic_s() - 5, sweeps=2, total_s=3.0)
    found = (await client.get("/api/diagnostics")).json()
    task.cancel()
    duties = {each["name"]: each for each in found["duties"]}
    assert (duties["slow"]["doing"], duties["slow"]["sweeps"], duties["slow"]["late_s"]) == ("sweeps", 1, 0)
    assert duties["rester"]["doing"] == "rests" and duties["rester"]["late_s"] >= 5 and duties["rester"]["mean_s"] == 1.5
    (at,) = (each["at"] for each in found["tasks"] if each["name"] == "slow duty")
    assert at.startswith("Slow.run_once ("), "not where every duty waits, but where this one does"
    assert [host["id"] for host in found["hosts"]] == ["h1"] and found["hosts"][0]["lease_left_s"] > 0
    assert found["engine"]["slowest"][0]["calls"] > 0 and "fcall" in {each["name"] for each in found["engine"]["slowest"]}
    assert {each["what"]: each["where"] for each in found["stuck"]} == {"queued": WORK, "running": "worker-1"}
    assert running.id == old and next(each for each in found["stuck"] if each["what"] == "running")["id"] == old


async def test_a_profile_is_speedscope_s_and_only_one_is_made(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    async with plane.profiling:
        refused = await client.post("/api/diagnostics/profile", params={"seconds": 0.1})
    assert problem_of(refused).code == "profile_running"
    answer = await client.post("/api/diagnostics/profile", params={"seconds": 0.3})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["$schema"].endswith("file-format-schema.json")
    (sampled,) = found["profiles"]
    assert len(sampled["samples"]) == len(sampled["weights"])
    assert all(index < len(found["shared"]["frames"]) for stack in sampled["samples"] for index in stack)
    for seconds in ("0", "21", "no"):
        assert (await client.post("/api/diagnostics/profile", params={"seconds": seconds})).status_code == 422


def test_work_counts_and_waiting_does_not() -> None:
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 200)

    threads = [threading.Thread(target=busy), threading.Thread(target=over.wait)]
    for thread in threads:
        thread.start()
    try:
        found, elapsed_s = profile(0.5)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    by_code: dict[str, float] = {}
    for stack, seconds in found.items():
        for name in {code.co_name for code, _ in stack}:
            by_code[name] = by_code.get(name, 0.0) + seconds
    assert elapsed_s >= 0.5 and max(by_code, key=lambda name: (name == "busy", by_code[name])) == "busy"
    assert by_code["busy"] > 10 * by_code.get("wait", 0.0)
