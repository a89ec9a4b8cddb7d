"""What makes policies sound, and what is probably not meant. Pure.

`problems` names what must be mended before rules are taken, `warnings` what does nothing. Who reads files adds the line.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import NamedTuple

from amas.core.arguments import LONG_MAX, MILLIONTHS, folder_of
from amas.core.policies import Known, KnownPool, matches
from amas.model.meant import did_you_mean
from amas.model.numbers import named
from amas.model.policy import GRANT, ArgumentTest, CallLimit, PolicyRule
from amas.model.states import Layer

RULES_MAX = 1000
PER_MIN_S, PER_MAX_S = 1.0, 31 * 86_400.0
CALLS_MAX = 1_000_000_000
TEXT_CHARS_MAX = 500
NAME_CHARS_MAX = 100
PARTS_MAX = 100
"""Of each list of a rule: Cedar reads an expression of some thousand parts no more, and a denial that it can't read denies."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_WORDS = {"texts": ("matches",), "folders": ("under",), "hosts": ("host",), "numbers": ("at_least", "at_most")}


class Mistake(NamedTuple):
    """What is wrong with one rule."""

    rule: int
    field: str
    """As files write it: `when.path.under`; empty for the whole rule."""
    message: str


def problems(rules: Sequence[PolicyRule], known: Known) -> Iterator[Mistake]:
    """Yield what must be mended, rule by rule."""
    if len(rules) > RULES_MAX:
        yield Mistake(RULES_MAX, "", f"is one of {len(rules)} rules, but at most {RULES_MAX} can be kept: use globs")
    names = Counter(rule.name for rule in rules)
    for index, rule in enumerate(rules):
        for field, message in _of_rule(rule, names, known):
            yield Mistake(index, field, message)


def _of_rule(rule: PolicyRule, names: Counter[str], known: Known) -> Iterator[tuple[str, str]]:
    yield from _of_name(rule, names)
    if len(rule.why) > TEXT_CHARS_MAX:
        yield "why", f"has {len(rule.why)} characters, but a reason has at most {TEXT_CHARS_MAX}"
    if rule.cedar:
        return
    for field, parts in _lists(rule):
        if len(parts) > PARTS_MAX:
            yield field, f"has {len(parts)} parts, but a rule reads at most {PARTS_MAX}: use *, or several rules"
    yield from _of_names(rule, known)
    for argument, test in rule.when.items():
        for field, message in _of_test(test):
            yield f"when.{argument}{field and '.'}{field}", message
    if rule.limit is not None:
        yield from _of_limit(rule.limit)


def _of_name(rule: PolicyRule, names: Counter[str]) -> Iterator[tuple[str, str]]:
    if rule.name.startswith(GRANT):
        yield "name", f"{rule.name!r} is how grants of pools are called: choose another name"
    elif rule.cedar and not (rule.name.isprintable() and len(rule.name) <= NAME_CHARS_MAX):
        yield "name", f"{rule.name[:NAME_CHARS_MAX]!r} is no name: one line of at most {NAME_CHARS_MAX} characters"
    elif not rule.cedar and not _NAME.fullmatch(rule.name):
        yield "name", f"{rule.name!r} is no name: letters, digits, . _ / and -, such as no-secrets"
    elif names[rule.name] > 1:
        yield "name", f"{rule.name!r} names {names[rule.name]} rules: give each its own name"


def _lists(rule: PolicyRule) -> Iterator[tuple[str, Sized]]:
    """Yield all in a rule that may have many parts."""
    yield rule.effect, rule.tools
    yield "when", rule.when
    for field in ("agents", "pools", "layers", "tenants", "capabilities"):
        yield field, getattr(rule, field)
    for argument, test in rule.when.items():
        for field in ("one_of", "matches", "under", "host"):
            yield f"when.{argument}.{field}", getattr(test, field) or ()


def _of_names(rule: PolicyRule, known: Known) -> Iterator[tuple[str, str]]:
    capabilities = {each for pool in known.pools for each in pool.capabilities}
    kinds: tuple[tuple[str, str, tuple[str, ...], Iterable[str]], ...] = (
        (rule.effect, "tool", rule.tools, known.tools),
        ("pools", "pool", rule.pools, [pool.name for pool in known.pools]),
        ("layers", "layer", rule.layers, list(Layer)),
        ("capabilities", "capability", rule.capabilities, capabilities),
    )
    unknown = False
    for field, word, globs, names in kinds:
        for glob in globs:
            if not glob:
                yield field, f"names no {word}: write one, or * for all"
                unknown = True
            elif names and not any(matches([glob], name) for name in names) and not _of_server(glob, word, names):
                yield field, f"there is no {word} {glob!r}{did_you_mean(glob, names) or _there_are(names)}"
                unknown = True
    pools = {pool.name for pool in known.pools}
    for agent in rule.agents:
        pool, _ = named(agent)
        if "*" not in agent and pool not in pools:
            yield "agents", f"no pool has an agent {agent!r}: write a pool's name, a hyphen and a number, such as {min(pools)}-1"
            unknown = True
    if not unknown and not any(_may_be(rule, pool) for pool in known.pools):
        yield "", "can never match: no pool is at once all that agents, pools, layers and capabilities say"


def _of_server(glob: str, word: str, names: Iterable[str]) -> bool:
    """Return whether a glob names a tool of a server: which tools it has is known when it runs."""
    return word == "tool" and "/" in glob and any(name.partition("/")[0] == glob.partition("/")[0] for name in names)


def _there_are(names: Iterable[str]) -> str:
    some = sorted(names)
    return f": there are {', '.join(some[:8])}{', ...' if len(some) > 8 else ''}"


def _may_be(rule: PolicyRule, pool: KnownPool) -> bool:
    return (
        (not rule.pools or matches(rule.pools, pool.name))
        and (not rule.layers or matches(rule.layers, pool.layer))
        and (not rule.capabilities or any(matches(rule.capabilities, each) for each in pool.capabilities))
        and (not rule.agents or any("*" in agent or named(agent)[0] == pool.name for agent in rule.agents))
    )


def _of_test(test: ArgumentTest) -> Iterator[tuple[str, str]]:
    said = [name for name in ("equals", "one_of", "matches", "under", "host", "at_least", "at_most") if _says(test, name)]
    if not said:
        yield "", "says nothing: add equals, in, matches, under, host, at_least or at_most"
    if "equals" in said and len(said) > 1:
        yield "equals", "says it all: remove it, or the others"
    kinds = {kind for kind, words in _WORDS.items() if set(words) & set(said)}
    if "numbers" in kinds and len(kinds) > 1:
        yield "", "can never match: no argument is both a number and a text"
    if test.one_of is not None and not test.one_of:
        yield "in", "can never match: the list is empty"
    yield from _of_texts(test)
    yield from _of_numbers(test)


def _of_texts(test: ArgumentTest) -> Iterator[tuple[str, str]]:
    for field, globs in (("matches", test.matches), ("host", test.host), ("under", test.under)):
        if any(not glob for glob in globs):
            yield field, "has an empty text: write what is meant, or * for all"
    for folder in test.under:
        if folder and (folder_of(folder) is None or "*" in folder):
            yield "under", f"{folder!r} is no folder: write a path such as /srv/data, or . for the task's folder"
    for host in test.host:
        if host != host.lower() or any(one in host for one in "/:@ "):
            yield "host", f"{host!r} is no host: write it in lower case without scheme and port, such as *.example.com"


def _of_numbers(test: ArgumentTest) -> Iterator[tuple[str, str]]:
    numbers = [("equals", test.equals), ("at_least", test.at_least), ("at_most", test.at_most)]
    for field, number in [*numbers, *(("in", each) for each in test.one_of or ())]:
        if not isinstance(number, bool | str | None) and not _countable(number):
            yield field, f"{number!r} can't be compared: write at most six digits behind the point, and less than 9e12"
    if test.at_least is not None and test.at_most is not None and test.at_least > test.at_most:
        yield "", f"can never match: nothing is at least {test.at_least:g} and at most {test.at_most:g}"


def _says(test: ArgumentTest, name: str) -> bool:
    value = getattr(test, name)
    return value is not None and value != ()


def _countable(number: float) -> bool:
    return abs(number) < LONG_MAX / MILLIONTHS and float(f"{number:.6f}") == number


def _of_limit(limit: CallLimit) -> Iterator[tuple[str, str]]:
    if not 1 <= limit.calls <= CALLS_MAX:
        yield "limit.calls", f"is {limit.calls}, but must be from 1 to {CALLS_MAX}; a rule without calls is a deny"
    if not PER_MIN_S <= limit.per_s <= PER_MAX_S:
        yield "limit.per", f"is {limit.per_s:g} s, but must be from 1s to 31d"


# -- what is probably not meant


def warnings(rules: Sequence[PolicyRule]) -> Iterator[Mistake]:
    """Yield what is sound but does nothing: what others deny altogether, and denials of what nobody allows.

    Policies in Cedar's own words may say anything, so where there are some that allow, nothing is said of denials.
    """
    denials = [rule for rule in rules if rule.effect == "deny" and not rule.cedar and not rule.when and rule.limit is None]
    allows = [rule for rule in rules if rule.effect == "allow"]
    for index, rule in enumerate(rules):
        if rule.cedar:
            continue
        if rule.effect == "allow":
            for other in denials:
                if _covers(other, rule):
                    yield Mistake(index, "", f"allows nothing: {other.name!r} denies all of it")
                    break
        elif not any(each.cedar or _overlap(each, rule) for each in allows):
            yield Mistake(index, "", "denies what no rule allows: without it the same is refused")


def _covers(wide: PolicyRule, narrow: PolicyRule) -> bool:
    """Return whether one rule certainly is about everything that another is about; a glob covers what it matches as a text."""
    fields = ("tools", "agents", "pools", "layers", "tenants", "capabilities")
    return all(
        not getattr(wide, field)
        or (getattr(narrow, field) and all(matches(getattr(wide, field), glob) for glob in getattr(narrow, field)))
        for field in fields
    )


def _overlap(one: PolicyRule, other: PolicyRule) -> bool:
    fields = ("tools", "agents", "pools", "layers", "tenants")
    return all(
        not getattr(one, field)
        or not getattr(other, field)
        or any(_meet(left, right) for left in getattr(one, field) for right in getattr(other, field))
        for field in fields
    )


def _meet(left: str, right: str) -> bool:
    """Return whether some text matches both globs."""
    reached = {(0, 0)}
    seen: set[tuple[int, int]] = set()
    while reached:
        at = reached.pop()
        if at in seen:
            continue
        seen.add(at)
        i, j = at
        one, other = left[i : i + 1], right[j : j + 1]
        if not one and not other:
            return True
        if one == "*":
            reached |= {(i + 1, j)} | ({(i, j + 1)} if other else set())
        if other == "*":
            reached |= {(i, j + 1)} | ({(i + 1, j)} if one else set())
        if one and one == other:
            reached.add((i + 1, j + 1))
    return False
