"""What a fleet at full size is measured by, on a small one: counts that hold on any machine; seconds are the benchmark's."""

from pathlib import Path

import pytest
from benchmarks.fleet30k import curve, kills, latency, rate, scale
from benchmarks.fleet30k.place import Place, up

FLEET = """\
name: small
hosts: 1
limits: {max_agents_per_pool: 50, max_total_agents: 100, max_agent_spawn_rate: 100}
pools:
  - {name: one, agent: "amas.agents.stand_in:StandIn", capabilities: [work.one], replicas: 20}
  - {name: two, agent: "amas.agents.stand_in:StandIn", capabilities: [work.two], replicas: 20}
"""


async def _announcements(place: Place) -> int:
    """Return how often hosts have said anew what they have."""
    engine = place.client.engine
    return sum([int(await engine.client.hget(engine.key("h", host.id), "said") or 0) for host in await place.hosts()])


@pytest.mark.timeout(300)
async def test_nothing_is_lost_or_doubled_and_ten_thousand_agents_are_a_few_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMAS_LEASE_S", "5")  # a slow moment ends none, and a killed host's is soon over
    monkeypatch.setenv("AMAS_BEAT_EVERY_S", "0.5")
    path = tmp_path / "small.yaml"
    path.write_text(FLEET)
    agents = 10_000
    async with up(str(path), more=kills.POOLS + scale.pools(agents), most=agents) as place:
        found = await rate.measure(place, tasks=300, runs=1)
        assert (found["queues"], found["success_percent"]) == (3, 100.0)
        assert rate.rows(found | {"beside": found})

        paced = await latency.measure(place, per_s=200, seconds=0.5, runs=1)
        assert (paced["details"]["runs"][0]["tasks"], paced["succeeded_percent"]) == (100, 100.0)
        assert latency.rows(paced)

        before = await _announcements(place)
        resized = await scale.measure(place, to=agents, runs=1)
        assert resized["revisions"] == 2, "the wish, and all that follows from it dealt at once"
        assert await _announcements(place) - before <= 3 * 2, "a host says ten thousand agents in one call a revision"
        assert scale.rows(resized)

        grown = await curve.measure(place, sizes=[1_000], idle_s=0.1)
        assert [point["agents"] for point in grown["points"]] == [scale.declared(place), 1_000]
        assert curve.rows(grown)

        await scale.change(place, len(scale.names(agents)), scale.names(agents))  # as the file says
        killed = await kills.measure(place, kills=1, restarts=0)
        assert (killed["lost"], killed["doubled"]) == (0, 0)
        assert killed["details"]["gone"][0]["tasks"], "it had its hands full"
        assert kills.rows(killed)
