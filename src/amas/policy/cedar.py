"""Policies in Cedar: what a rule compiles to, policies of .cedar files, and asking for a decision. Only here is `cedarpy`.

A call is `principal` Agent (attributes name, pool, layer, tenant, capabilities; in its Pool, Layer, Tenant and Capability),
`action` Action::"use", `resource` Tool (attributes name, server; in its Server), and `context`: `arguments` as the agent gave
them, and what `core/arguments.py` reads from those that rules ask for. Cedar decides: a permit is needed, any forbid wins.

A rule asks for nothing that could fail to be evaluated. A policy of a .cedar file may: a permit that fails permits nothing, as in
Cedar; a forbid that fails refuses the call, else a wrong type would get past it.

Source: docs.cedarpolicy.com (syntax, authorization), and the installed cedarpy.
"""

import json
import re
import string
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from amas.core.arguments import folder_of, millionths
from amas.model.policy import ArgumentTest, Effect, PolicyRule, Scalar
from amas.model.task import Json

if TYPE_CHECKING:
    from cedarpy import Entities, PolicySet

_PLAIN = frozenset(string.ascii_letters + string.digits + " -_./:")
_KINDS = {"allow": "permit", "deny": "forbid"}
_FAILED = re.compile(r"while evaluating policy `([^`]*)`")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|;', re.DOTALL)


class CedarInvalid(Exception):
    """A policy that Cedar doesn't take; `line` counts from 1 within its text."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line


class Who(NamedTuple):
    """An agent and its place."""

    agent: str
    pool: str
    layer: str
    tenant: str
    capabilities: tuple[str, ...]


class Verdict(NamedTuple):
    """What Cedar says of a call."""

    allowed: bool
    rules: tuple[str, ...]
    """Those that decided."""
    failed: tuple[str, ...] = ()
    """Denials that couldn't be evaluated."""
    error: str = ""
    """Why it couldn't be asked at all."""


# -- rules to Cedar


def compiled(rule: PolicyRule) -> str:
    """Return the policy of a rule, named by an annotation."""
    if rule.cedar:
        return _renamed(rule)
    place = (("name", rule.agents), ("pool", rule.pools), ("layer", rule.layers), ("tenant", rule.tenants))
    asked = [_like("resource.name", rule.tools)]
    asked += [_like(f"principal.{name}", globs) for name, globs in place]
    asked += [_capable(rule.capabilities)] if rule.capabilities else []
    asked += [_test(argument, test, rule.effect) for argument, test in rule.when.items()]
    if rule.limit is not None and rule.effect == "deny":
        asked.append(f"context.beyond.contains({_text(rule.name)})")
    parts = [part for part in asked if part]
    when = " when {\n  " + " &&\n  ".join(parts) + "\n}" if parts else ""
    return f'@id({_text(rule.name)})\n{_KINDS[rule.effect]} (principal, action == Action::"use", resource){when};'


def _renamed(rule: PolicyRule) -> str:
    """Return a policy of a file under the name that it has here, whether its author named it or not."""
    import cedarpy

    found = json.loads(cedarpy.policies_to_json_str(rule.cedar))
    for policy in found["staticPolicies"].values():
        policy.setdefault("annotations", {})["id"] = rule.name
    return cedarpy.policies_from_json_str(json.dumps(found))


def _text(text: str) -> str:
    """Return a text as Cedar writes one, whatever is in it."""
    return '"' + "".join(one if one in _PLAIN else f"\\u{{{ord(one):x}}}" for one in text) + '"'


def _glob(glob: str) -> str:
    """Return a glob as Cedar writes one."""
    return '"' + "*".join(_text(part)[1:-1] for part in glob.split("*")) + '"'


def _like(what: str, globs: Sequence[str]) -> str:
    return "" if not globs or "*" in globs else "(" + " || ".join(f"{what} like {_glob(glob)}" for glob in globs) + ")"


def _capable(globs: Sequence[str]) -> str:
    """Return the test whether a pool has one of these; whoever prepares the call has looked which of its capabilities match."""
    return "context.capable.containsAny([" + ", ".join(map(_text, globs)) + "])"


def _test(argument: str, test: ArgumentTest, effect: Effect) -> str:
    """Return the test of one argument. One that was given, but can't be read as what is asked for, counts against the call."""
    parts = []
    if test.equals is not None:
        parts.append(_equals(argument, test.equals))
    if test.one_of is not None:
        parts.append("(" + " || ".join(_equals(argument, each) for each in test.one_of) + ")")
    for kind, globs in (
        ("texts", test.matches),
        ("folders", [f"{folder_of(each)}*" for each in test.under]),
        ("hosts", test.host),
    ):
        if globs:
            value = f"context.{kind}[{_text(argument)}]"
            told = "(" + " || ".join(f"{value} like {_glob(glob)}" for glob in globs) + ")"
            parts.append(_known(kind, argument, told, effect))
    for kind, sign, bound in (("least", ">=", test.at_least), ("most", "<=", test.at_most)):
        if bound is not None:
            told = f"context.{kind}[{_text(argument)}] {sign} {_long(bound)}"
            parts.append(_known(kind, argument, told, effect))
    return " && ".join(parts)


def _known(kind: str, argument: str, told: str, effect: Effect) -> str:
    name = _text(argument)
    if effect == "allow":
        return f"(context.{kind} has {name} && {told})"
    return f"(if context.{kind} has {name} then {told} else context.given.contains({name}))"


def _equals(argument: str, value: Scalar) -> str:
    name = _text(argument)
    if isinstance(value, bool):
        return f"(context.flags has {name} && context.flags[{name}] == {str(value).lower()})"
    if isinstance(value, str):
        return f"(context.texts has {name} && context.texts[{name}] == {_text(value)})"
    exact = _long(value)
    return f"(context.least has {name} && context.least[{name}] == {exact} && context.most[{name}] == {exact})"


def _long(number: float) -> str:
    exact = millionths(number)[0]
    return f"({exact})" if exact < 0 else str(exact)


# -- policies of .cedar files


class Statement(NamedTuple):
    """One policy of a file."""

    line: int
    name: str
    """Of its `@id`; "" without one."""
    effect: Effect
    why: str
    """Of its `@why`."""
    text: str


def statements(text: str) -> Iterator[Statement]:
    """Yield the policies of a file; CedarInvalid at the first that isn't one."""
    start = 0
    for found in _TOKEN.finditer(text):
        if found[0] == ";":
            yield _statement(text, start, found.end())
            start = found.end()
    rest = _TOKEN.sub(lambda found: "" if found[0].startswith("//") else found[0], text[start:])
    if rest.strip():
        raise CedarInvalid("a policy ends with a semicolon: add it", _line(text, start))


def _line(text: str, start: int) -> int:
    """Return the line where a policy begins, behind what is empty or a comment."""
    while behind := re.match(r"\s+|//[^\n]*", text[start:]):
        start += behind.end()
    return text.count("\n", 0, start) + 1


def _statement(text: str, start: int, end: int) -> Statement:
    import cedarpy

    line, one = _line(text, start), text[start:end].strip()
    try:
        found = json.loads(cedarpy.policies_to_json_str(one))
    except ValueError as error:
        raise CedarInvalid(f"isn't Cedar: {error}", line) from error
    if len(found["staticPolicies"]) != 1:
        raise CedarInvalid("is a template, which nobody here fills in: write who and what is meant in place of its slots", line)
    (policy,) = found["staticPolicies"].values()
    notes = policy.get("annotations", {})
    effect: Effect = "allow" if policy["effect"] == "permit" else "deny"
    return Statement(line, notes.get("id") or "", effect, notes.get("why") or "", one)


def why_not_cedar(rule: PolicyRule) -> str:
    """Return why a rule's text isn't the one policy, with the rule's effect, that it is said to be; "" when it is."""
    try:
        found = [each.effect for each in statements(rule.cedar)]
    except CedarInvalid as error:
        return str(error)
    return "" if found == [rule.effect] else f"must be one policy, a {_KINDS[rule.effect]}"


# -- asking


def policy_set(rules: Sequence[PolicyRule]) -> "PolicySet":
    """Return rules prepared for `ask`; CedarInvalid when one isn't Cedar."""
    import cedarpy

    try:
        return cedarpy.PolicySet.from_str("\n".join(map(compiled, rules)))
    except ValueError as error:
        raise CedarInvalid(f"isn't Cedar: {error}", 1) from error


@lru_cache(maxsize=4096)
def entities(who: Who, tool: str) -> "Entities":
    """Return an agent and a tool as Cedar's entities; 40 us where they weren't made lately."""
    import cedarpy

    server = tool.partition("/")[0] if "/" in tool else ""
    above = [
        ("Pool", who.pool),
        ("Layer", who.layer),
        ("Tenant", who.tenant),
        *(("Capability", each) for each in who.capabilities),
    ]
    agent = {
        "name": who.agent,
        "pool": who.pool,
        "layer": who.layer,
        "tenant": who.tenant,
        "capabilities": list(who.capabilities),
    }
    made = [
        {"uid": _uid("Agent", who.agent), "attrs": agent, "parents": [_uid(*each) for each in above]},
        {
            "uid": _uid("Tool", tool),
            "attrs": {"name": tool, "server": server},
            "parents": [_uid("Server", server)] if server else [],
        },
    ]
    return cedarpy.Entities.from_json_str(json.dumps(made))


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def ask(policies: "PolicySet", who: Who, tool: str, context: dict[str, Json]) -> Verdict:
    """Return what Cedar says; 60 to 100 us."""
    import cedarpy

    request: dict[str, Any] = {
        "principal": _uid("Agent", who.agent),
        "action": _uid("Action", "use"),
        "resource": _uid("Tool", tool),
        "context": context,
    }
    try:
        found = cedarpy.is_authorized(request, policies, entities(who, tool))
    except ValueError as error:
        return Verdict(False, (), error=str(error))
    told = found.diagnostics
    failed = [each[1] for error in told.errors if (each := _FAILED.search(error))]
    if len(failed) < len(told.errors):
        return Verdict(False, (), error="; ".join(told.errors))
    if failed:
        forbids = _forbids(policies)
        if broken := tuple(forbids[each] for each in failed if each in forbids):
            return Verdict(False, (), failed=broken)
    return Verdict(found.allowed, tuple(sorted(told.id_annotations_by_reason[each] for each in told.reasons)))


def _forbids(policies: "PolicySet") -> dict[str, str]:
    """Return the names of a set's forbids by Cedar's ids."""
    import cedarpy

    found = json.loads(cedarpy.policies_to_json_str(str(policies)))["staticPolicies"]
    return {one: policy["annotations"]["id"] for one, policy in found.items() if policy["effect"] == "forbid"}
