"""A tenant's workflows, page by page, beside those of others, on every database."""

import random

import sqlalchemy as sa

from amas.model.states import WorkflowState
from amas.records import tenancy
from amas.records.store import Records
from amas.records.tables import tasks, workflows

SEED = 20261123


async def fill(records: Records, owners: dict[str, tuple[str, WorkflowState]], draw: random.Random) -> None:
    """Put workflows there, each with a few tasks of its owner, "" for nobody's, and tasks of owners that are in no workflow."""
    plain = [("", tenant) for tenant in ("acme", "plain", "")]
    rows = [
        {"id": f"{number}/{workflow or tenant}", "workflow_id": workflow or None, "tenant": tenant or None}
        for workflow, tenant in [*((workflow, tenant) for workflow, (tenant, _) in owners.items()), *plain]
        for number in range(draw.randint(1, 5))
    ]
    async with records._database.writing() as connection:
        task = {"state": "succeeded", "capability": "work", "spec": b"", "created_ms": 1}
        await connection.execute(sa.insert(tasks), [task | row for row in rows])
        states = [{"id": workflow, "state": state.value, "created_ms": 1} for workflow, (_, state) in owners.items()]
        await connection.execute(sa.insert(workflows), states)


async def pages(records: Records, tenant: str, state: WorkflowState | None, limit: int) -> list[str]:
    seen: list[str] = []
    while page := await records.workflows(tenant=tenant, state=state, limit=limit, cursor=seen[-1] if seen else ""):
        assert len(page) <= limit
        seen += [found.id for found in page]
    return seen


async def test_each_tenant_sees_its_own_in_order_by_state_and_page(records: Records) -> None:
    draw = random.Random(SEED)
    states = [WorkflowState.SUCCEEDED, WorkflowState.FAILED, WorkflowState.RUNNING]
    owners = {f"w{number:04d}": (draw.choice(("acme", "zeta", "", "z")), draw.choice(states)) for number in range(300)}
    await fill(records, owners, draw)
    for tenant in ("acme", "zeta", "z", "plain", "nobody"):
        for state in (None, *states, WorkflowState.CANCELLED):
            wanted = [name for name, (owner, its) in owners.items() if owner == tenant and state in (None, its)]
            for limit in (1, 7, 50):
                assert await pages(records, tenant, state, limit) == sorted(wanted, reverse=True), (tenant, state, limit)


async def test_rare_states_are_found_beyond_what_is_walked_at_once(records: Records) -> None:
    rare = {"w0003", "w0011"}
    owners = {
        f"w{number:04d}": ("acme", WorkflowState.FAILED if f"w{number:04d}" in rare else WorkflowState.SUCCEEDED)
        for number in range(tenancy.WALKED + 20)
    }
    await fill(records, owners, random.Random(SEED))
    assert [found.id for found in await records.workflows(tenant="acme", state=WorkflowState.FAILED)] == sorted(
        rare, reverse=True
    )


async def test_nothing_is_gone_through_that_is_not_the_tenants(records: Records, records_url: str) -> None:
    if not records_url.startswith("sqlite"):
        return  # what PostgreSQL does with few rows says nothing of many
    await fill(records, {"w1": ("acme", WorkflowState.RUNNING)}, random.Random(SEED))

    def plans(connection: sa.Connection) -> list[str]:
        said: list[str] = []

        def explained(conn: sa.Connection, _cursor: object, statement: str, parameters: object, *_: object) -> None:
            if statement.startswith(("SELECT", "WITH")):
                driver = conn.connection.dbapi_connection
                assert driver is not None
                said.extend(row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

        sa.event.listen(connection, "before_cursor_execute", explained)
        tenancy.own_workflows(connection, "plain", limit=50)
        tenancy.own_workflows(connection, "acme", limit=50, state=WorkflowState.RUNNING)
        return said

    plan = await records._database.look(plans)
    gone_through = {line for line in plan if line.startswith("SCAN") and line not in ("SCAN walk", "SCAN CONSTANT ROW")}
    assert gone_through == set()
    assert any("tasks_tenant_workflow" in line for line in plan)
