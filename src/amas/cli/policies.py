"""What `amas policy` does: through the API of the running fleet, or with a fleet file alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import typer

from amas.cli.api import Api, home_at
from amas.cli.exit import ExitCode
from amas.cli.output import complain, console, harmless, moment, print_json
from amas.cli.who import me
from amas.core.agents import why_no_agent
from amas.core.policies import Known, limit_told, told
from amas.core.policy_check import warnings
from amas.errors import FleetNotRunning, InputUnusable
from amas.model.policy import Decision, PolicyRule

if TYPE_CHECKING:
    from amas.fleet.policies import Expectation

CALLS_IN_A_REQUEST = 100


class Asked(NamedTuple):
    """One call that somebody wonders about, as they typed it."""

    agent: str
    tool: str
    arguments: tuple[str, ...]
    tenant: str

    @property
    def call(self) -> dict[str, Any]:
        """The call; InputUnusable where it isn't one."""
        if not (self.agent and self.tool):
            raise InputUnusable("say which call: amas policy test --agent coder-1 --tool shell --arg command='git push'")
        arguments = {}
        for said in self.arguments:
            name, equals, value = said.partition("=")
            if not equals:
                raise InputUnusable(f"{said!r} is no argument: write NAME=VALUE")
            try:
                arguments[name] = json.loads(value)
            except ValueError:
                arguments[name] = value
        return {"agent": self.agent, "tool": self.tool, "arguments": arguments, "tenant": self.tenant}


def show(fleet: str, folder: Path | None, *, cedar: bool, as_json: bool) -> None:
    """List rules."""
    if fleet:
        from amas.policy.manager import PolicyManager

        rules = PolicyManager(_spec(fleet)).rules
        found: Any = {"rules": msgspec.to_builtins(rules), "warnings": [f"{_at(rules, each)}" for each in warnings(rules)]}
    else:
        found = Api.of(home_at(folder)).get("/api/policies")
        rules = msgspec.convert(found["rules"], tuple[PolicyRule, ...])
    if as_json:
        print_json(found)
    elif cedar:
        from amas.policy.judge import as_cedar

        print(harmless(as_cedar(rules)))
    else:
        _print_rules(rules, found["warnings"])


def _at(rules: Sequence[PolicyRule], each: Any) -> str:
    return f"{rules[each.rule].name} {each.message}"


def _print_rules(rules: Sequence[PolicyRule], found: Sequence[str]) -> None:
    if not rules:
        console().print("no rule allows anything: no agent may use a tool (docs/policies.md)")
        return
    rows = [
        [rule.name, rule.effect, "its policy says" if rule.cedar else ", ".join(rule.tools), _asks(rule), rule.at]
        for rule in rules
    ]
    _print(["rule", "", "tools", "where", "stands in"], rows)
    for sentence in found:
        console().print(f"warning: {harmless(sentence)}", markup=False, soft_wrap=True)


def _asks(rule: PolicyRule) -> str:
    limit = f"{'at most' if rule.effect == 'allow' else 'beyond'} {limit_told(rule.limit)}" if rule.limit else ""
    return ", ".join(part for part in ("" if rule.cedar else told(rule), limit) if part)


def check(paths: Sequence[Path], fleet: str, folder: Path | None, *, as_json: bool) -> None:
    """Check files."""
    from amas.fleet.policies import load_policies

    if not paths and not fleet:
        raise InputUnusable("say what to check: amas policy check policies/, or amas policy check --fleet fleet.yaml")
    if paths:
        rules, found = load_policies(paths, _known(fleet, folder))
    else:
        rules = _spec(fleet).policies
        found = tuple(f"{rules[each.rule].at}: {_at(rules, each)}" for each in warnings(rules))
    if as_json:
        print_json({"rules": [rule.name for rule in rules], "warnings": list(found)})
        return
    for sentence in found:
        console().print(f"warning: {harmless(sentence)}", markup=False, soft_wrap=True)
    counted = f"{len(rules)} rule{'' if len(rules) == 1 else 's'}"
    doubts = f"{len(found)} warning{'' if len(found) == 1 else 's'}: look whether that is meant"
    console().print(f"{counted}, {doubts if found else 'all sound'}")


def _known(fleet: str, folder: Path | None) -> Known:
    """Return what rules may name: in a fleet file's fleet, or in the one that runs."""
    if fleet:
        from amas.policy.judge import known

        return known(_spec(fleet))
    try:
        return msgspec.convert(Api.of(home_at(folder)).get("/api/policies")["known"], Known)
    except FleetNotRunning as error:
        raise FleetNotRunning(f"{error}; or say which fleet they are for: --fleet fleet.yaml") from error


def _spec(fleet: str) -> Any:
    from amas.fleet.load import load_fleet

    return load_fleet(fleet)


def test(table: Path | None, asked: Asked, fleet: str, folder: Path | None, *, as_json: bool) -> None:
    """Say what would be decided of a call, or compare a table with what would be."""
    if table is not None:
        _test_table(table, fleet, folder, as_json=as_json)
        return
    (found,) = _decided([asked.call], fleet, folder)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        console().print(("allowed" if found.allowed else "refused") + f": {harmless(found.why)}", markup=False, soft_wrap=True)
    if not found.allowed:
        raise typer.Exit(ExitCode.FAILED)


def _test_table(path: Path, fleet: str, folder: Path | None, *, as_json: bool) -> None:
    from amas.fleet.policies import load_expectations

    table = load_expectations(path)
    calls = [{name: getattr(each, name) for name in ("agent", "tool", "arguments", "tenant")} for each in table]
    found = _decided(calls, fleet, folder)
    wrong = [_differs(expected, decision) for expected, decision in zip(table, found, strict=True)]
    if as_json:
        items = [
            {**msgspec.to_builtins(expected), "decision": msgspec.to_builtins(decision), "as_expected": not why}
            for expected, decision, why in zip(table, found, wrong, strict=True)
        ]
        print_json({"items": items, "failed": sum(map(bool, wrong))})
    else:
        for number, why in enumerate(wrong, start=1):
            if why:
                complain(f"{path}: test {number}: {harmless(why)}")
        console().print(f"{len(table) - sum(map(bool, wrong))} of {len(table)} decisions are as expected")
    if any(wrong):
        raise typer.Exit(ExitCode.FAILED)


def _differs(expected: "Expectation", found: Decision) -> str:
    if found.allowed != (expected.expect == "allow"):
        return f"{expected.agent} and {expected.tool!r}: expected {expected.expect}, but {found.why}"
    if expected.rule and expected.rule not in found.rules:
        by = ", ".join(found.rules) or "none"
        return f"{expected.agent} and {expected.tool!r}: expected the rule {expected.rule!r} to decide, but {by} did"
    return ""


def _decided(calls: Sequence[dict[str, Any]], fleet: str, folder: Path | None) -> list[Decision]:
    if fleet:
        from amas.policy.manager import PolicyManager

        spec = _spec(fleet)
        for agent in dict.fromkeys(call["agent"] for call in calls):
            if unknown := why_no_agent(agent, spec.pools, now=False):
                raise InputUnusable(unknown)
        manager = PolicyManager(spec)
        return [manager.decide(manager.call(**call)) for call in calls]
    api = Api.of(home_at(folder))
    items = []
    for start in range(0, len(calls), CALLS_IN_A_REQUEST):
        items += api.post("/api/policies/test", {"calls": calls[start : start + CALLS_IN_A_REQUEST]})["items"]
    return msgspec.convert(items, list[Decision])


def apply(paths: Sequence[Path], folder: Path | None, *, dry_run: bool, why: str, as_json: bool) -> None:
    """Change the running fleet's policies."""
    from amas.cli.desired import until_done
    from amas.fleet.policies import load_policies

    api = Api.of(home_at(folder))
    rules, found = load_policies(paths, msgspec.convert(api.get("/api/policies")["known"], Known))
    body = {"rules": msgspec.to_builtins(rules), "by": me(), "why": why or f"policies of {', '.join(map(str, paths))}"}
    answer = api.put("/api/policies" + ("?dry_run=true" if dry_run else ""), body)
    if not dry_run:
        until_done(api, answer["revision"], show=not as_json)
    if as_json:
        print_json(answer)
        return
    for line in (*(f"warning: {sentence}" for sentence in found), *answer["told"]):
        console().print(harmless(line), markup=False, soft_wrap=True)
    if not dry_run:
        console().print(harmless(f"revision {answer['revision']} runs"), markup=False)


def refusals(folder: Path | None, *, limit: int, as_json: bool) -> None:
    """List refusals."""
    found = Api.of(home_at(folder)).get("/api/policies/refusals", limit=limit)
    if as_json:
        print_json(found)
    elif found["items"]:
        rows = [[moment(each["at_ms"]), harmless(each["why"]), harmless(each["arguments"])] for each in found["items"]]
        _print(["at", "why", "arguments"], rows)
    else:
        console().print("no tool was refused to anybody lately")


def _print(columns: list[str], rows: list[list[Any]]) -> None:
    from amas.cli.tree import table

    console().print(table("", columns, rows))
