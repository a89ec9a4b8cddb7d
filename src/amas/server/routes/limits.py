"""What tasks reserve: concurrency keys, providers' rates and budgets, and changing them at run time."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from amas.engine.limits import BudgetView, LimitsView, RateView, SlotsView
from amas.model.limits import Amounts
from amas.server import intake
from amas.server.contract import answers, encoded, takes
from amas.server.paging import Cursor, Limit, Page
from amas.server.patterns import BUDGET_KIND, LIMIT_KIND, LIMITED
from amas.server.plane import Plane
from amas.server.problems import Fault, Refusal
from amas.server.shapes import BudgetPage, NewBudget, NewLimit

router = APIRouter(prefix="/api", tags=["limits"])

About = Annotated[str, Path(pattern=LIMITED, description="A key, a provider, or what a budget is of.")]
Kind = Annotated[str, Path(pattern=LIMIT_KIND, description="`slots` for a concurrency key, `rate` for a provider.")]
Scope = Annotated[str, Path(pattern=BUDGET_KIND, description="What kind of thing the budget is of.")]

_BUDGET = BudgetView(
    scope="tenant/acme",
    limit=Amounts(usd=50.0),
    spent=Amounts(usd=12.25, tokens=810_000, calls=412, agent_s=900.5),
    reserved=Amounts(usd=0.5),
    running=2,
    parked=0,
)
_LIMITS = LimitsView(
    slots=[SlotsView(key="customer-42", limit=3, held=3, parked=17)],
    rates=[
        RateView(
            provider="openai",
            requests_per_min=500,
            tokens_per_min=200_000,
            requests=120,
            tokens=180_000,
            parked=4,
            closed_until_ms=0,
            next_refill_ms=1_757_000_012_000,
        )
    ],
    budgets=[_BUDGET],
)


@router.get("/limits", summary="List limits", **answers(LimitsView, _LIMITS, problems=(503,)))
async def list_limits(plane: Plane) -> Response:
    """Show every resource: what it allows, what is held, how many tasks are parked on it, and when it has room again."""
    return encoded(await plane.limits.all())


@router.put(
    "/limits/{kind}/{about}",
    summary="Change a limit",
    openapi_extra=takes(NewLimit, NewLimit(requests_per_min=500)),
    **answers(LimitsView, _LIMITS, problems=(400, 413, 415, 422, 503)),
)
async def put_limit(kind: Kind, about: About, request: Request, plane: Plane) -> Response:
    """Set what a concurrency key or a provider allows from now on; parked tasks that fit go on at once."""
    new = await intake.read_one(request, NewLimit)
    if kind == "slots":
        if new.limit is None:
            raise Refusal(Fault(detail="say how many tasks may run at once, such as 3", pointer="#/limit"))
        await plane.limits.set_slots(about, new.limit)
    else:
        await plane.limits.set_rate(about, requests_per_min=new.requests_per_min, tokens_per_min=new.tokens_per_min)
    return encoded(await plane.limits.all())


@router.get(
    "/budgets", summary="List budgets", **answers(BudgetPage, BudgetPage(items=[_BUDGET], next=None), problems=(422, 503))
)
async def list_budgets(plane: Plane, limit: Limit = 1000, cursor: Cursor = "") -> Response:
    """Show every budget: what it allows, what was spent, and what running attempts have reserved."""
    items, following = Page(limit, cursor).of((await plane.limits.all()).budgets, lambda budget: budget.scope)
    return encoded(BudgetPage(items=items, next=following))


@router.put(
    "/budgets/{scope}/{about}",
    summary="Set a budget",
    openapi_extra=takes(NewBudget, NewBudget(usd=50.0)),
    **answers(BudgetView, _BUDGET, problems=(400, 413, 415, 422, 503)),
)
async def put_budget(scope: Scope, about: About, request: Request, plane: Plane) -> Response:
    """Set what a workflow, task, tenant or pool may spend in all, what it has spent included; tasks that fit go on at once."""
    new = await intake.read_one(request, NewBudget)
    budget = Amounts(**msgspec.structs.asdict(new))
    await plane.limits.set_budget(f"{scope}/{about}", budget)
    return encoded(await plane.limits.budget(f"{scope}/{about}"))
