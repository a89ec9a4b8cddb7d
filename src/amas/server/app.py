"""The REST API as an ASGI application."""

from fastapi import Depends, FastAPI

from amas.server import pages, problems
from amas.server.contract import VERSION, openapi_of
from amas.server.guard import Guard
from amas.server.once import DoneOnce
from amas.server.patience import Patience
from amas.server.plane import ControlPlane
from amas.server.routes import (
    access,
    agents,
    alerts,
    approvals,
    backups,
    costs,
    dead_letters,
    deliverables,
    desired,
    diagnostics,
    fleet,
    fleet_map,
    flows,
    healing,
    kill,
    limits,
    live,
    logs,
    messages,
    policies,
    pools,
    quality,
    remote,
    report,
    rollouts,
    routing,
    runbooks,
    scaling,
    schedules,
    sign_in,
    tasks,
    timeline,
    tokens,
    webhooks,
    workflows,
)
from amas.server.tenancy import owned
from amas.server.timing import Timed
from amas.server.tracing import Traced

DESCRIPTION = """\
Submit goals and tasks to a fleet of agents, watch them, and get results.
Errors are problem details (RFC 9457) whose `type` is stable.
"""


def create_app(plane: ControlPlane) -> FastAPI:
    """Return the API over a control plane; `plane.live.run()` must run beside it for streams to flow."""
    app = FastAPI(
        title="amas",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,  # they load their page from a content network, which a fleet may not reach
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(owned)],
    )
    app.state.plane = plane
    work = (tasks, timeline, workflows, flows, approvals, dead_letters, schedules, quality, webhooks)
    people = (
        agents,
        logs,
        diagnostics,
        pools,
        fleet,
        live,
        desired,
        messages,
        routing,
        rollouts,
        scaling,
        limits,
        costs,
        healing,
        kill,
        policies,
        alerts,
        runbooks,
        remote,
        backups,
        access,
        tokens,
        report,
    )
    routers = [part.router for part in (*work, *people)]
    for router in routers:
        app.include_router(router)
    for part in (fleet_map, deliverables, sign_in):  # the page's own
        app.include_router(part.router)
    app.router.routes.extend(pages.routes())
    problems.install(app)
    app.add_middleware(DoneOnce, engine=plane.engine)
    app.add_middleware(Traced)
    app.add_middleware(Guard, settings=plane.settings, identity=plane.identity, audit=plane.audit)
    app.add_middleware(Patience)
    app.add_middleware(Timed, metrics=plane.metrics)
    app.openapi = openapi_of(app, routers, locked=bool(plane.settings.token))  # type: ignore[method-assign]
    return app
