"""The host scaler: makes the local platform have as many hosts as load asks for, where the fleet file says `hosts: {min, max}`.

It writes one wish, `host_scale` of the desired state, refused where that has changed since it was read; the local platform starts
hosts, and drains those that are too many (`platforms/local/crew.py`). `core/scaling_hosts.py` decides; what its windows rest on
is kept in the engine, so the next leader goes on. A fleet with a fixed number costs one number read in five seconds.
"""

from amas.controllers.autoscaler import AGAIN_S, KEEP_MS, PAUSE_S
from amas.controllers.cpu_use import CpuUse
from amas.core.placement import open_hosts
from amas.core.scaling import viewed
from amas.core.scaling_history import ScalingMemory
from amas.core.scaling_hosts import decide_hosts, weight
from amas.engine.desired import DesiredState, Wish
from amas.engine.scaling import ScalingState
from amas.errors import DesiredChanged
from amas.model.desired import Desired, Scale
from amas.model.scaling import AUTOSCALER, HostScaling, HostsSeen, PoolScaling, ScalingDecision
from amas.observe import events
from amas.observe.logging import process_log

REST_S = 5.0
"""Between looks whether the number of hosts follows load by now."""
HOSTS = "hosts"
"""What a view says of whom it is, in a pool's place."""


class HostScaler:
    """Sizes the crew of hosts."""

    name = "host_scaler"

    def __init__(self, state: ScalingState, desired: DesiredState) -> None:
        self._state, self._desired = state, desired
        self._memory = ScalingMemory()
        self._view: PoolScaling | None = None
        self._known, self._kept_ms = False, 0
        self._fixed = -1
        """The last revision at which the number of hosts followed nothing."""
        self._cpu = CpuUse()

    async def run_once(self, *, now_ms: int | None = None) -> float:
        """Want as many hosts as load asks for, and return the seconds until the next look; `now_ms` is for tests."""
        at_ms = self._state.now_ms() if now_ms is None else now_ms
        if self._fixed >= 0 and await self._desired.revision() == self._fixed:
            return REST_S
        desired, live = await self._desired.read_with_hosts()
        if not self._known:
            self._memory, self._view = await self._state.hosts_kept()
            self._known = True
        if desired.fleet is None or (spec := desired.fleet.host_scaling) is None:
            return await self._rest(desired, at_ms)
        self._fixed = -1
        seen = await self._seen(desired, live, at_ms)
        made, memory = decide_hosts(spec, self._memory, seen, hosts=desired.hosts)
        try:
            await self._apply(desired, made)
        except DesiredChanged:
            return AGAIN_S
        await self._keep(spec, made, memory)
        return PAUSE_S

    async def _rest(self, desired: Desired, at_ms: int) -> float:
        """Forget what was remembered of a number that is fixed now."""
        if desired.host_scale is not None:
            why = "the number of hosts is as declared: it doesn't follow load any more"
            await self._desired.change([Wish("host_scale", None)], by=AUTOSCALER, why=why, now_ms=at_ms)
        if self._view is not None:
            await self._state.keep_hosts(ScalingMemory(), None, now_ms=at_ms)
        self._memory, self._view, self._fixed = ScalingMemory(), None, desired.revision
        return REST_S

    async def _seen(self, desired: Desired, live: frozenset[str], at_ms: int) -> HostsSeen:
        loads = await self._state.hosts(now_ms=at_ms)
        self._cpu.take({host: load for host, load in loads.items() if host in live}, at_ms)
        at_work, _ = open_hosts(desired, live)
        cpu = tuple(self._cpu.used[host] for host in at_work if host in self._cpu.used)
        return HostsSeen(at_ms=at_ms, weight=weight(desired), cpu=cpu)

    async def _apply(self, desired: Desired, made: ScalingDecision) -> None:
        if made.replicas == made.before:
            return
        scale = Scale(replicas=made.replicas, by=AUTOSCALER, why=made.reason, at_ms=made.at_ms)
        why = f"the number of hosts {made.reason}"
        wish = Wish("host_scale", scale)
        await self._desired.change([wish], by=AUTOSCALER, why=why, expect=desired.revision, now_ms=made.at_ms)
        said = {"before": made.before, "hosts": made.replicas, "why": made.reason}
        process_log().info("another number of hosts is wanted by load", event=events.HOSTS_SCALED, **said)

    async def _keep(self, spec: HostScaling, made: ScalingDecision, memory: ScalingMemory) -> None:
        """Remember this, and note it where something was decided or half a minute has gone."""
        bounds = spec.scaling
        now = PoolScaling(pool=HOSTS, replicas=made.replicas, min=bounds.min, max=bounds.max)
        view, before = viewed(made, self._view, now), self._view
        self._memory, self._view = memory, view
        if before is None or view.reason != before.reason or made.at_ms - self._kept_ms >= KEEP_MS:
            self._kept_ms = made.at_ms
            await self._state.keep_hosts(memory, view, now_ms=made.at_ms)
