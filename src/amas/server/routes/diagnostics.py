"""Diagnostics: what every part is doing, and a CPU profile of the control plane on demand."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from amas.observe.profile import SECONDS_MAX, profile, speedscope
from amas.server.contract import answers, encoded
from amas.server.diagnose import diagnostics
from amas.server.diagnostic_shapes import (
    Diagnostics,
    DutyShape,
    EngineState,
    HostState,
    LoopTask,
    Profile,
    SlowCall,
    SlowTransition,
    StuckTask,
)
from amas.server.plane import Plane
from amas.server.problems import Fault, Refusal

router = APIRouter(prefix="/api/diagnostics", tags=["fleet"])

_ENGINE = EngineState(
    version="9.1.0",
    up_s=86_400,
    answered_s=0.0004,
    keys=120_400,
    clients=14,
    blocked=9,
    memory_bytes=310_000_000,
    memory_max_bytes=0,
    slowest=[SlowTransition(name="fcall", calls=2_000_000, mean_us=41.5, total_s=83.0, failed=0)],
    slow_calls=[SlowCall(at_ms=1_757_000_000_000, micros=12_400, name="submit")],
)
_FOUND = Diagnostics(
    leads=True,
    loop_lag_s=0.0003,
    threads=9,
    duties=[DutyShape(name="reaper", doing="rests", for_s=0.2, late_s=0.0, sweeps=900, mean_s=0.001, longest_s=0.02, troubles=0)],
    tasks=[LoopTask(name="recorder", at="keep_at (run.py:243)")],
    hosts=[HostState(id="host-1", loop_lag_s=0.0004, lease_left_s=5.2, running=3, troubled=0)],
    engine=_ENGINE,
    recorder_lag_s=0.0,
    stuck=[StuckTask(id="01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e", what="queued", where="development.testing", for_s=912.0)],
)
_FRAMES = {"frames": [{"name": "keep_at", "file": "run.py", "line": 236}]}
_SAMPLED = {"type": "sampled", "name": "control plane, 5.0 s", "unit": "seconds", "startValue": 0, "endValue": 0.02}
_PROFILE = Profile(shared=_FRAMES, profiles=[{**_SAMPLED, "samples": [[0]], "weights": [0.02]}])


@router.get("", summary="See what is slow, late or stuck", **answers(Diagnostics, _FOUND, problems=(503,)))
async def get_diagnostics(plane: Plane) -> Response:
    """Show what the control plane's duties and tasks, the hosts and the engine are doing, and how late they are."""
    return encoded(await diagnostics(plane))


@router.post("/profile", summary="Profile the control plane", **answers(Profile, _PROFILE, problems=(422, 429)))
async def make_profile(
    plane: Plane, seconds: Annotated[float, Query(ge=0.1, le=SECONDS_MAX, description="How long to look.")]
) -> Response:
    """Look at the control plane's threads for some seconds and return where their CPU time went, for https://www.speedscope.app."""
    if plane.profiling.locked():
        raise Refusal(Fault(detail="a profile is being made already: wait for its end"), status=429, code="profile_running")
    async with plane.profiling:
        found, elapsed_s = await asyncio.to_thread(profile, seconds)
    shared, profiles = speedscope(found, elapsed_s, name="control plane")
    return encoded(Profile(shared=shared, profiles=profiles))
