"""What is wrong with rules, what is probably not meant, and how they read."""

import pytest

from amas.core.policies import Known, KnownPool, limit_told, matches, problems, told, warnings
from amas.model.policy import ArgumentTest, CallLimit, PolicyRule

KNOWN = Known(
    pools=(
        KnownPool(name="coder", layer="specialist", capabilities=("code.write",)),
        KnownPool(name="chief", layer="executive", capabilities=("goal.plan",)),
    ),
    tools=("shell", "read_file", "github/search"),
)


def rule(name: str = "one", **said: object) -> PolicyRule:
    return PolicyRule(**{"name": name, "effect": "allow", "tools": ("shell",), **said})


@pytest.mark.parametrize(
    ("said", "field", "words"),
    [
        ({"tools": ("shel",)}, "allow", "there is no tool 'shel' (did you mean 'shell'?)"),
        ({"tools": ("",)}, "allow", "names no tool"),
        ({"pools": ("codr",)}, "pools", "did you mean 'coder'?"),
        ({"layers": ("boss",)}, "layers", "there is no layer 'boss'"),
        ({"capabilities": ("text.*",)}, "capabilities", "there is no capability 'text.*'"),
        ({"agents": ("painter-1",)}, "agents", "no pool has an agent 'painter-1'"),
        ({"pools": ("coder",), "layers": ("executive",)}, "", "can never match: no pool"),
        ({"pools": ("coder",), "agents": ("chief-1",)}, "", "can never match: no pool"),
        ({"when": {"n": ArgumentTest()}}, "when.n", "says nothing"),
        ({"when": {"n": ArgumentTest(at_least=3, at_most=2)}}, "when.n", "nothing is at least 3 and at most 2"),
        ({"when": {"n": ArgumentTest(at_least=3, matches=("x",))}}, "when.n", "both a number and a text"),
        ({"when": {"n": ArgumentTest(equals=3, at_most=5)}}, "when.n.equals", "says it all"),
        ({"when": {"n": ArgumentTest(at_most=1e15)}}, "when.n.at_most", "can't be compared"),
        ({"when": {"n": ArgumentTest(one_of=(), matches=("x",))}}, "when.n.in", "the list is empty"),
        ({"when": {"p": ArgumentTest(under=("~/x",))}}, "when.p.under", "is no folder"),
        ({"when": {"u": ArgumentTest(host=("https://x",))}}, "when.u.host", "is no host"),
        ({"limit": CallLimit(calls=0, per_s=60)}, "limit.calls", "is 0"),
        ({"limit": CallLimit(calls=1, per_s=0.1)}, "limit.per", "must be from 1s"),
        ({"name": "pool:coder"}, "name", "is how grants of pools are called"),
        ({"name": "a b"}, "name", "is no name"),
    ],
)
def test_what_must_be_mended_is_told_with_its_field(said: dict[str, object], field: str, words: str) -> None:
    found = next(problems([rule(**said)], KNOWN))
    assert found.field == field and words in found.message


def test_sound_rules_have_no_problems() -> None:
    sound = [
        rule(tools=("sh*", "github/*", "github/new"), pools=("cod*",), layers=("specialist",), capabilities=("code.*",)),
        rule("two", agents=("coder-1", "*"), when={"x": ArgumentTest(equals=False), "y": ArgumentTest(one_of=("", 2.5))}),
    ]
    assert list(problems(sound, KNOWN)) == []
    assert [each.field for each in problems([rule(), rule()], KNOWN)] == ["name", "name"]


def test_rules_that_do_nothing_are_warned_of() -> None:
    rules = [
        rule("shell", pools=("coder",)),
        rule("none", effect="deny", tools=("sh*",)),
        rule("useless", effect="deny", tools=("write*",)),
        rule("part", effect="deny", tools=("shell",), when={"x": ArgumentTest(equals=1)}),
    ]
    assert [(rules[each.rule].name, each.message.partition(":")[0]) for each in warnings(rules)] == [
        ("shell", "allows nothing"),
        ("useless", "denies what no rule allows"),
    ]
    assert not list(warnings([rule(tools=("a*z",)), rule("deny", effect="deny", tools=("*b*",))]))  # both are about "abz"


@pytest.mark.parametrize(
    ("glob", "text", "found"), [("a*", "a\nb", True), ("a?", "ab", False), ("[a]", "a", False), ("*b", "ab", True)]
)
def test_only_the_star_is_special(glob: str, text: str, found: bool) -> None:
    assert matches([glob], text) is found


def test_rules_read_as_words() -> None:
    asked = rule(pools=("a", "b"), when={"path": ArgumentTest(under=("/srv",)), "n": ArgumentTest(at_least=1, at_most=2)})
    assert told(asked) == "pools a or b, path lies under /srv, n is at least 1 and is at most 2"
    assert limit_told(CallLimit(calls=3, per_s=7200, each="agent")) == "3 calls of each agent within 2h"
