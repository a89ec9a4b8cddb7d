"""A fleet's policies, prepared: deciding calls by them and saying why. Nothing here waits, writes or counts.

Deny by default: a call is allowed when a rule allows it and none denies it, whatever the order. What a pool's declaration grants
is a rule like any other, named `pool:NAME`. Of a thousand rules few are about one tool and one pool: those are compiled once for
each such pair (`_Chosen`), so that Cedar reads only them; where none of them asks for arguments or the agent's id, its answer is
kept.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from amas.core.arguments import facts, plain
from amas.core.policies import Known, KnownPool, concerns, matches, told
from amas.model.fleet import MODEL_AGENT, VARIANT, FleetSpec, PoolSpec
from amas.model.policy import GRANT, Decision, PolicyRule, Refusal, ToolCall
from amas.policy.cedar import Verdict, Who, ask, compiled, policy_set

if TYPE_CHECKING:
    from cedarpy import PolicySet

KEPT = 4096
"""Pairs of tool and pool that are kept prepared; a fleet has some hundreds."""
NEAR_MAX = 3
"""Rules that a refusal names which would allow something like it."""
ARGUMENTS_CHARS_MAX = 500
"""Of a refused call's arguments, as they are kept for people."""

_READ_AS = (
    ("matches", "texts", "a text"),
    ("under", "folders", "a path"),
    ("host", "hosts", "a URL with a plain host"),
    ("at_least", "least", "a number"),
    ("at_most", "most", "a number"),
)


class Ruling(NamedTuple):
    """What the rules say of a call, apart from what limits have left."""

    decision: Decision
    alternatives: tuple[PolicyRule, ...] = ()
    """Where all that allow it are limited: these, of which one must have room."""
    caps: tuple[PolicyRule, ...] = ()
    """Denials of what is beyond a limit, which all must have room."""


class _Chosen(NamedTuple):
    """The rules about one tool and one pool."""

    rules: dict[str, PolicyRule]
    policies: "PolicySet | None"
    """None where nothing is about it."""
    arguments: tuple[str, ...]
    """That rules ask for."""
    capable: tuple[str, ...]
    """Of the globs for capabilities, those that match one of the pool's."""
    whole: bool
    """Whether the arguments are wanted as they are, for policies in Cedar's own words."""
    caps: tuple[str, ...]
    settled: Verdict | None
    """The answer, where it is the same for every agent of the pool and all arguments."""


def granted(pool: PoolSpec) -> tuple[str, ...]:
    """Return the tools that a pool's declaration grants its agents, as globs: a server's name stands for all of its tools."""
    named = pool.options.get("tools") if pool.agent == MODEL_AGENT else None
    grants = tuple(map(str, named)) if isinstance(named, list | tuple) else ()
    return tuple(each for grant in grants for each in ((grant,) if "/" in grant else (grant, f"{grant}/*")))


def grants(fleet: FleetSpec) -> tuple[PolicyRule, ...]:
    """Return what the fleet's pools are granted, as rules; while a version is rolled out, each version's agents have its own."""
    varied = {pool.variant_of for pool in fleet.pools}
    return tuple(
        PolicyRule(
            name=GRANT + pool.name,
            effect="allow",
            tools=tools,
            pools=(pool.variant_of or pool.name,),
            agents=(f"{pool.name}-*",) if pool.variant_of or pool.name in varied else (),
            at=f"the pool {pool.name}",
        )
        for pool in fleet.pools
        if (tools := granted(pool))
    )


def known(fleet: FleetSpec) -> Known:
    """Return what rules for this fleet may name."""
    pools = tuple(
        KnownPool(name=pool.name, layer=pool.layer, capabilities=pool.capabilities) for pool in fleet.pools if not pool.variant_of
    )
    return Known(pools=pools)


class Judge:
    """A fleet's policies; CedarInvalid when one of them can't be read, as from a newer amas."""

    def __init__(self, fleet: FleetSpec) -> None:
        self.rules = (*grants(fleet), *fleet.policies)
        """All of them: grants first."""
        self._capabilities = {pool.name: pool.capabilities for pool in fleet.pools}
        self._layers = {pool.name: str(pool.layer) for pool in fleet.pools}
        if any(rule.cedar for rule in self.rules):
            policy_set(self.rules)
        self._chosen = lru_cache(maxsize=KEPT)(self._choose)

    def call_of(self, agent: str, pool: str, tool: str, arguments: dict[str, object], *, tenant: str = "") -> ToolCall:
        """Return the call that an agent of a pool would make."""
        layer = self._layers.get(pool, "")
        return ToolCall(agent=agent, pool=pool, layer=layer, tenant=tenant, tool=tool, arguments=arguments)

    def decide(self, call: ToolCall) -> Ruling:
        """Return what the rules say of a call; 10 us where the answer is kept, else 100 us and more."""
        pool = call.pool.partition(VARIANT)[0]
        chosen = self._chosen(call.tool, pool, call.layer, call.tenant)
        verdict = chosen.settled or self._asked(chosen, call, pool)
        if not verdict.allowed:
            return Ruling(self._refused(verdict, call, chosen))
        allowing = [chosen.rules[name] for name in verdict.rules]
        caps = self._caps(chosen, call, pool)
        why = f"allowed by {_names(verdict.rules)}"
        limited = () if any(rule.limit is None for rule in allowing) else tuple(allowing)
        return Ruling(Decision(allowed=True, why=why, rules=verdict.rules), limited, caps)

    def _choose(self, tool: str, pool: str, layer: str, tenant: str) -> _Chosen:
        capabilities = self._capabilities.get(pool, ())
        call = ToolCall(agent="", pool=pool, layer=layer, tenant=tenant, tool=tool, arguments={})
        rules = {rule.name: rule for rule in self.rules if concerns(rule, call, capabilities)}
        chosen = _Chosen(
            rules=rules,
            policies=policy_set(tuple(rules.values())) if rules else None,
            arguments=tuple({name: None for rule in rules.values() for name in rule.when}),
            capable=tuple(glob for rule in rules.values() for glob in rule.capabilities if _any_matches(glob, capabilities)),
            whole=any(rule.cedar for rule in rules.values()),
            caps=tuple(rule.name for rule in rules.values() if rule.effect == "deny" and rule.limit is not None),
            settled=None,
        )
        if any(rule.cedar or rule.when or rule.agents for rule in rules.values()):
            return chosen
        return chosen._replace(settled=self._asked(chosen, call, pool))

    def _asked(self, chosen: _Chosen, call: ToolCall, pool: str, beyond: Sequence[str] = ()) -> Verdict:
        if chosen.policies is None:
            return Verdict(False, ())
        who = Who(call.agent, pool, call.layer, call.tenant, self._capabilities.get(pool, ()))
        context = facts(call.arguments, chosen.arguments)
        context |= {"capable": list(chosen.capable), "beyond": list(beyond)}
        if chosen.whole:
            arguments = plain(call.arguments)
            context["arguments"] = {} if arguments is None else arguments
        return ask(chosen.policies, who, call.tool, context)

    def _caps(self, chosen: _Chosen, call: ToolCall, pool: str) -> tuple[PolicyRule, ...]:
        """Return the denials of what is beyond a limit that an allowed call falls under: they would deny it, were it beyond."""
        if not chosen.caps:
            return ()
        found = self._asked(chosen, call, pool, beyond=chosen.caps)
        return () if found.allowed else tuple(chosen.rules[name] for name in found.rules)

    # -- saying why not

    def _refused(self, verdict: Verdict, call: ToolCall, chosen: _Chosen) -> Decision:
        what = f"{call.agent} may not use {call.tool!r}"
        if verdict.error:
            return Decision(allowed=False, why=f"{what}: the policies can't be asked about it ({verdict.error})")
        if verdict.failed:
            why = f"{what}: {_names(verdict.failed)} can't be evaluated for these arguments, and a denial that fails denies"
            return Decision(allowed=False, why=why, rules=verdict.failed)
        if verdict.rules:
            rule = chosen.rules[next((name for name in verdict.rules if chosen.rules[name].why), verdict.rules[0])]
            why = rule.why or (f"it denies that where {asks}" if (asks := told(rule)) else "it denies that to everybody")
            why += "".join(f"; the argument {name!r} can't be read as {kind}" for name, kind in _unread(rule, call))
            at = f" ({rule.at})" if rule.at else ""
            return Decision(allowed=False, why=f"{what}: the rule {rule.name!r}{at} says: {why}", rules=verdict.rules)
        return Decision(allowed=False, why=f"{what}: no rule allows it{self._way_out(call)}")

    def _way_out(self, call: ToolCall) -> str:
        """Return what would have to be so, or to be written, for a call to be allowed."""
        near = [rule for rule in self.rules if rule.effect == "allow" and not rule.cedar and matches(rule.tools, call.tool)]
        if not near:
            return f"; to allow it, add a rule with `allow: {call.tool}` and `pools: {call.pool}` to the fleet's policies"
        here = [rule for rule in near if self._is_for(rule, call)]
        shown = [f"{rule.name!r} does where {told(rule)}" for rule in (here or near)[:NEAR_MAX]]
        return "; " + ", and ".join(shown)

    def _is_for(self, rule: PolicyRule, call: ToolCall) -> bool:
        return concerns(rule, call, self._capabilities.get(call.pool, ())) and (
            not rule.agents or matches(rule.agents, call.agent)
        )


def refusal(call: ToolCall, decision: Decision, *, at_ms: int) -> Refusal:
    """Return what is kept of a call that was refused."""
    try:
        arguments = json.dumps(call.arguments, default=str, ensure_ascii=True)
    except RecursionError:
        arguments = "(nested too deeply to be shown)"
    if len(arguments) > ARGUMENTS_CHARS_MAX:
        arguments = arguments[: ARGUMENTS_CHARS_MAX - 3] + "..."
    return Refusal(
        at_ms=at_ms,
        agent=call.agent,
        pool=call.pool,
        tenant=call.tenant,
        tool=call.tool,
        arguments=arguments,
        why=decision.why,
        rules=decision.rules,
    )


def as_cedar(rules: Iterable[PolicyRule]) -> str:
    """Return rules as Cedar has them, each with what it allows or denies up to a limit."""
    return "\n\n".join(map(compiled, rules))


def _unread(rule: PolicyRule, call: ToolCall) -> Iterator[tuple[str, str]]:
    """Yield the arguments that were given, but aren't what a rule asks for, with what that is: a denial takes them as denied."""
    found = facts(call.arguments, rule.when)
    for name, test in rule.when.items():
        for word, kind, told_as in _READ_AS:
            if name in call.arguments and getattr(test, word) not in (None, ()) and name not in found[kind]:
                yield name, told_as


def _any_matches(glob: str, capabilities: Sequence[str]) -> bool:
    return any(matches([glob], each) for each in capabilities)


def _names(rules: Sequence[str]) -> str:
    return ("the rule " if len(rules) == 1 else "the rules ") + ", ".join(map(repr, rules))
