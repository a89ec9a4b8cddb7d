"""What an agent elsewhere hears where its token opens nothing: one kind of error, and one line of the examples."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from http_served import Whole, bound, running

from amas.errors import RemoteRefused, RemoteTokenRefused
from amas.remote import Agent
from amas.server.guard import TOKEN_UNKNOWN

EXAMPLES = Path(__file__).parents[2] / "examples" / "remote"
LIMIT_S = 60


class Locked(Whole):
    """A control plane as far as it answers whoever shows a token that it doesn't know."""

    def do_POST(self) -> None:
        self.read()
        self.say(401, msgspec.json.encode(TOKEN_UNKNOWN), {"Content-Type": "application/problem+json"})


@pytest.fixture
def url() -> Iterator[str]:
    with running(bound(Locked)) as found:
        yield found


async def test_a_token_that_opens_nothing_is_an_error_of_its_own(url: str) -> None:
    one = Agent("stranger", url=url, token="expired")
    one.can("test.afar")(lambda task: None)
    said = r"doesn't take this agent's token \(AMAS_REMOTE_TOKEN\): .*mistyped, expired"
    with pytest.raises(RemoteTokenRefused, match=said) as no:
        async with asyncio.timeout(LIMIT_S):
            await one.serve()
    assert (no.value.refusal, isinstance(no.value, RemoteRefused)) == ("token_needed", True)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param([sys.executable, "agent.py"], id="py"),
        pytest.param(
            ["bash", "agent.sh"],
            id="sh",
            marks=pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="curl or jq is missing"),
        ),
    ],
)
def test_an_example_that_is_not_let_in_says_why_in_one_line(url: str, program: list[str]) -> None:
    told = {"AMAS_URL": url, "AMAS_REMOTE_TOKEN": "expired", "AGENT_NAME": "stranger"}
    ended = subprocess.run(
        program, cwd=EXAMPLES, env={**os.environ, **told}, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
    assert ended.stderr.startswith("remote.stranger isn't let in: ")
    assert "mistyped, expired or revoked" in ended.stderr
