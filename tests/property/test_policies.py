"""Whatever the rules: a denial wins, more allows never refuse, more denials never allow, and the order says nothing."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.policy import ArgumentTest, Decision, PolicyRule, ToolCall
from amas.policy.manager import PolicyManager

POOLS = tuple(PoolSpec(name=name, agent="x:y", capabilities=(f"{name}.do",)) for name in ("coder", "chief"))
TOOLS = ("shell", "read_file", "github/search")
TEXTS = st.sampled_from(["git log", "rm -rf /", "/etc/passwd", "notes.txt", "../x", "https://api.example.com/x", ""])
VALUES = st.one_of(TEXTS, st.booleans(), st.integers(-5, 5), st.floats(), st.none(), st.lists(TEXTS, max_size=2))

tests = st.one_of(
    st.builds(lambda one: ArgumentTest(equals=one), st.one_of(TEXTS, st.booleans(), st.integers(-5, 5))),
    st.builds(
        lambda globs: ArgumentTest(matches=tuple(globs)), st.lists(st.sampled_from(["git *", "*/*", "*"]), min_size=1, max_size=2)
    ),
    st.builds(lambda folder: ArgumentTest(under=(folder,)), st.sampled_from(["/etc", "."])),
    st.builds(lambda: ArgumentTest(host=("*.example.com",))),
    st.builds(lambda bound: ArgumentTest(at_most=bound), st.integers(-5, 5)),
    st.builds(lambda bound: ArgumentTest(at_least=bound), st.integers(-5, 5)),
)


def globs(*choices: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(choices), max_size=2).map(tuple)


rules = st.builds(
    PolicyRule,
    name=st.uuids().map(str),
    effect=st.sampled_from(["allow", "deny"]),
    tools=st.lists(st.sampled_from([*TOOLS, "*", "read*"]), min_size=1, max_size=2).map(tuple),
    agents=globs("coder-1", "*-2"),
    pools=globs("coder", "ch*"),
    tenants=globs("acme", ""),
    when=st.dictionaries(st.sampled_from(["a", "b"]), tests, max_size=2),
)
calls = st.builds(
    lambda agent, tenant, tool, arguments: ToolCall(
        agent=agent, pool=agent[:-2], layer="specialist", tenant=tenant, tool=tool, arguments=arguments
    ),
    st.sampled_from(["coder-1", "coder-2", "chief-1"]),
    st.sampled_from(["", "acme"]),
    st.sampled_from(TOOLS),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3),
)


def decided(said: list[PolicyRule], call: ToolCall) -> Decision:
    return PolicyManager(FleetSpec(name="fleet", pools=POOLS, policies=tuple(said))).decide(call)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rules, max_size=6, unique_by=lambda rule: rule.name), rules, calls, st.randoms())
def test_a_denial_wins_and_nothing_else_matters(said: list[PolicyRule], more: PolicyRule, call: ToolCall, random: object) -> None:
    before = decided(said, call)
    each_alone = {rule.name: decided([rule], call) for rule in said if rule.effect == "allow"}
    everything = PolicyRule(name="everything", effect="allow")
    denying = {rule.name for rule in said if rule.effect == "deny" and not decided([everything, rule], call).allowed}
    allowing = {name for name, alone in each_alone.items() if alone.allowed}

    assert before.allowed == (bool(allowing) and not denying)
    assert set(before.rules) == (denying or allowing)
    shuffled = list(said)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = decided(shuffled, call)
    assert (again.allowed, again.rules) == (before.allowed, before.rules)
    after = decided([*said, more], call)
    if more.effect == "allow":
        assert after.allowed or not before.allowed
    else:
        assert before.allowed or not after.allowed
    assert before.allowed or before.why
