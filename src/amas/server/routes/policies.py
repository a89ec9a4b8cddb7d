"""Policies: which there are, what they would say, what they refused, and others in their place."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from amas.core.agents import why_no_agent
from amas.core.difference import Change, Difference
from amas.core.policies import Known, KnownPool
from amas.core.policy_check import warnings
from amas.engine.tools import ToolLedger
from amas.errors import AgentUnknown, FleetError
from amas.model.fleet import FleetSpec
from amas.model.policy import ArgumentTest, Decision, PolicyRule, Refusal
from amas.policy.judge import known
from amas.policy.manager import PolicyManager
from amas.server import intake, wishes
from amas.server.contract import answers, encoded, takes
from amas.server.desired_shapes import FleetApplied
from amas.server.plane import ControlPlane, Plane
from amas.server.policy_shapes import NewPolicies, NewPolicyTest, PolicyCall, PolicyPage, PolicyTestPage, RefusalPage
from amas.server.routes.desired import IfMatch, matching, revision_of, tag

router = APIRouter(prefix="/api/policies", tags=["policies"])

_RULE = PolicyRule(
    name="no-push",
    effect="deny",
    tools=("shell",),
    when={"command": ArgumentTest(matches=("*git push*",))},
    why="a person pushes",
    at="tools.yaml:9",
)
_PAGE = PolicyPage(
    revision=12,
    rules=[_RULE],
    warnings=[],
    known=Known(pools=(KnownPool(name="coder", layer="specialist", capabilities=("code.write",)),)),
)
_WHY = "coder-1 may not use 'shell': the rule 'no-push' (tools.yaml:9) says: a person pushes"
_TEST = NewPolicyTest(calls=(PolicyCall(agent="coder-1", tool="shell", arguments={"command": "git push"}),))
_TESTED = PolicyTestPage(items=[Decision(allowed=False, why=_WHY, rules=("no-push",))])
_REFUSED = Refusal(
    at_ms=1_757_000_000_000,
    agent="coder-1",
    pool="coder",
    tenant="",
    tool="shell",
    arguments='{"command": "git push"}',
    why=_WHY,
    rules=("no-push",),
)
_TOLD = ["+ policy no-push", "40 -> 40 agents (+0) on 1 host"]
_DIFFERENCE = Difference(
    changes=(Change("policy no-push", "added", 0),), agents_before=40, agents_after=40, hosts_before=1, hosts_after=1
)
_FAULTS = (400, 409, 413, 415, 422, 503)


async def _wanted(plane: ControlPlane) -> tuple[FleetSpec, int]:
    desired = await plane.desired.read()
    return desired.spec or plane.fleet, desired.revision


@router.get("", summary="List policies", **answers(PolicyPage, _PAGE, problems=(503,), tagged=True))
async def list_policies(plane: Plane) -> Response:
    """List the rules that say which tools agents may use, what pools are granted among them."""
    fleet, revision = await _wanted(plane)
    rules = list(PolicyManager(fleet).rules)
    found = [f"{rules[each.rule].name} {each.message}" for each in warnings(rules)]
    shown = PolicyPage(revision=revision, rules=rules, warnings=found, known=known(fleet))
    return encoded(shown, headers=tag(revision))


@router.put(
    "",
    summary="Change policies",
    openapi_extra=takes(NewPolicies, NewPolicies(rules=(_RULE,), by="ann", why="nobody pushes")),
    **answers(
        FleetApplied,
        FleetApplied(revision=13, applied=True, difference=_DIFFERENCE, told=_TOLD),
        problems=(*_FAULTS, 412),
        tagged=True,
    ),
)
async def change_policies(
    request: Request,
    plane: Plane,
    dry_run: Annotated[bool, Query(description="Only say what would change.")] = False,
    if_match: IfMatch = "",
) -> Response:
    """Let the fleet have these policies and no others, as it is otherwise; hosts go by them at once."""
    new = await intake.read_one(request, NewPolicies)
    desired = await plane.desired.read()
    if desired.fleet is None:
        raise FleetError("no fleet is declared: declare one with its policies by `amas apply FILE`")
    fleet = msgspec.structs.replace(desired.fleet, policies=new.rules)
    if dry_run:
        seen, revision = await wishes.judged(plane, fleet), desired.revision
    else:
        why, seen_at = new.why or "other policies", revision_of(if_match)
        with matching(if_match):
            expect = desired.revision if seen_at is None else min(seen_at, desired.revision)
            seen, revision = await wishes.apply(plane, fleet, by=new.by, why=why, expect=expect)
    applied = FleetApplied(revision=revision, applied=not dry_run, difference=seen.found, told=seen.told)
    return encoded(applied, headers=tag(revision))


@router.post(
    "/test",
    summary="Try policies",
    openapi_extra=takes(NewPolicyTest, _TEST),
    **answers(PolicyTestPage, _TESTED, problems=(400, 404, 413, 415, 422, 503)),
)
async def try_policies(request: Request, plane: Plane) -> Response:
    """Say what the policies in force say of calls, and which rule decides; nothing runs and nothing is counted."""
    new = await intake.read_one(request, NewPolicyTest)
    fleet, _ = await _wanted(plane)
    manager = PolicyManager(fleet)
    for call in new.calls:
        if unknown := why_no_agent(call.agent, fleet.pools, now=False):
            raise AgentUnknown(unknown)
    items = [manager.decide(manager.call(each.agent, each.tool, each.arguments, tenant=each.tenant)) for each in new.calls]
    return encoded(PolicyTestPage(items=items))


@router.get("/refusals", summary="List refusals", **answers(RefusalPage, RefusalPage(items=[_REFUSED]), problems=(422, 503)))
async def list_refusals(plane: Plane, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
    """List the uses of tools that were refused lately, newest first, each with its reason."""
    return encoded(RefusalPage(items=await ToolLedger(plane.engine).refusals(limit=limit)))
