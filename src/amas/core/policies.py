"""What can be said of policies without asking Cedar: how their globs match, what they are about, and how they read. Pure.

What is wrong with them says `policy_check.py`, which hosts needn't load.
"""

from collections.abc import Iterable, Sequence

import msgspec

from amas.model.policy import ArgumentTest, CallLimit, PolicyRule, Scalar, ToolCall


class KnownPool(msgspec.Struct, frozen=True, kw_only=True):
    """What rules may say of a pool."""

    name: str
    layer: str
    capabilities: tuple[str, ...]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What exists in the fleet that rules are for."""

    pools: tuple[KnownPool, ...]
    tools: tuple[str, ...] = ()
    """That the fleet names; empty where it names none, so that any tool may be meant."""


def matches(globs: Iterable[str], text: str) -> bool:
    """Return whether one of the globs matches the whole text: `*` stands for any characters, all others for themselves."""
    return any(glob in ("*", text) or ("*" in glob and _fits(glob, text)) for glob in globs)


def _fits(glob: str, text: str) -> bool:
    """Return whether a glob with a star matches a text, in linear time whatever they are: each part at the first place for it."""
    first, *middle, last = glob.split("*")
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def concerns(rule: PolicyRule, call: ToolCall, capabilities: Sequence[str]) -> bool:
    """Return whether a rule is about this tool and this agent's place, whatever it asks of the agent's id and arguments."""
    return bool(rule.cedar) or (
        matches(rule.tools, call.tool)
        and (not rule.pools or matches(rule.pools, call.pool))
        and (not rule.layers or matches(rule.layers, call.layer))
        and (not rule.tenants or matches(rule.tenants, call.tenant))
        and (not rule.capabilities or any(matches(rule.capabilities, each) for each in capabilities))
    )


def told(rule: PolicyRule) -> str:
    """Return what a rule asks besides the tool, in words; "" where it asks nothing."""
    if rule.cedar:
        return "its policy holds"
    names = (("agents", rule.agents), ("pools", rule.pools), ("layers", rule.layers), ("tenants", rule.tenants))
    parts = [f"{word} {_either(globs)}" for word, globs in (*names, ("capabilities", rule.capabilities)) if globs]
    parts += [f"{argument} {test_told(test)}" for argument, test in rule.when.items()]
    return ", ".join(parts)


def test_told(test: ArgumentTest) -> str:
    """Return a test in words."""
    parts = [] if test.equals is None else [f"is {_value(test.equals)}"]
    if test.one_of is not None:
        parts.append(f"is one of {', '.join(map(_value, test.one_of))}")
    parts += [f"matches {_either(test.matches)}"] if test.matches else []
    parts += [f"lies under {_either(test.under)}"] if test.under else []
    parts += [f"goes to the host {_either(test.host)}"] if test.host else []
    parts += [] if test.at_least is None else [f"is at least {test.at_least:g}"]
    parts += [] if test.at_most is None else [f"is at most {test.at_most:g}"]
    return " and ".join(parts)


def limit_told(limit: CallLimit) -> str:
    """Return a limit in words."""
    whose = "of the fleet" if limit.each == "fleet" else f"of each {limit.each}"
    return f"{limit.calls} calls {whose} within {_span(limit.per_s)}"


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _either(globs: Sequence[str]) -> str:
    return " or ".join(globs)


def _value(value: Scalar) -> str:
    return repr(value) if isinstance(value, str) else str(value).lower()
