"""Files with policies: YAML, JSON and Cedar, read and checked with file, line, field and the mend of what is wrong.

    rules:
      - name: no-secrets
        deny: "*"
        when: {path: {under: /etc}}
        why: what is under /etc is nobody's business

A fleet file names them (`policies: policies/`, or a list of files and folders); `amas policy` reads them by themselves.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from amas.core.policies import Known
from amas.core.policy_check import problems, warnings
from amas.errors import FleetFileInvalid
from amas.fleet.declared import Time, seconds
from amas.model.meant import did_you_mean
from amas.model.policy import EACH, ArgumentTest, CallLimit, Effect, PolicyRule, Scalar
from amas.model.yamlfile import YamlFile
from amas.policy.cedar import CedarInvalid, statements

FILES_MAX = 200
SUFFIXES = {".yaml", ".yml", ".json", ".cedar"}

Texts = str | tuple[str, ...]


class DeclaredTest(msgspec.Struct, frozen=True, kw_only=True):
    """What one argument must be."""

    equals: Scalar | None = None
    one_of: tuple[Scalar, ...] | None = msgspec.field(name="in", default=None)
    matches: Texts = ()
    under: Texts = ()
    host: Texts = ()
    at_least: float | None = None
    at_most: float | None = None


class DeclaredCallLimit(msgspec.Struct, frozen=True, kw_only=True):
    """So many calls within a time."""

    calls: int
    per: Time
    each: str = "fleet"


class DeclaredPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """One rule: what it allows or denies, to whom, and when."""

    name: str
    allow: Texts = ()
    deny: Texts = ()
    agents: Texts = ()
    pools: Texts = ()
    layers: Texts = ()
    tenants: Texts = ()
    capabilities: Texts = ()
    when: dict[str, DeclaredTest] = msgspec.field(default_factory=dict)
    limit: DeclaredCallLimit | None = None
    why: str = ""


class DeclaredPolicies(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    rules: tuple[DeclaredPolicy, ...]


class Place(NamedTuple):
    """Where a rule stands."""

    file: YamlFile | None
    """None for a .cedar file."""
    path: str
    line: int
    field: str

    def invalid(self, message: str, field: str) -> FleetFileInvalid:
        """Return the error that says `message` of a field of the rule."""
        if self.file is None:
            return FleetFileInvalid(message, path=self.path, line=self.line, field="")
        field = field.replace(".one_of", ".in")
        return self.file.invalid(message, f"{self.field}.{field}" if field else self.field)


class Policies(NamedTuple):
    """Rules that were read and checked."""

    rules: tuple[PolicyRule, ...]
    warnings: tuple[str, ...]
    """What is sound but probably not meant, a sentence each with its file and line."""


def load_policies(paths: Iterable[Path], known: Known) -> Policies:
    """Return the rules of files, and of all files in folders; FleetFileInvalid names the first mistake's file, line and field."""
    rules: list[PolicyRule] = []
    places: list[Place] = []
    for path in _files(paths):
        for rule, place in _of_cedar(path) if path.suffix == ".cedar" else _of_yaml(path):
            rules.append(rule)
            places.append(place)
    for mistake in problems(rules, known):
        raise places[mistake.rule].invalid(mistake.message, mistake.field)
    found = [f"{rules[each.rule].at}: {rules[each.rule].name} {each.message}" for each in warnings(rules)]
    return Policies(tuple(rules), tuple(found))


def _files(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
            if not inside:
                raise FleetFileInvalid("holds no policies: .yaml, .json or .cedar files", path=str(path), line=0, field="")
            found += inside
        elif path.suffix not in SUFFIXES:
            raise FleetFileInvalid("isn't a folder or a .yaml, .json or .cedar file", path=str(path), line=0, field="")
        else:
            found.append(path)
    if len(found) > FILES_MAX:
        raise FleetFileInvalid(
            f"is one of {len(found)} files, but at most {FILES_MAX} are read", path=str(found[-1]), line=0, field=""
        )
    return found


def _of_cedar(path: Path) -> list[tuple[PolicyRule, Place]]:
    text = YamlFile.text(path)
    try:
        found = list(statements(text))
    except CedarInvalid as error:
        raise FleetFileInvalid(str(error), path=str(path), line=error.line, field="") from error
    return [
        (
            PolicyRule(
                name=each.name or f"{path.name}:{each.line}",
                effect=each.effect,
                why=each.why,
                cedar=each.text,
                at=f"{path.name}:{each.line}",
            ),
            Place(None, str(path), each.line, ""),
        )
        for each in found
    ]


def _of_yaml(path: Path) -> list[tuple[PolicyRule, Place]]:
    file = YamlFile.read(path)
    said = file.decode(DeclaredPolicies)
    places = [Place(file, str(path), file.line_of(field), field) for field in (f"rules[{at}]" for at in range(len(said.rules)))]
    return [(_rule(rule, place), place) for rule, place in zip(said.rules, places, strict=True)]


def _rule(said: DeclaredPolicy, place: Place) -> PolicyRule:
    allow, deny = _texts(said.allow), _texts(said.deny)
    if bool(allow) == bool(deny):
        raise place.invalid('say either allow or deny, and of which tools: `allow: shell`, or `deny: "*"` for all', "")
    effect: Effect = "allow" if allow else "deny"
    return PolicyRule(
        name=said.name,
        effect=effect,
        tools=allow or deny,
        agents=_texts(said.agents),
        pools=_texts(said.pools),
        layers=_texts(said.layers),
        tenants=_texts(said.tenants),
        capabilities=_texts(said.capabilities),
        when={argument: _test(test) for argument, test in said.when.items()},
        limit=_limit(said.limit, place) if said.limit is not None else None,
        why=said.why,
        at=f"{Path(place.path).name}:{place.line}",
    )


def _texts(said: Texts) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else said


def _test(said: DeclaredTest) -> ArgumentTest:
    return ArgumentTest(
        equals=said.equals,
        one_of=said.one_of,
        matches=_texts(said.matches),
        under=_texts(said.under),
        host=_texts(said.host),
        at_least=said.at_least,
        at_most=said.at_most,
    )


def _limit(said: DeclaredCallLimit, place: Place) -> CallLimit:
    if said.each not in EACH:
        raise place.invalid(f"{said.each!r} is none of {', '.join(EACH)}{did_you_mean(said.each, EACH)}", "limit.each")
    try:
        return CallLimit(calls=said.calls, per_s=seconds(said.per), each=said.each)
    except ValueError as error:
        raise place.invalid(str(error), "limit.per") from error


def policy_paths(said: str | Sequence[str], folder: Path) -> list[Path]:
    """Return the paths that a fleet file names, as they are meant: from its folder."""
    return [(folder / each).absolute() for each in _texts(said if isinstance(said, str) else tuple(said))]


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a table of expected decisions."""

    agent: str
    tool: str
    expect: Literal["allow", "refuse"]
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)
    tenant: str = ""
    rule: str = ""
    """Of those that decide; empty for whichever."""


class Expectations(msgspec.Struct, frozen=True, kw_only=True):
    """A file with a table of expected decisions."""

    tests: tuple[Expectation, ...]


def load_expectations(path: Path) -> tuple[Expectation, ...]:
    """Return the table in a file; FleetFileInvalid names the first mistake's line and field."""
    file = YamlFile.read(path)
    found = file.decode(Expectations).tests
    if not found:
        raise file.invalid("is empty: add a line such as {agent: coder-1, tool: shell, expect: refuse}", "tests")
    return found
