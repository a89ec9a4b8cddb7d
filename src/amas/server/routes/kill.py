"""The kill switch: stop an agent, a pool or the whole fleet at once (docs/access.md).

It is a wish in the desired state. The call that writes it takes back what the killed run, and no claim hands them anything from
that moment on (`engine/functions/63_kill.lua`); hosts are told to stop the attempts, and whatever those say later is refused.
"""

from fastapi import APIRouter, Request
from starlette.responses import Response

from amas.core.agents import why_no_agent
from amas.engine.desired import Wish
from amas.errors import AgentUnknown
from amas.model.desired import FLEET_KILLED, Desired, Kill
from amas.model.meant import meant_or_known
from amas.model.numbers import pool_named
from amas.policy.acts import KILLED, LIFTED
from amas.server import intake
from amas.server.contract import answers, encoded, takes
from amas.server.healing_shapes import KillPage, KillShape, NewKill
from amas.server.plane import ControlPlane, Plane
from amas.server.problems import Fault, Refusal

router = APIRouter(prefix="/api", tags=["healing"])

_PAGE = KillPage(items=[KillShape(target="coder", by="ann", why="it deletes files", at_ms=1_757_000_000_000)])


@router.get("/kill", summary="List what is killed", **answers(KillPage, _PAGE, problems=(503,)))
async def list_kills(plane: Plane) -> Response:
    """List agents and pools that do nothing until their kill is lifted."""
    return encoded(_page(await plane.desired.read()))


@router.post(
    "/kill",
    summary="Kill, or lift a kill",
    openapi_extra=takes(NewKill, NewKill(pool="coder", why="it deletes files")),
    **answers(KillPage, _PAGE, problems=(400, 404, 409, 413, 415, 422, 503)),
)
async def post_kill(request: Request, plane: Plane) -> Response:
    """Take from an agent, a pool or the fleet what it runs and give it nothing more, until the kill is lifted."""
    new = await intake.read_one(request, NewKill)
    named = [name for name in (new.agent, new.pool, FLEET_KILLED if new.fleet else "") if name]
    if len(named) > 1 or not (named or new.lift):
        raise Refusal(Fault(detail="name one: an agent, a pool, or the fleet", pointer="#"))
    what = named[0] if named else "all"
    request.state.named = f"{what} {LIFTED if new.lift else KILLED}"  # which the audit says, whatever comes of it
    wanted = await plane.desired.read()
    if new.lift:
        missing = [name for name in named if name not in wanted.kills]
        if missing:
            raise AgentUnknown(f"{missing[0]!r} isn't killed; what is: {', '.join(sorted(wanted.kills)) or 'nothing'}")
        wishes = [Wish(f"kill:{name}", None) for name in named or wanted.kills]
    else:
        if not new.why.strip():
            raise Refusal(Fault(detail="say why, for those who find it tomorrow", pointer="#/why"))
        await check_there(plane, wanted, agent=new.agent, pool=new.pool)
        pools = wanted.pools or plane.fleet.pools
        if new.agent and pool_named(new.agent) in {pool.name for pool in pools} and (unknown := why_no_agent(new.agent, pools)):
            raise AgentUnknown(unknown)
        wishes = [Wish(f"kill:{named[0]}", Kill(by=new.by, why=new.why, at_ms=plane.engine.now_ms()))]
    await plane.desired.change(wishes, by=new.by, why=f"{what}: kill lifted" if new.lift else f"{what} killed: {new.why}")
    return encoded(_page(await plane.desired.read()))


async def check_there(plane: ControlPlane, wanted: Desired, *, agent: str, pool: str) -> None:
    """Raise AgentUnknown for a name that nobody has: a slip in an emergency must not look as if it had worked."""
    pools = {pool.name for pool in wanted.pools or plane.fleet.pools}
    if pool and pool not in pools:
        raise AgentUnknown(f"there is no pool {pool!r}{meant_or_known(pool, pools)}")
    if agent and pool_named(agent) not in pools and not await plane.remote.registry.look([agent]):
        raise AgentUnknown(f"neither the fleet's pools nor remote sessions have an agent {agent!r}")


def _page(wanted: Desired) -> KillPage:
    items = [KillShape(target=name, by=held.by, why=held.why, at_ms=held.at_ms) for name, held in sorted(wanted.kills.items())]
    return KillPage(items=items)
