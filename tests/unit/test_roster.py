"""The agents of a fleet from what its hosts say: counted, found and listed, whichever hosts tell of them."""

from collections import Counter

import pytest

from amas.engine.hosts import HostAbout, HostFigures, HostView, PoolCard
from amas.engine.roster import Roster
from amas.model.numbers import count, expand, named, ranges, within
from amas.model.states import AgentStatus

IDLE, WORKING, ERROR, HEALING = AgentStatus.IDLE, AgentStatus.WORKING, AgentStatus.ERROR, AgentStatus.HEALING


def host(name: str, *cards: tuple[str, tuple[tuple[int, int], ...]], until: int = 100, since: int = 0, **more) -> HostView:
    about = HostAbout(1, "here", "1", tuple(PoolCard(pool, "specialist", "", pool, "1", 1, numbers) for pool, numbers in cards))
    return HostView(
        id=name,
        lease_until_ms=until,
        since_ms=since,
        about=about,
        figures=HostFigures(troubled=more.get("troubled", ())),
        running=more.get("running", {}),
    )


def test_numbers_are_ranges_in_order_and_apart() -> None:
    assert ranges([7, 1, 3, 2, 3]) == ((1, 3), (7, 7))
    assert ranges([]) == ()
    numbers = ((1, 3), (7, 7))
    assert (count(numbers), list(expand(numbers))) == (4, [1, 2, 3, 7])
    assert [number for number in range(10) if within(number, numbers)] == [1, 2, 3, 7]


@pytest.mark.parametrize("strange", ["", "worker", "worker-", "-1", "worker-0", "worker-x", "worker-²", "worker-01"])
def test_what_is_no_agent_s_id_is_nobody(strange: str) -> None:
    assert named(strange) == ("", 0)
    assert named("code-review-17") == ("code-review", 17)


@pytest.mark.requirement("B2")
def test_a_silent_host_s_agents_are_healing_whatever_they_did() -> None:
    doing = {"troubled": ("a-1",), "running": {"t1": "a-1", "t2": "a-2", "t3": "amas-flow-h-1"}}
    alive, silent = (Roster([host("h", ("a", ((1, 3),)), until=until, **doing)], now_ms=50) for until in (51, 49))
    assert alive.count() == Counter({ERROR: 1, WORKING: 1, IDLE: 1})
    assert silent.count() == Counter({HEALING: 3})
    assert [seen.status for seen in alive.agents()] == [ERROR, WORKING, IDLE]
    assert [seen.status for seen in silent.agents()] == [HEALING] * 3


def test_an_agent_that_two_hosts_tell_of_is_shown_once_on_the_one_that_lives_and_came_last() -> None:
    roster = Roster(
        [
            host("dead", ("a", ((1, 9),)), until=1, since=30),
            host("old", ("a", ((3, 5),)), since=10),
            host("new", ("a", ((4, 4), (8, 12))), since=20),
        ],
        now_ms=50,
    )
    assert [(span.first, span.last, span.host.id) for span in roster.spans["a"]] == [
        (1, 2, "dead"), (3, 3, "old"), (4, 4, "new"), (5, 5, "old"), (6, 7, "dead"), (8, 12, "new"),
    ]  # fmt: skip
    assert roster.count() == Counter({IDLE: 8, HEALING: 4})
    assert roster.count(host_id="old") == Counter({IDLE: 2})
    found = roster.find("a-4")
    assert found and found.span.host.id == "new"
    assert roster.find("a-13") is None and roster.find("b-1") is None and roster.find("nobody") is None


def test_pages_follow_each_other_by_pool_and_number() -> None:
    roster = Roster([host("h1", ("b", ((1, 12),)), ("a", ((2, 3),))), host("h2", ("b", ((13, 14),)))], now_ms=0)
    everybody = [seen.agent_id for seen in roster.agents()]
    assert everybody == ["a-2", "a-3", *(f"b-{number}" for number in range(1, 15))]
    paged, after = [], ""
    while page := [seen.agent_id for seen, _ in zip(roster.agents(after=after), range(3), strict=False)]:
        paged += page
        after = page[-1]
    assert paged == everybody
    assert [seen.agent_id for seen in roster.agents(pools={"b"}, host_id="h2", status=IDLE)] == ["b-13", "b-14"]


@pytest.mark.parametrize("status", [IDLE, WORKING, ERROR, HEALING])
def test_a_list_by_status_is_the_whole_list_s_part_and_looks_at_nobody_else(status, monkeypatch: pytest.MonkeyPatch) -> None:
    doing = {"running": {"t1": "a-17", "t2": "a-29999", "t3": "b-2"}, "troubled": ("a-3", "a-29999")}
    busy, silent = host("h1", ("a", ((1, 30_000),)), ("b", ((1, 9),)), **doing), host("h2", ("c", ((1, 4),)), until=1)
    roster = Roster([busy, silent], now_ms=9)
    asked_about: list[str] = []
    known = Roster._status

    def noted(self: Roster, agent_id: str, span) -> AgentStatus:
        asked_about.append(agent_id)
        return known(self, agent_id, span)

    everybody = [seen.agent_id for seen in roster.agents() if seen.status is status]
    monkeypatch.setattr(Roster, "_status", noted)
    assert [seen.agent_id for seen in roster.agents(status=status)] == everybody == asked_about
    assert len(everybody) == roster.count()[status]
    after = everybody[0]
    assert [seen.agent_id for seen in roster.agents(status=status, after=after)] == everybody[1:]
