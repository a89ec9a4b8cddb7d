"""Who may use which tool, and what they are told who may not."""

import msgspec
import pytest

from amas.model.fleet import MODEL_AGENT, FleetSpec, PoolSpec
from amas.model.policy import ArgumentTest, CallLimit, Decision, PolicyRule
from amas.model.states import Layer
from amas.policy.judge import as_cedar
from amas.policy.manager import PolicyManager

POOLS = (
    PoolSpec(name="coder", agent=MODEL_AGENT, capabilities=("code.write",), options={"tools": ["read_file"]}),
    PoolSpec(name="chief", agent="x:y", capabilities=("goal.plan",), layer=Layer.EXECUTIVE),
)


def allow(name: str, *tools: str, **said: object) -> PolicyRule:
    return PolicyRule(**{"name": name, "effect": "allow", "tools": tools, **said})


def deny(name: str, *tools: str, **said: object) -> PolicyRule:
    return PolicyRule(**{"name": name, "effect": "deny", "tools": tools, **said})


def manager(*rules: PolicyRule) -> PolicyManager:
    return PolicyManager(FleetSpec(name="fleet", pools=POOLS, policies=rules))


def decided(rules: list[PolicyRule], tool: str, agent: str = "coder-1", tenant: str = "", **arguments: object) -> Decision:
    asked = manager(*rules)
    return asked.decide(asked.call(agent, tool, arguments, tenant=tenant))


def test_what_nobody_allows_is_refused_with_the_way_out() -> None:
    found = decided([], "shell", command="ls")
    assert not found.allowed and found.rules == ()
    assert found.why == (
        "coder-1 may not use 'shell': no rule allows it; "
        "to allow it, add a rule with `allow: shell` and `pools: coder` to the fleet's policies"
    )


def test_what_a_pool_is_granted_is_a_rule_and_a_denial_wins_over_it() -> None:
    assert decided([], "read_file").rules == ("pool:coder",)
    assert not decided([], "read_file", agent="chief-1").allowed
    found = decided([deny("no", "read*", why="nobody reads", at="p.yaml:3")], "read_file")
    assert (found.allowed, found.rules) == (False, ("no",))
    assert found.why == "coder-1 may not use 'read_file': the rule 'no' (p.yaml:3) says: nobody reads"


def test_each_version_of_a_pool_has_what_its_own_declaration_grants() -> None:
    new = msgspec.structs.replace(POOLS[0], name="coder~2", variant_of="coder", options={"tools": ["docs"]})
    asked = PolicyManager(FleetSpec(name="fleet", pools=(*POOLS, new)))
    found = [
        asked.decide(asked.call(agent, tool, {})).rules
        for agent in ("coder-1", "coder~2-1")
        for tool in ("read_file", "docs/search")
    ]
    assert found == [("pool:coder",), (), (), ("pool:coder~2",)]


@pytest.mark.parametrize(
    ("said", "agent", "tenant", "allowed"),
    [
        ({"agents": ("coder-1",)}, "coder-1", "", True),
        ({"agents": ("coder-1",)}, "coder-10", "", False),
        ({"pools": ("cod*",)}, "coder-2", "", True),
        ({"pools": ("cod*",)}, "chief-1", "", False),
        ({"layers": ("executive",)}, "chief-1", "", True),
        ({"layers": ("executive",)}, "coder-1", "", False),
        ({"tenants": ("acme",)}, "coder-1", "acme", True),
        ({"tenants": ("acme",)}, "coder-1", "", False),
        ({"capabilities": ("code.*",)}, "coder-1", "", True),
        ({"capabilities": ("code.*",)}, "chief-1", "", False),
    ],
)
def test_a_rule_is_for_those_whom_it_names(said: dict[str, object], agent: str, tenant: str, allowed: bool) -> None:
    assert decided([allow("it", "shell", **said)], "shell", agent, tenant).allowed is allowed


CONDITIONS = [
    (ArgumentTest(equals="a"), "a", True),
    (ArgumentTest(equals="a"), "ab", False),
    (ArgumentTest(equals=1), 1.0, True),
    (ArgumentTest(equals=1), True, False),
    (ArgumentTest(equals=True), True, True),
    (ArgumentTest(one_of=("x", 2)), 2, True),
    (ArgumentTest(one_of=("x", 2)), "2", False),
    (ArgumentTest(matches=("git *", "ls")), "git log\nfoo", True),
    (ArgumentTest(matches=("git *",)), "sudo git log", False),
    (ArgumentTest(matches=('a"b\\*',)), 'a"b\\c', True),
    (ArgumentTest(under=("/srv/data", ".")), "/srv/data", True),
    (ArgumentTest(under=("/srv/data", ".")), "sub/../x", True),
    (ArgumentTest(under=("/srv/data", ".")), "/srv/database", False),
    (ArgumentTest(under=("/srv/data", ".")), "../x", False),
    (ArgumentTest(host=("*.example.com",)), "https://a.Example.com/", True),
    (ArgumentTest(host=("*.example.com",)), "https://example.com.evil.org/", False),
    (ArgumentTest(at_least=-2.5, at_most=2.5), -2.5, True),
    (ArgumentTest(at_least=-2.5, at_most=2.5), 2.5000001, False),
    (ArgumentTest(at_least=-2.5, at_most=2.5), 10**30, False),
]


@pytest.mark.parametrize(("test", "value", "holds"), CONDITIONS)
def test_conditions_hold_the_same_for_allowing_and_denying(test: ArgumentTest, value: object, holds: bool) -> None:
    assert decided([allow("it", "shell", when={"a b": test})], "shell", **{"a b": value}).allowed is holds
    denying = [allow("all", "*"), deny("it", "shell", when={"a b": test})]
    assert decided(denying, "shell", **{"a b": value}).allowed is not holds


@pytest.mark.parametrize("test", [ArgumentTest(matches=("x",)), ArgumentTest(under=("/etc",)), ArgumentTest(at_least=5)])
@pytest.mark.parametrize("value", [["x"], {"x": 1}, None])
def test_what_cant_be_read_as_asked_counts_against_the_call(test: ArgumentTest, value: object) -> None:
    assert not decided([allow("it", "shell", when={"a": test})], "shell", a=value).allowed
    denying = [allow("all", "*"), deny("it", "shell", when={"a": test}, why="no x here")]
    found = decided(denying, "shell", a=value)
    assert not found.allowed and "the argument 'a' can't be read as" in found.why
    assert decided(denying, "shell", b=1).allowed  # an argument that isn't given is no reason


def test_rules_that_would_allow_it_are_named() -> None:
    here = allow("git", "shell", pools=("coder",), when={"command": ArgumentTest(matches=("git *",))})
    there = allow("chiefs", "shell", pools=("chief",))
    assert "no rule allows it; 'git' does where pools coder, command matches git *" in decided([here, there], "shell").why
    assert "'chiefs' does where pools chief" in decided([there], "shell").why


def test_a_policy_in_cedar_holds_beside_the_rules() -> None:
    own = PolicyRule(
        name="many",
        effect="deny",
        cedar='forbid (principal in Pool::"coder", action, resource) when { context.arguments.n > 3 };',
    )
    rules = [allow("all", "*"), own]
    assert not decided(rules, "shell", n=4).allowed and decided(rules, "shell", n=3).allowed
    assert decided(rules, "shell", agent="chief-1", n=4).allowed
    failing = decided(rules, "shell", n="4")  # Cedar itself would leave out a forbid that fails
    assert not failing.allowed and failing.rules == ("many",) and "a denial that fails denies" in failing.why
    server = PolicyRule(
        name="s", effect="allow", cedar='permit (principal, action == Action::"use", resource in Server::"github");'
    )
    assert decided([server], "github/search").allowed and not decided([server], "gitlab/search").allowed


def test_arguments_that_cant_be_told_to_cedar_dont_get_past_a_denial() -> None:
    own = PolicyRule(name="own", effect="deny", cedar='forbid (principal, action, resource) when { context.arguments.a == "x" };')
    found = decided([allow("all", "*"), own], "shell", a={"__entity": {"type": "Agent", "id": "x"}})
    assert not found.allowed


async def test_new_rules_hold_for_the_next_call_and_bad_ones_leave_the_old_in_force() -> None:
    asked = manager(allow("it", "shell"))
    call = asked.call("coder-1", "shell", {})
    assert (await asked.permit(call)).allowed
    assert asked.follow(FleetSpec(name="fleet", pools=POOLS)) == ""
    assert not (await asked.permit(call)).allowed
    broken = PolicyRule(name="b", effect="allow", cedar="permit (everybody);")
    assert "isn't Cedar" in asked.follow(FleetSpec(name="fleet", pools=POOLS, policies=(allow("it", "shell"), broken)))
    assert not (await asked.permit(call)).allowed and [rule.name for rule in asked.rules] == ["pool:coder"]


async def test_without_an_engine_what_is_limited_is_refused() -> None:
    limit = CallLimit(calls=3, per_s=60)
    asked = manager(allow("it", "shell", limit=limit))
    found = await asked.permit(asked.call("coder-1", "shell", {}))
    assert not found.allowed and "its limit is kept in the engine" in found.why


def test_what_is_shown_as_cedar_is_cedar() -> None:
    rules = [allow("it", "shell", when={"x": test}) for test, _, _ in CONDITIONS]
    text = as_cedar([msgspec.structs.replace(rule, name=f"it{n}") for n, rule in enumerate(rules)])
    own = [PolicyRule(name=f"own{n}", effect="allow", cedar=part) for n, part in enumerate(text.split("\n\n"))]
    asked = manager(*own)
    assert len(asked.rules) == len(CONDITIONS) + 1
