"""`PerformanceMonitor`: how the fleet does, what it costs and takes, and which sizes its work asks for.

    monitor = get_performance_monitor()
    print((await monitor.get_performance_metrics()).average_response_s)
    for pool in (await monitor.get_analytics(hours=24)).pools:
        print(pool.name, pool.success_rate, pool.p99_s)

What it says is what the control plane says (docs/api.md), in its types: programs and the web page see the same figures.
"""

from amas.core.savings import Savings
from amas.model.report import FleetReport
from amas.model.scaling import ScalingBoard
from amas.programs.link import Link
from amas.records.views import Analytics
from amas.server.shapes import CostPage, FleetFigures
from amas.server.usage_shapes import FleetUsage


class PerformanceMonitor:
    """Figures of the running fleet. Each method asks its control plane; amas.rest.RestError says why there is no answer."""

    def __init__(self, link: Link | None = None) -> None:
        """`link`: by default the fleet in AMAS_HOME."""
        self._link = link or Link()

    async def get_performance_metrics(self) -> FleetFigures:
        """Return the figures of now: agents by status, tasks by state and a second, response, success, utilisation, cost."""
        return await self._link.api(lambda client: client.fleet.figures())

    async def get_analytics(self, *, hours: float = 24.0) -> Analytics:
        """Return what ended in the last `hours` by capability, layer and pool: counts, success, mean, p50, p99."""
        return await self._link.api(lambda client: client.fleet.analytics(hours=hours))

    async def get_report(self, *, since_s: float = 86_400.0) -> FleetReport:
        """Return how the fleet did in the last `since_s` seconds: availability, response, recoveries, utilisation, cost."""
        return await self._link.api(lambda client: client.fleet.report(since_s=since_s))

    async def get_usage(self) -> FleetUsage:
        """Return what CPU, memory, network and disk the fleet's processes take."""
        return await self._link.api(lambda client: client.fleet.usage())

    async def get_costs(self, *, by: str = "pool", limit: int = 50) -> CostPage:
        """Return what work has cost by `tenant`, `workflow`, `pool`, `agent`, `model`, `day` or `task`, the dearest first."""
        return await self._link.api(lambda client: client.fleet.costs(by=by, limit=limit))

    async def get_savings(self) -> Savings:
        """Return which optimisations are at work, and what they keep the fleet from paying."""
        return (await self.get_usage()).savings

    async def get_scaling_decisions(self) -> ScalingBoard:
        """Return how many agents each scaled pool has, how many its work asks for, why, and the last changes; hosts likewise."""
        return await self._link.api(lambda client: client.fleet.scaling())
