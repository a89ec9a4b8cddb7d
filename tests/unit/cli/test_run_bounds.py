from amas.cli.run import Bounds


def test_only_what_was_said_bounds_a_goal() -> None:
    assert Bounds().fields() == {}
    assert Bounds(usd=0.0, deadline_s=60).fields() == {"budget": {"usd": 0.0}, "deadline_s": 60}
    assert Bounds(tokens=5, agent_s=1.5).fields() == {"budget": {"tokens": 5, "agent_s": 1.5}}
