"""What agents tell of themselves (`BaseAgent.report_metrics`), added up by pool for their host's beats.

Only agents whose class has a `report_metrics` of its own are asked, in the host's loop, so it must be quick; what `BaseAgent`'s
says of every agent the fleet knows anyhow. An isolated agent's code runs elsewhere, and isn't asked.
"""

import asyncio
from collections.abc import Mapping
from itertools import islice
from math import isfinite

from amas.agents.attempt import Seat
from amas.agents.base import BaseAgent
from amas.agents.isolation import ProcessAgent
from amas.observe import events
from amas.observe.logging import Log

LOOK_S = 2.0
"""Between two looks: as often as a host beats."""
NAMES_MAX = 20
"""Of one pool: they become labels of a metric, which mustn't be without end."""
NAME_CHARS_MAX = 64


def has_figures(kind: type[BaseAgent]) -> bool:
    """Return whether agents of this class tell figures of their own."""
    return kind.report_metrics is not BaseAgent.report_metrics and not issubclass(kind, ProcessAgent)


class OwnFigures:
    """Of one host's agents."""

    def __init__(self, seats: Mapping[str, Seat], log: Log) -> None:
        """`seats`: of the agents that are made; it changes while this looks."""
        self._seats, self._log = seats, log
        self._failing: set[str] = set()
        self.told: Mapping[str, dict[str, float]] = {}
        """By pool, the sums of what its agents said last; made anew by each look and never changed after."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Ask every agent that has something to tell."""
        told: dict[str, dict[str, float]] = {}
        kinds = {type(seat.agent) for seat in self._seats.values()}
        tellers = {kind for kind in kinds if has_figures(kind)}
        for seat in self._seats.values() if tellers else ():
            if type(seat.agent) in tellers:
                sums = told.setdefault(seat.pool.name, {})
                for name, value in self._of(seat).items():
                    if name in sums or len(sums) < NAMES_MAX:
                        sums[name] = sums.get(name, 0.0) + value
        self.told = told

    def _of(self, seat: Seat) -> dict[str, float]:
        agent_id = seat.agent.agent_id
        try:
            said = {
                str(name)[:NAME_CHARS_MAX]: float(value) for name, value in islice(seat.agent.report_metrics().items(), NAMES_MAX)
            }
        except Exception as error:  # noqa: BLE001  the agent's code may raise anything
            if agent_id not in self._failing:  # once, and again when it has told something meanwhile
                self._failing.add(agent_id)
                self._log.warning("an agent's figures can't be had", event=events.AGENT_MUTE, agent_id=agent_id, why=repr(error))
            return {}
        self._failing.discard(agent_id)
        return {name: value for name, value in said.items() if isfinite(value)}
