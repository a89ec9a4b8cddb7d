"""Cron: submits what schedules ask for when their time comes.

Times count by the engine's clock. Each firing and the schedule's next time are one call of the engine, under ids that follow from
the schedule's name and the time, so that nothing is submitted twice or left out, whoever leads and whenever it dies.
"""

from amas.artifacts.values import LargeValues
from amas.clock import timed_id
from amas.controllers.figures import Figures
from amas.core import cron
from amas.engine.queue import make_submission
from amas.engine.schedules import DueSchedule, Firing, Schedules
from amas.errors import AmasError, EngineError
from amas.model.fleet import FleetLimits, FleetSpec
from amas.model.schedule import Schedule
from amas.model.task import TaskSpec
from amas.observe import events
from amas.observe.logging import process_log
from amas.observe.tracing import beginning, current
from amas.orchestration.submission import goal_submission

PAUSE_MAX_S = 1.0
"""A schedule that is put while the duty sleeps starts at most this late."""
SCHEDULES_PER_SWEEP_MAX = 100


NO_STORE = LargeValues(None)


class Cron:
    """Fires schedules."""

    name = "cron"

    def __init__(self, schedules: Schedules, figures: Figures, *, limits: FleetLimits, values: LargeValues = NO_STORE) -> None:
        """`values`: what seals what is submitted."""
        self._schedules, self._figures, self._limits, self._values = schedules, figures, limits, values

    def follow(self, fleet: FleetSpec) -> None:
        """Submit goals under the limits of this fleet from now on."""
        self._limits = fleet.limits

    async def run_once(self) -> float:
        """Fire what is due and return the seconds until something is due again, a second at most."""
        found = await self._schedules.due(limit=SCHEDULES_PER_SWEEP_MAX)
        for each in found.due:
            await self._fire(each, found.now_ms)
        if found.due:
            return 0.0
        wait_s = (found.next_ms - found.now_ms) / 1000 if found.next_ms else PAUSE_MAX_S
        return min(wait_s, PAUSE_MAX_S)

    async def _fire(self, found: DueSchedule, now_ms: int) -> None:
        schedule, next_ms = found.schedule, 0
        try:
            at_ms, next_ms = cron.turn(schedule, found.due_ms, now_ms)
            if not at_ms:
                await self._schedules.fire(found, None, next_ms=next_ms)
                return
            with beginning(f"schedule {schedule.name}", {"amas.schedule": schedule.name}):
                fate = await self._schedules.fire(found, self._firing(schedule, at_ms, now_ms), next_ms=next_ms)
        except EngineError:
            raise
        except AmasError as error:  # one schedule's trouble is no other's; it is tried again with the next time
            self._figures.schedules_refused += 1
            process_log().warning(
                "a schedule could not submit", event=events.SCHEDULE_REFUSED, schedule=schedule.name, why=str(error)
            )
            await self._schedules.fire(found, None, next_ms=next_ms or cron.next_ms(schedule, now_ms))
            return
        if fate == "fired":
            self._figures.schedules_fired += 1

    def _firing(self, schedule: Schedule, at_ms: int, now_ms: int) -> Firing:
        first = timed_id(at_ms, schedule.name)
        if schedule.goal is not None:
            root_id = timed_id(at_ms, f"{schedule.name}/root")
            goal = self._values.heard(schedule.goal)
            opening, submission = goal_submission(
                goal, limits=self._limits, workflow_id=first, root_id=root_id, now_ms=now_ms, values=self._values
            )
            return Firing(at_ms, first, [submission], opening)
        assert schedule.task is not None
        task, traceparent = schedule.task, current()
        spec = TaskSpec(
            capability=task.capability,
            input=task.input,
            key=f"{schedule.name}@{at_ms}",
            title=task.title,
            timeout_s=task.timeout_s,
            retry=task.retry,
            tenant=task.tenant,
            traceparent=traceparent,
            submitted_ms=now_ms if traceparent else 0,
        )
        return Firing(at_ms, first, [make_submission(first, spec, priority=task.priority, pool=task.pool, cost_s=task.cost_s)])
