"""One day: the arrivals and the events of the plan at their times, then the evening, when everything is compared."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from tests.fault.auditor import Auditor, audited, follow

from amas.client import Fleet, NewTask, TaskHandle
from amas.errors import EngineError
from amas.model.states import TaskState
from amas.model.task import RetryPolicy
from amas.platforms.local.control import fleet_state
from benchmarks.day.plan import OVERTIME, ROLLED_CAPABILITY, Arrival, Event, events, waves
from benchmarks.day.site import INSIST_S, OVER, PAUSE_S, CommandFailed, Site

SUCCESS = 0.98
AVAILABLE = 0.95
"""Of the seconds with work to do: the day's attacks alone take the engine away for some."""
RECOVERY_S = 30.0
FINISH_S = 600.0
"""What the fleet gets to finish in the evening; only ends what hangs."""
RETRY = RetryPolicy(retries=5, backoff_s=0.1, backoff_max_s=1.0)
S = TaskState


class Check(msgspec.Struct, frozen=True):
    """One thing that must hold."""

    name: str
    holds: bool
    found: str
    timed: bool = False
    """It depends on how fast the machine is, so no test asserts it."""


class Day:
    """One day of one fleet, in a folder of its own."""

    def __init__(self, folder: Path, *, seed: int, seconds: float, per_s: float) -> None:
        self.site = Site(folder)
        self._seed, self._seconds, self._per_s = seed, seconds, per_s
        self._accepted: dict[str, tuple[TaskHandle, bool]] = {}
        """With whether it is to fail."""
        self._refused = 0
        self._auditor = Auditor()
        self._outcomes: dict[str, TaskState] = {}
        self._report: dict[str, Any] = {}
        self._ended_at = 0.0
        columns = (TextColumn("{task.fields[clock]}"), BarColumn(40), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._row: TaskID

    async def run(self, *, page: Path | None = None) -> list[Check]:
        """Live through the day and return what was checked; `page`: where the report is written, an absolute path."""
        with self._bar:
            self._row = self._bar.add_task("the fleet starts", total=self._seconds, clock="00:00")
            await self.site.up()
            try:
                rolled = await self._live(page)
            finally:
                with suppress(CommandFailed):
                    await self.site.amas("down")
            restored, verified = await self._restored()
        return [*self._kept(), *self._operated(rolled), *restored, verified, *self._timed()]

    def found(self) -> dict[str, Any]:
        """Return the day's figures."""
        ends = Counter(state.value for state in self._outcomes.values())
        return {
            "seed": self._seed,
            "minutes": round(self._seconds / 60, 2),
            "counts": {
                "accepted": len(self._accepted),
                **{state: ends[state] for state in ("succeeded", "failed", "cancelled")},
                "refused_waves": self._refused,
                "tried_again": sum(seen.attempt > 1 for seen in self._auditor.tasks.values()),
                "journal_entries": self._auditor.entries,
                **{name.replace(" ", "_"): count for name, count in sorted(Counter(self.site.done).items())},
                "kills_that_found_nobody": self.site.missed,
            },
            "report": self._report,
        }

    async def _live(self, page: Path | None) -> dict[str, Any]:
        state = fleet_state(self.site.home)
        follower = asyncio.create_task(follow(state.engine_url, state.cell, self._auditor), name="auditor")
        began = time.monotonic()
        async with Fleet.connect(home=self.site.home) as client:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._arrivals(client, began), name="arrivals")
                for event in events(self._seed, seconds=self._seconds):
                    group.create_task(self._at(event, began), name=event.words)
            self._say("evening: the roll-out's end")
            rolled = await self._overtime(client)
            self._say("evening: the last tasks")
            async with asyncio.timeout(FINISH_S):
                handles = {task_id: handle for task_id, (handle, _) in self._accepted.items()}
                self._outcomes = {task_id: (await handle.outcome()).state for task_id, handle in handles.items()}
                await audited(self._auditor, handles)
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
        self._say("evening: the report")
        since = f"{time.monotonic() - began + 5:.0f}s"
        self._report = await self.site.said("report", "--since", since)
        if page is not None:
            await self.site.insist("report", "--since", since, "--output", str(page))
        return rolled

    async def _arrivals(self, client: Fleet, began: float) -> None:
        for wave in waves(self._seed, seconds=self._seconds, per_s=self._per_s):
            await asyncio.sleep(max(0.0, began + wave.at_s - time.monotonic()))
            clock_h = 24 * wave.at_s / self._seconds
            ended = sum(handle.done for handle, _ in self._accepted.values())
            clock = f"{int(clock_h):02}:{int(clock_h % 1 * 60):02}"
            said = f"{len(self._accepted):,} accepted, {len(self._accepted) - ended:,} open"
            self._bar.update(self._row, completed=wave.at_s, clock=clock, description=said)
            await self._submit(client, wave.arrivals)

    async def _overtime(self, client: Fleet) -> dict[str, Any]:
        """Have the rolled pool work until its roll-out is over, and return that: a slow machine's day may be too short."""
        until = time.monotonic() + INSIST_S
        while True:
            rolled = await self.site.rollout()
            if rolled.get("phase") in OVER or time.monotonic() > until:
                return rolled
            await self._submit(client, [Arrival(ROLLED_CAPABILITY, {**OVERTIME, "number": number}) for number in range(10)])
            await asyncio.sleep(PAUSE_S)

    async def _submit(self, client: Fleet, arrivals: list[Arrival]) -> None:
        try:
            handles = await client.submit_batch(_tasks(arrivals))
        except EngineError:  # an outage longer than the client's patience; nothing of it counts as accepted
            self._refused += 1
            return
        for handle, arrival in zip(handles, arrivals, strict=True):
            self._accepted[handle.id] = handle, bool(arrival.asked["gives_up"])

    async def _at(self, event: Event, began: float) -> None:
        await asyncio.sleep(max(0.0, began + event.at_s - time.monotonic()))
        self._bar.console.print(f"  {event.words}", style="dim")
        await self.site.do(event)

    async def _restored(self) -> tuple[list[Check], Check]:
        self._say("evening: the back-up is tried out")
        try:
            verdict = (await self.site.amas("verify", self.site.backup_id)).strip()
            await self.site.amas("restore", self.site.backup_id, "--home", str(self.site.restored))
            await self.site.up(self.site.restored)
            try:
                report = await self.site.settled(self.site.restored)
            finally:
                await self.site.amas("down", home=self.site.restored)
        except CommandFailed as error:
            return [], Check("back-up verified and restored", holds=False, found=str(error))
        tasks = report["tasks"]
        whole = not tasks["open"] and not tasks["lost"] and tasks["succeeded"] > 0
        found = f"{tasks['succeeded']:,} succeeded, {len(tasks['lost'])} lost, {sum(tasks['open'].values())} open there"
        return [Check("the restored fleet goes on", holds=whole, found=found)], Check(
            "back-up verified and restored", holds=True, found=verdict
        )

    def _kept(self) -> list[Check]:
        told = self._report["tasks"]
        missing = [task_id for task_id in self._accepted if task_id not in self._outcomes]
        twice = [task_id for task_id, seen in self._auditor.tasks.items() if seen.ends != 1]
        unlike = [i for i, state in self._outcomes.items() if state is not self._auditor.tasks[i].state]
        unhappy = [i for i, (_, fails) in self._accepted.items() if self._outcomes[i] is not (S.FAILED if fails else S.SUCCEEDED)]
        success = told["success_rate"] or 0.0
        return [
            Check("nothing lost", not missing and not told["lost"], f"{len(missing)} without an end, {len(told['lost'])} lost"),
            Check("nothing doubled", not twice and not self._auditor.faults, _first(self._auditor.faults) or _first(twice)),
            Check("all tell the same", not unlike, _first(unlike)),
            Check("the report counts all", *self._counted(told)),
            Check(f"success {SUCCESS:.0%}", success >= SUCCESS, f"{success:.2%}"),
            Check("only what can't be done failed", not unhappy, _first(unhappy)),
        ]

    def _counted(self, told: dict[str, Any]) -> tuple[bool, str]:
        """Compare what the report counts with what was in the journal: a wave whose acknowledgement was lost counts, too."""
        ends = Counter(seen.state.value for seen in self._auditor.tasks.values())
        counted = {state: told[state] for state in ("succeeded", "failed", "cancelled")}
        known = {state: ends[state] for state in counted}
        return counted == known and told["accepted"] == len(self._auditor.tasks), f"{told['accepted']:,} accepted, {counted}"

    def _operated(self, rolled: dict[str, Any]) -> list[Check]:
        done = self.site.done
        taken = rolled.get("phase") == "rolled_back"
        drained = any(each.startswith("drain") for each in done) and any(each.startswith("uncordon") for each in done)
        backed = [each["id"] for each in self._report["backups"]]
        return [
            Check("the bad version was taken back by itself", taken, str(rolled.get("why", "no roll-out began"))),
            Check("a host was drained and came back", drained, ""),
            Check("the report names the back-up", self.site.backup_id in backed, self.site.backup_id),
        ]

    def _timed(self) -> list[Check]:
        share = self._report["availability"]["share"] or 0.0
        down_s = self._report["availability"]["down_s"]
        recoveries = self._report["recoveries"]
        slowest_s = max((each["max_s"] for each in recoveries), default=0.0)
        causes = ", ".join(f"{each['count']} {each['cause'].replace('_', ' ')} ({each['max_s']:.1f} s)" for each in recoveries)
        return [
            Check(f"available {AVAILABLE:.0%}", share >= AVAILABLE, f"{share:.2%}, {down_s:g} s down", timed=True),
            Check(f"recoveries under {RECOVERY_S:g} s", slowest_s < RECOVERY_S, causes, timed=True),
        ]

    def _say(self, text: str) -> None:
        self._bar.update(self._row, completed=self._seconds, clock="24:00", description=text)


def _tasks(arrivals: Iterable[Arrival]) -> list[NewTask]:
    return [NewTask(capability=arrival.capability, input=arrival.asked, retry=RETRY) for arrival in arrivals]


def _first(found: list[str]) -> str:
    return f"{len(found)}, the first: {found[0]}" if found else "none"
