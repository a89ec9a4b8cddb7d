"""`testing.run`: the project's own tests by the project's own pytest, and what became of each.

The suite runs on a copy of the snapshot, in its own session, with a time limit and with nothing of ours in its environment; a
tenant's runs in a sandbox, since whoever may write tests could else read whatever the host's user may. A
hang, a crash of the interpreter or a missing module is a result, not a failure of the task: `ended` says which. Its input,
besides `root`: `test_paths`, `timeout_s`, and `python` (an interpreter) or `source` (the original folder, whose `.venv` is used).
Called by the host. Must never run the project's code inside the host.
"""

import asyncio
import math
import os
import re
import shlex
import shutil
import signal
import stat
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.grounds import home_of
from amas.agents.skills.findings import Analysis, Finding, Scope, Tool, Unread, specialist
from amas.agents.skills.outcomes import Log, Outcome, missing_modules, read_log, running_by_output
from amas.agents.skills.programs import Ended, minimal_environment, run_program
from amas.agents.tools import sandbox
from amas.errors import GiveUp
from amas.model.task import Json
from amas.model.tools import ShellTool

TIMEOUT_S = 300.0
"""Seconds for a suite when the task doesn't say; longer than most suites of libraries take."""

TIMEOUT_MAX_S = 86_400.0

PROBE_TIMEOUT_S = 30.0
"""Seconds for asking an interpreter what it has installed; a cold disk needs two."""

OUTPUT_BYTES = 256 << 10
LOG_BYTES_MAX = 64 << 20
"""Of a report log: some 100,000 tests. What is more is a flood, and isn't read."""
SANDBOX_OUTPUT_BYTES = 16 << 20
"""What tests in a sandbox may print before they are ended."""
SANDBOX: dict[str, Any] = {"memory_mb": 2048, "processes": 256, "file_mb": 256}
"""What tests in a sandbox may take; of time what the task says."""
TAIL_CHARS = 4000
SLOWEST = 10
DECLARING_FILES = ("pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "requirements*.txt", "requirements/*.txt")
REPORT_PLUGIN = "pytest_reportlog.plugin"

_PROBE = """
import importlib.util as u, json
print(json.dumps({name: u.find_spec(name) is not None for name in ("pytest", "pytest_reportlog")}))
"""


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """The Python that runs a suite."""

    python: str
    ours: bool
    has_pytest: bool = True
    has_reportlog: bool = True
    sandboxed: bool = False


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A suite's run, ended."""

    ended: Ended
    log: Log
    command: str


def choose_python(options: dict[str, Json]) -> str:
    """Return the interpreter that the input names, the one of the original folder's `.venv`, or our own."""
    if named := str(options.get("python") or ""):
        return named
    source = str(options.get("source") or "")
    own = Path(source, ".venv", "bin", "python")
    return str(own) if source and own.exists() else sys.executable


async def probe(python: str, home: Path) -> Interpreter:
    """Return what an interpreter has of what we need; one that can't be run has nothing."""
    ours = python == sys.executable
    if ours:
        return Interpreter(python=python, ours=True)
    try:
        ended = await run_program(
            [python, "-c", _PROBE], cwd=home, env=minimal_environment(home), timeout_s=PROBE_TIMEOUT_S, keep_bytes=4096
        )
        has: dict[str, bool] = msgspec.json.decode(ended.stdout)
    except (OSError, msgspec.DecodeError):
        has = {}
    return Interpreter(
        python=python, ours=False, has_pytest=has.get("pytest", False), has_reportlog=has.get("pytest_reportlog", False)
    )


def plugins_that_are_named(root: Path) -> list[str]:
    """Return the pytest plugins of our interpreter whose distribution the project names: the others are ours, not its own."""
    text = "\n".join(
        path.read_text(encoding="utf-8", errors="replace").lower()
        for pattern in DECLARING_FILES
        for path in sorted(root.glob(pattern))
        if path.is_file()
    )
    named = set()
    for entry in metadata.entry_points(group="pytest11"):
        distribution = re.escape(entry.dist.name.lower().replace("_", "-")) if entry.dist else ""
        if distribution and re.search(rf"(?<![\w-]){distribution}(?![\w-])", text):
            named.add(entry.name)
    return sorted(named - {"reportlog"})


def pytest_arguments(test_paths: list[str], plugins: list[str]) -> list[str]:
    """Return what follows `python -m pytest` for a person."""
    loaded = [word for plugin in plugins for word in ("-p", plugin)]
    return ["-p", "no:cacheprovider", *loaded, "--rootdir", ".", *test_paths]


def prepare(root: Path, place: Path) -> Path:
    """Copy the snapshot to where its tests may write, and return the copy.

    The empty pytest.ini above it ends pytest's search for a configuration, which goes on in the parent folders.
    """
    shutil.rmtree(place, ignore_errors=True)
    for folder in ("home", "lent"):
        (place / folder).mkdir(parents=True)
    (place / "pytest.ini").write_text("[pytest]\n")
    shutil.copytree(root, place / "suite", symlinks=True)
    return place / "suite"


def lend_reportlog(place: Path) -> Path:
    """Copy pytest-reportlog, one module in pure Python, to a folder of its own and return that folder."""
    import pytest_reportlog

    shutil.copytree(Path(pytest_reportlog.__file__).parent, place / "lent" / "pytest_reportlog", dirs_exist_ok=True)
    return place / "lent"


async def run_suite(suite: Path, interpreter: Interpreter, test_paths: list[str], *, timeout_s: float) -> Run:
    """Run pytest in the prepared copy and return how it ended with its report log."""
    place = suite.parent
    search = [str(suite / "src"), str(suite)]
    env = minimal_environment(place / "home", path_first=Path(interpreter.python).parent)
    shown = f'PYTHONPATH="$PWD/src:$PWD" {shlex.quote(interpreter.python)} -m pytest'
    plugins: list[str] = []
    if interpreter.ours:
        plugins = plugins_that_are_named(suite)
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        shown = f"PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 {shown}"
    elif not interpreter.has_reportlog:
        search.append(str(lend_reportlog(place)))
    arguments = pytest_arguments(test_paths, plugins)
    report = ["-p", REPORT_PLUGIN] if interpreter.ours or not interpreter.has_reportlog else []
    log_file = place / "report.jsonl"
    argv = [interpreter.python, "-m", "pytest", *report, f"--report-log={log_file}", "-vv", *arguments]
    env["PYTHONPATH"] = os.pathsep.join(search)
    if interpreter.sandboxed:
        ended = await run_sandboxed(argv, place=place, env=env, timeout_s=timeout_s)
    else:
        ended = await run_program(argv, cwd=suite, env=env, timeout_s=timeout_s, keep_bytes=OUTPUT_BYTES)
    text = await asyncio.to_thread(_read_log_file, log_file)
    return Run(ended=ended, log=read_log(text.splitlines()), command=f"{shown} {shlex.join(arguments)}")


async def run_sandboxed(argv: Sequence[str], *, place: Path, env: Mapping[str, str], timeout_s: float) -> Ended:
    """Run pytest with nothing of this machine in sight but `place` and our interpreter, and return how it ended."""

    def within(text: str) -> str:
        return text.replace(str(place), sandbox.WORK)

    settings = [f"{name}={within(value)}" for name, value in env.items() if name != "PATH"]
    command = ["/usr/bin/env", "-C", f"{sandbox.WORK}/suite", *settings, *map(within, argv)]
    limits = ShellTool(command=tuple(command), read=_our_interpreter(), cpu_s=math.ceil(timeout_s), **SANDBOX)
    started = time.monotonic()
    code, said, timed_out = -int(signal.SIGKILL), b"", False
    try:
        async with asyncio.timeout(timeout_s):
            ended = await sandbox.run(command, place, limits, output_bytes_max=SANDBOX_OUTPUT_BYTES)
        code, said = ended.exit_code, ended.stdout + ended.stderr
    except TimeoutError:
        timed_out = True
    except sandbox.Over as error:
        said = f"The tests were ended: they {error}.".encode()
    except sandbox.SandboxMissing as error:
        raise no_sandbox(str(error)) from error
    text = said[-OUTPUT_BYTES:].decode("utf-8", "replace")
    return Ended(exit_code=code, timed_out=timed_out, stdout=text, stderr="", seconds=time.monotonic() - started)


@cache
def _our_interpreter() -> tuple[str, ...]:
    """Return the folders of our interpreter and its packages that a sandbox doesn't have anyway."""
    base = Path(sys.base_prefix)
    places = dict.fromkeys((Path(sys.prefix), base, base.resolve()))
    return tuple(str(each) for each in places if not any(each.is_relative_to(system) for system in sandbox.SYSTEM))


def no_sandbox(why: str) -> GiveUp:
    """Return the error that says why a tenant's tests can't run here."""
    return GiveUp(f"a tenant's tests run in a sandbox only, and there is none here: {why}", code="sandbox_missing")


def _read_log_file(path: Path) -> str:
    """Return the report log, which the suite may have replaced by anything: a link, a pipe, a flood; "" where it is no file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return ""
        return file.read(LOG_BYTES_MAX).decode("utf-8", "replace")


def how_it_ended(run: Run) -> str:
    """Return `finished`, `timed_out`, `crashed`, `not_collected` or `no_tests`."""
    from pytest import ExitCode

    code, log = run.ended.exit_code, run.log
    if run.ended.timed_out:
        return "timed_out"
    if log.started and not log.finished:
        return "crashed"
    if code == ExitCode.NO_TESTS_COLLECTED:
        return "no_tests"
    if not log.started or (log.not_collected and code == ExitCode.INTERRUPTED):
        return "not_collected"
    return "crashed" if code == ExitCode.INTERNAL_ERROR else "finished"


def why(run: Run, ended: str) -> str:
    """Return one sentence on how the run ended; empty when it simply finished."""
    running = running_test(run)
    at = f" in {running}" if running else ""
    missing = missing_modules([run.ended.stdout, run.ended.stderr, *(test.message for test in run.log.not_collected)])
    match ended:
        case "timed_out":
            return f"The tests were stopped after {run.ended.seconds:.0f} s{at}."
        case "crashed":
            return f"The interpreter ended{at} with exit code {run.ended.exit_code} before pytest could finish."
        case "not_collected" if missing:
            return f"The tests need modules that the interpreter doesn't have: {', '.join(missing)}."
        case "not_collected":
            return "Pytest could not collect the tests; the last lines of its output say why."
        case "no_tests":
            return "Pytest found no tests."
    return ""


def running_test(run: Run) -> str:
    """Return the test that was under way when the run was cut off; empty when it wasn't, or when nothing tells."""
    if run.log.finished:
        return ""
    return run.log.running or running_by_output(run.ended.stdout)


def findings_of(tests: list[Outcome]) -> list[Finding]:
    """Return a finding for each failure and error."""
    return [
        Finding(
            rule=f"test-{test.outcome}",
            message=f"{test.id}: {test.message}" if test.message else test.id,
            path=test.id.split("::")[0],
            line=test.line,
            column=0,
            severity="error",
            category="tests",
            tool="pytest",
        )
        for test in tests
        if test.outcome in ("failed", "error")
    ]


def analysis_of(run: Run, notes: list[str]) -> Analysis:
    """Return a run as an analysis."""
    log, ended = run.log, how_it_ended(run)
    counts = log.counts()
    slowest = sorted(log.tests, key=lambda test: -test.seconds)[:SLOWEST]
    not_collected = {test.id: test.message.strip().splitlines()[-1:] for test in log.not_collected}
    texts = [run.ended.stdout, run.ended.stderr, *(test.message for test in log.not_collected)]
    return Analysis(
        tool=Tool("pytest", log.pytest_version, run.command),
        covered=sorted({test.id.split("::")[0] for test in log.tests} - set(not_collected)),
        failed=[Unread(path, " ".join(reason) or "could not be collected") for path, reason in not_collected.items()],
        findings=findings_of(log.tests),
        figures={**counts, "tests": len(log.tests), "suite_seconds": round(run.ended.seconds, 2)},
        fields={
            "outcomes": counts,
            "ended": ended,
            "why": why(run, ended),
            "exit_code": run.ended.exit_code,
            "running_test": running_test(run),
            "missing_modules": missing_modules(texts) if ended == "not_collected" else [],
            "slowest": [{"id": test.id, "seconds": test.seconds} for test in slowest],
            "notes": list(notes),
            "tail": (run.ended.stdout + run.ended.stderr)[-TAIL_CHARS:],
        },
        artifacts={"tests": msgspec.to_builtins(log.tests)},
    )


async def run_tests(scope: Scope, place: Path) -> Analysis:
    """Run the tests of the scope in a copy at `place` and return what became of them."""
    suite = await asyncio.to_thread(prepare, scope.root, place)
    interpreter = await probe(choose_python(scope.options), place / "home")
    notes = []
    if not interpreter.has_pytest:
        notes.append(f"{interpreter.python} has no pytest, so the tests ran with amas's own interpreter.")
        interpreter = Interpreter(python=sys.executable, ours=True)
    elif not interpreter.has_reportlog:
        notes.append(f"{interpreter.python} has no pytest-reportlog; amas lent it its own for this run.")
    return analysis_of(await run_suite(suite, interpreter, _test_paths(scope), timeout_s=_timeout_s(scope)), notes)


async def run_tenants_tests(scope: Scope, place: Path) -> Analysis:
    """Run the tests of the scope in a sandbox, by our own interpreter, and return what became of them; nothing of them is left.

    GiveUp (`sandbox_missing`) where this machine has none.
    """
    if why := await sandbox.reason_missing():
        raise no_sandbox(why)
    try:
        suite = await asyncio.to_thread(prepare, scope.root, place)
        interpreter = Interpreter(python=sys.executable, ours=True, sandboxed=True)
        notes = ["The tests ran in a sandbox: without a network, and with amas's own interpreter."]
        return analysis_of(await run_suite(suite, interpreter, _test_paths(scope), timeout_s=_timeout_s(scope)), notes)
    finally:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)


def _test_paths(scope: Scope) -> list[str]:
    named = scope.options.get("test_paths")
    return [str(path) for path in (named if isinstance(named, list) and named else scope.paths)]


def _timeout_s(scope: Scope) -> float:
    named = scope.options.get("timeout_s")
    valid = isinstance(named, int | float) and not isinstance(named, bool) and 0 < named <= TIMEOUT_MAX_S
    return float(cast(float, named)) if valid else TIMEOUT_S


@agent("testing.run")
async def testing(ctx: Context) -> Json:
    """Run the project's tests, a tenant's in a sandbox."""
    ctx.progress(0.0, "running the project's tests")
    if not ctx.spec.tenant:
        return await specialist(ctx, lambda scope: run_tests(scope, ctx.workspace / "testing"))
    # Not among what is the tenant's own: a link that the tests make while they run would lead other tasks anywhere.
    place = home_of(ctx.workspace) / "sandboxes" / ctx.id
    return await specialist(ctx, lambda scope: run_tenants_tests(scope, place))
