"""schemathesis on the whole API: whatever is sent, the answer is a documented one, and never a 500."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from amas.server.plane import ControlPlane
from amas.settings import MessageSettings

from .conftest import WORK, Hands, client_of
from .test_serve import served, serving  # noqa: F401  a fixture

FULL = os.environ.get("AMAS_FUZZ") == "full"
SEED = os.environ.get("AMAS_FUZZ_SEED", "20261121")
EXAMPLES, PHASES = ("50", "examples,coverage,fuzzing") if FULL else ("2", "examples,fuzzing")
"""Random requests to each route; the full run, of ten minutes, also tries each boundary of each field."""
CONFIG = '[checks]\nnot_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503", "504"]\n'
"""503 and 504 are answers: that there is no such back-up folder, or nobody answered in time."""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
ENDLESS = ("/api/events", "/api/live", "/api/workflows/{workflow_id}/events")
LIMIT_S = 3000 if FULL else 280


@pytest.mark.schemathesis
@pytest.mark.timeout(LIMIT_S + 20)
async def test_no_request_brings_an_undocumented_answer(served: ControlPlane, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    served.messages = MessageSettings(secret="s" * 32)
    served.follow(served.fleet)
    hands = Hands(served)
    await hands.register(lease_s=3600)
    async with client_of(served) as client:
        await client.post("/api/tasks", json={"capability": WORK})
        await hands.finish((await hands.claim())[0], {"done": True})
        await hands.record()
    async with serving(served, limit_s=LIMIT_S + 10) as (port, _):
        running = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            *("run", f"http://127.0.0.1:{port}/openapi.json", "--checks", CHECKS, "--seed", SEED, "--max-examples", EXAMPLES),
            *("--phases", PHASES, "--mode", "all", "--request-timeout", "20", "--warnings", "off"),
            *("--suppress-health-check", "all", "--generation-database", "none", "--no-color"),
            *(part for path in ENDLESS for part in ("--exclude-path", path)),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(LIMIT_S):
            told, _ = await running.communicate()
    print(f"seed {SEED}")
    assert running.returncode == 0, f"seed {SEED}:\n{told.decode()[-20_000:]}"
