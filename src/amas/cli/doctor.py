"""`amas doctor`: every condition for a fleet to run here, checked one by one, each with its mend.

A check returns what it found, or raises an AmasError whose sentence is the mend. Nothing is changed and nothing is left running.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from amas.cli.api import Api, home_at
from amas.cli.exit import ExitCode
from amas.cli.output import console, counted, print_json
from amas.errors import AmasError, HomeUnusable, PlatformError
from amas.model.fleet import FleetSpec
from amas.model.meant import did_you_mean
from amas.platforms.local.home import Home

FREE_BYTES_MIN = 256 << 20
"""Less than this in the data folder soon stops the engine, which must write down what it accepts."""

OTHER_VARIABLES = (
    "AMAS_SECRETS_FOLDER", "AMAS_TLS_CLIENT", "AMAS_TOKEN", "AMAS_URL", "AMAS_VAULT_AUTH", "AMAS_VAULT_ROLE",
    "AMAS_VAULT_TOKEN_FILE",
)  # fmt: skip
"""What commands and secrets read besides the settings."""
ALIKE = 0.8
"""Of a variable's name to a setting's, from 0 to 1: above it, it is a slip. People have variables of their own."""
SHOWN_MAX = 5
TOOLS = ("ruff", "pytest", "griffe", "radon", "vulture")


class Finding(NamedTuple):
    """One line of the report."""

    check: str
    ok: bool
    found: str


def doctor(folder: Path | None, fleet: str, *, as_json: bool) -> None:
    """Print the report; exits with 3 when something must be mended. `fleet`: by default the one that runs, as wanted now."""
    home = home_at(folder)
    runs = home.supervisor_pid() is not None and not fleet
    checks: list[tuple[str, Callable[[], str]]] = [
        ("Python", _python),
        ("settings", _settings),
        ("secrets", lambda: _secrets(_wanted(home) if runs else _declared(fleet))),
        ("certificate", _certificate),
        ("data folder", lambda: _folder(home)),
        ("engine", _engine),
        ("records", lambda: _records(home)),
        ("artifacts", lambda: _artifacts(home)),
        ("tools", _tools),
        ("fleet file", lambda: _fleet(_wanted(home).file if runs else fleet or "amas")),
        ("running fleet", lambda: _running(home)),
        ("back-ups", lambda: _backups(home, _wanted(home) if runs else _declared(fleet))),
        ("agents", lambda: _agents(home)),
        ("dependencies", lambda: _dependencies(home)),
    ]
    findings = [_run(name, check) for name, check in checks]
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        from rich.text import Text

        for finding in findings:
            mark = ("✓", "green") if finding.ok else ("✗", "red")
            console().print(Text.assemble(mark, " ", (finding.check, "bold"), "  ", finding.found), soft_wrap=True)
    if not all(finding.ok for finding in findings):
        raise SystemExit(ExitCode.UNUSABLE)


def _wanted(home: Home) -> FleetSpec:
    """Return the fleet that runs."""
    import asyncio

    from amas.platforms.local.applied import applied_fleet

    return asyncio.run(applied_fleet(home.read_state()))


def _declared(fleet: str) -> FleetSpec:
    """Return what a file declares, by default the one that `amas up` takes."""
    from amas.fleet.load import load_fleet

    return load_fleet(fleet or "amas")


def _run(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except AmasError as error:
        return Finding(name, False, str(error))


def _python() -> str:
    return f"{sys.version.split()[0]} at {sys.executable}"


def _settings() -> str:
    from amas.settings import GROUPS, read_all

    read_all()
    known = [field.variable.name for group in GROUPS for field in group.fields()]
    names = [name for name in known if os.environ.get(name)]
    told = f"set in the environment: {', '.join(names)}" if names else "all at their defaults"
    return "; ".join([told, *_strangers([*known, *OTHER_VARIABLES])])


def _strangers(known: Collection[str]) -> Iterator[str]:
    """Yield what variables might be meant for one of ours and are none: nobody reads them."""
    for name in sorted(os.environ):
        ours = name.startswith(("AMAS_", "ORCHESTRATION_"))
        if ours and name not in known and (meant := did_you_mean(name, known, cutoff=ALIKE)):
            yield f"{name} is no setting{meant}"


def _secrets(fleet: FleetSpec) -> str:
    """Read every secret that the settings and the fleet refer to, and name those that can't be read by their references."""
    from amas.secrets import is_reference, read, secrets_in
    from amas.settings import GROUPS

    variables = [field.variable for group in GROUPS for field in group.fields()]
    said = [os.environ.get(variable.name, "") for variable in variables if variable.secret or variable.references]
    options = [pool.options for pool in fleet.pools]
    headers = [value for each in options for value in (each.get("http") or {}).get("headers", {}).values()]
    named = dict.fromkeys(
        [*filter(is_reference, [each for text in said for each in text.split()] + headers), *secrets_in(options)]
    )
    wrong = []
    for reference in named:
        try:
            read(reference)
        except AmasError as error:
            wrong.append(str(error))
    if wrong:
        raise PlatformError("; ".join(wrong))
    return f"{', '.join(named)}: all can be read" if named else "none is referred to"


def _certificate() -> str:
    """Look whether servers that start now could use it, and for how long."""
    from datetime import UTC, datetime

    from amas.settings import ServerSettings

    settings = ServerSettings.read()
    if settings.tls_cert is None:
        return "none is set; the API speaks plain HTTP"
    from amas.server.tls import SOON, ends, tls_of

    tls_of(settings)
    until = ends(settings.tls_cert, now=datetime.now(UTC))
    if until - datetime.now(UTC) < SOON:
        raise PlatformError(f"AMAS_TLS_CERT {settings.tls_cert} expires on {until:%Y-%m-%d %H:%M} UTC: renew it")
    return f"good until {until:%Y-%m-%d}"


def _folder(home: Home) -> str:
    parent = next(path for path in (home.folder, *home.folder.parents) if path.exists())
    if not os.access(parent, os.W_OK):
        raise HomeUnusable(f"{parent} can't be written: set AMAS_HOME or --home to a folder of yours")
    free = shutil.disk_usage(parent).free
    if free < FREE_BYTES_MIN:
        raise HomeUnusable(f"{home.folder} has {free >> 20} MiB free; the engine needs at least {FREE_BYTES_MIN >> 20}")
    return f"{home.folder}, {free >> 30} GiB free"


def _engine() -> str:
    import asyncio

    from amas.engine.connection import Engine
    from amas.engine.embedded import find_binary
    from amas.settings import EngineSettings

    settings = EngineSettings.read()
    if not settings.url:
        return f"embedded: {find_binary(settings.binary)}"

    async def ask() -> str:
        async with Engine.of(settings) as engine:
            version = await engine.check(load=False)
            return f"version {version} at {engine.address}; a call is acknowledged {engine.acknowledgement}"

    return asyncio.run(ask())


def _records(home: Home) -> str:
    from amas.settings import RecordsSettings

    url = RecordsSettings.read().url_for(home.folder)
    if url.startswith("postgresql") and importlib.util.find_spec("asyncpg") is None:
        raise PlatformError("AMAS_RECORDS_URL names PostgreSQL, whose driver isn't installed: pip install 'amas[postgres]'")
    return url.rpartition("@")[2] if "@" in url else url


def _artifacts(home: Home) -> str:
    from amas.artifacts.store import ArtifactStore
    from amas.settings import ArtifactSettings

    store = ArtifactStore(ArtifactSettings.read().url_for(home.folder))
    next(store.list(), None)  # reaches the bucket, with the credentials there are
    return store.url


def _tools() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found, missing = [], []
    for tool in TOOLS:
        try:
            found.append(f"{tool} {version(tool)}")
        except PackageNotFoundError:
            missing.append(tool)
    if missing:
        raise PlatformError(f"missing: {', '.join(missing)}; install amas again, they come with it")
    return ", ".join(found)


def _fleet(fleet: str) -> str:
    from amas.fleet.load import load_fleet

    if not fleet:
        return "none: the fleet that runs was applied over the API"
    spec = load_fleet(fleet, agents=True)
    agents = sum(pool.replicas for pool in spec.pools)
    counts = f"{counted(agents, 'agent')} in {counted(len(spec.pools), 'pool')}, capabilities: {len(spec.capabilities)}"
    return f"{spec.name} ({spec.file}): {counts}, all importable"


def _running(home: Home) -> str:
    if home.supervisor_pid() is None:
        return f"none in {home.folder}; `amas up` starts one"
    ready = Api.of(home).get("/ready/orchestration")
    return f"{home.read_state().status}, {'ready' if ready.get('ready', True) else 'not ready'} at {home.read_state().api_url}"


def _backups(home: Home, fleet: FleetSpec) -> str:
    from amas.cli.backups import health

    return health(home, fleet)


def _agents(home: Home) -> str:
    if home.supervisor_pid() is None:
        return "none running"
    found = Api.of(home).get("/api/quarantine")
    if down := found["pools_down"]:
        raise PlatformError(
            f"every agent of {', '.join(down)} is quarantined, so its tasks wait: `amas quarantine list` says why, "
            "a new version of the pool or `amas quarantine lift AGENT` lets them go"
        )
    if killed := [each["target"] for each in Api.of(home).get("/api/kill")["items"]]:
        names = ", ".join("the whole fleet" if each == "*" else each for each in killed[:SHOWN_MAX])
        raise PlatformError(f"killed, until it is lifted: {names}: `amas kill` says why, `amas kill --lift` lifts it")
    if whys := [pool["why"] for pool in Api.of(home).get("/api/fleet/desired")["pools"] if pool["why"]]:
        raise PlatformError("; ".join(whys[:SHOWN_MAX]))
    held = [f"{item['agent_id']}: {item['why']}" for item in found["items"]]
    return f"{len(held)} quarantined ({'; '.join(held[:SHOWN_MAX])})" if held else "none quarantined"


def _dependencies(home: Home) -> str:
    if home.supervisor_pid() is None:
        return "none in use"
    found = Api.of(home).get("/api/breakers")["items"]
    down = [f"{item['name']} is {item['state'].replace('_', '-')} ({item['why']})" for item in found if item["state"] != "closed"]
    return "; ".join(down) or (f"{len(found)} in use, every breaker closed" if found else "none in use")
