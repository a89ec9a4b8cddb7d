"""What work costs: sums by tenant, workflow, pool, agent, model, day or task, from the records."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from amas.records.costs import CostsBy
from amas.records.ended import Span
from amas.records.views import Cost, CostGroup
from amas.server.contract import answers, encoded
from amas.server.identity import Calling
from amas.server.plane import Plane
from amas.server.problems import Fault, Refusal
from amas.server.shapes import CostPage

router = APIRouter(prefix="/api", tags=["costs"])

_COST = Cost(usd=1.25, tokens=81_000, input_tokens=70_000, output_tokens=11_000, calls=41, model_s=95.5, agent_s=120.25)
_GROUP = CostGroup(name="acme", **{name: getattr(_COST, name) for name in Cost.__struct_fields__})


@router.get(
    "/costs",
    summary="What work costs",
    **answers(CostPage, CostPage(by="tenant", total=_COST, items=[_GROUP], next=None), problems=(422, 503)),
)
async def get_costs(  # noqa: PLR0913, PLR0917  one for each word of the query
    plane: Plane,
    caller: Calling,
    by: Annotated[CostsBy, Query(description="What to add up by; days are UTC.")] = "day",
    since: Annotated[datetime | None, Query(description="A date or time, ISO 8601; UTC unless it says otherwise.")] = None,
    until: Annotated[datetime | None, Query(description="The same; what arose at this time is left out.")] = None,
    tenant: Annotated[str, Query(max_length=200)] = "",
    workflow_id: Annotated[str, Query(max_length=100)] = "",
    agent_id: Annotated[str, Query(max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="The `next` of the page before.")] = None,
) -> Response:
    """Add up dollars, tokens, requests and agents' seconds; days, tasks and workflows come newest first, others by name.

    `total` is that of all pages. It is read from the records, which may be a moment behind.
    """
    if by == "day":  # every day has a name, so the empty one is no place to go on from
        cursor = cursor or None
        if cursor:
            _check_day(cursor)
    span = Span(
        since_ms=_ms(since) if since else 0,
        until_ms=_ms(until) if until else Span().until_ms,
        tenant=caller.tenant or tenant,
        workflow_id=workflow_id,
        agent_id=agent_id,
    )
    total, found = await plane.records.costs(by, span, limit=limit, after=cursor)
    return encoded(CostPage(by=by, total=total, items=found, next=found[-1].name if len(found) == limit else None))


def _ms(moment: datetime) -> int:
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _check_day(cursor: str) -> None:
    try:
        datetime.strptime(cursor, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        fault = Fault(detail="the cursor of a page of days is a day, such as 2026-11-21: take `next` as it came")
        raise Refusal(fault, status=422, code="cursor_invalid") from None
