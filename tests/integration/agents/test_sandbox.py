"""Commands in a sandbox, which really try to get out of it."""

import asyncio
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from amas.agents.tools import sandbox
from amas.agents.tools.base import Use
from amas.agents.tools.shell import SandboxedTool
from amas.errors import ToolFailed, ToolRefused
from amas.model.tools import Parameter, ShellTool, ToolSpec

OUTPUT_KB = 64


@pytest.fixture(scope="module", autouse=True)
def sandboxed() -> None:
    if why := asyncio.run(sandbox.reason_missing()):
        pytest.skip(f"no sandbox here: {why}")


def tool(**limits: Any) -> SandboxedTool:
    shell = ShellTool(command=("sh", "-c", "{script}"), **limits)
    return SandboxedTool("sh", ToolSpec(shell=shell, parameters={"script": Parameter()}))


async def run(script: str, folder: Path, **limits: Any) -> Any:
    return await tool(**limits).run(Use("sh", {"script": script}, folder, 60.0, OUTPUT_KB << 10))


async def gone(marker: str) -> bool:
    """Return whether no process of the machine has `marker` on its command line, as soon as that is so."""
    async with asyncio.timeout(60):
        while any(marker.encode() in each for each in map(command_line, Path("/proc").glob("[0-9]*/cmdline"))):
            await asyncio.sleep(0.01)
    return True


def command_line(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def test_a_command_works_in_its_tasks_folder(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    told = await run("wc -l < in.txt > out.txt; cat out.txt; echo oh >&2; pwd; exit 3", tmp_path)
    assert told == {"exit_code": 3, "stdout": "2\n/work\n", "stderr": "oh\n"}
    assert (tmp_path / "out.txt").read_text() == "2\n"


async def test_it_reads_nothing_of_the_machine_but_its_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path.parent / "outside-secret"
    outside.write_text("hidden")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    monkeypatch.setenv("AMAS_SECRET_KEY", "hidden")
    here = os.getpid()
    told = await run(
        f"cat /etc/shadow; cat /etc/passwd; cat {outside}; cat link; cat ../{outside.name}; cat /proc/{here}/environ; "
        "cat /proc/1/environ; env; ls -a / /root /home; ls /proc/self/fd; cat /proc/*/environ",
        inside,
    )
    assert "hidden" not in told["stdout"] and "root:" not in told["stdout"]
    assert "AMAS" not in told["stdout"]
    told = await run("env | cut -d= -f1 | sort; ls /proc | grep -c '^[0-9]'; id -u; ls /sys 2>/dev/null | wc -l", inside)
    names = set(told["stdout"].split()[:-3])
    assert names <= {"HOME", "LANG", "OLDPWD", "PATH", "PWD", "SHLVL", "TMPDIR", "_"}
    processes, user, devices = told["stdout"].split()[-3:]
    assert int(processes) < 10 and user == "65534" and devices == "0"


async def test_it_writes_nowhere_else(tmp_path: Path) -> None:
    places = ("/usr/bin", "/etc", "/", "/dev", "/usr/local", "/proc/sys/kernel")
    script = "; ".join(f"echo x > {place}/escaped && echo WROTE {place}" for place in places)
    # What the kernel would take from root without any capability; only opened, or set to what it is, in case it can be.
    script += '; p=$(cat /proc/sys/kernel/core_pattern); printf %s "$p" > /proc/sys/kernel/core_pattern && echo WROTE core'
    script += "; : >> /proc/sysrq-trigger && echo WROTE sysrq"
    script += "; mkdir /work/m; mount -t tmpfs none /work/m && echo WROTE mount; mount -o remount,rw /usr && echo WROTE remount"
    script += "; unshare -Ur true && echo WROTE namespace; chroot /work true && echo WROTE chroot"
    told = await run(script, tmp_path)
    assert "WROTE" not in told["stdout"], told
    assert not list(Path("/usr/bin").glob("escaped"))


async def test_it_reaches_no_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0amas-outside")
        abstract.listen()
        server.setblocking(False)
        script = (
            "import socket\n"
            f"for family, address in ((2, ('127.0.0.1', {server.getsockname()[1]})), (2, ('169.254.169.254', 80)),"
            " (1, '\\0amas-outside')):\n"
            "    s = socket.socket(family); s.settimeout(5)\n"
            "    try: s.connect(address); print('REACHED', address)\n"
            "    except OSError as error: print('no')\n"
        )
        (tmp_path / "reach.py").write_text(script)
        told = await run("$(command -v python3 || echo /usr/local/bin/python3) reach.py", tmp_path)
        assert told["stdout"] == "no\nno\nno\n", told
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("while :; do sleep 60 & done", "processes"),  # a bomb that doesn't double, for the sake of the machine
        ("yes", f"wrote more than {OUTPUT_KB} KiB"),
        ("for n in 1 2 3 4 5 6 7; do (x=$(head -c 12000000 /dev/zero | tr '\\0' x); sleep 60; :) & done; wait", "MiB of memory"),
    ],
    ids=["fork", "output", "memory"],
)
async def test_what_takes_too_much_is_ended_whole(tmp_path: Path, script: str, why: str) -> None:
    marker = f"amas-{tmp_path.name}"
    with pytest.raises(ToolFailed, match=why):
        await run(f": {marker}; {script}", tmp_path, memory_mb=64, processes=40)
    assert await gone(marker)


async def test_a_process_alone_is_held_by_its_own_limits(tmp_path: Path) -> None:
    told = await run("head -c 90000000 /dev/zero | tail -c 80000000 | wc -c", tmp_path, memory_mb=64)
    assert told["stdout"].strip() != "80000000"
    told = await run(
        "head -c 2000000 /dev/zero > big; stat -c %s big; head -c 90000000 /dev/zero > /tmp/big", tmp_path, file_mb=1
    )
    assert told["stdout"] == "1048576\n"
    told = await run("while :; do :; done", tmp_path, cpu_s=1)
    assert told["exit_code"] in {128 + 9, 128 + 24}


async def test_nothing_outlives_a_command_that_is_stopped_or_ends(tmp_path: Path) -> None:
    marker = f"amas-{tmp_path.name}"
    await run(f"(: {marker}; setsid sleep 600 >/dev/null 2>&1 &) ; exit 0", tmp_path)
    assert await gone("sleep\x00600")
    script = (
        f": {marker}; trap '' TERM INT HUP; (setsid sh -c 'trap \"\" TERM; sleep 601; : {marker}' &); sleep 601; echo late > late"
    )
    running = asyncio.create_task(run(script, tmp_path))
    async with asyncio.timeout(60):
        while not any(b"sleep\x00601" in command_line(each) for each in Path("/proc").glob("[0-9]*/cmdline")):
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await gone("sleep\x00601") and await gone(marker)


async def test_an_argument_is_an_argument(tmp_path: Path) -> None:
    shell = ShellTool(command=("echo", "{word}", "{{}}"))
    echo = SandboxedTool("echo", ToolSpec(shell=shell, parameters={"word": Parameter()}))
    told = await echo.run(Use("echo", {"word": "$(id) ; `id` {x}"}, tmp_path, 60.0, 1 << 20))
    assert told["stdout"] == "$(id) ; `id` {x} {}\n"


async def test_what_is_declared_is_read_and_not_written(tmp_path: Path) -> None:
    beside = tmp_path / "data"
    beside.mkdir()
    (beside / "x").write_text("seen")
    (tmp_path / "work").mkdir()
    told = await run(f"cat {beside}/x; echo y > {beside}/x", tmp_path / "work", read=(str(beside),))
    assert told["stdout"] == "seen" and (beside / "x").read_text() == "seen"


@pytest.mark.parametrize("broken", ["missing", "forbidden"])
async def test_without_a_sandbox_a_command_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    if broken == "forbidden":
        (programs / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
        (programs / "bwrap").chmod(0o755)
        (programs / "sh").symlink_to(str(shutil.which("sh")))
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(ToolRefused, match="runs in a sandbox only, and there is none here: bubblewrap") as refused:
        await tool().check("sh", {"script": "touch ran"})
    assert ("install" if broken == "missing" else "allow user namespaces") in str(refused.value)
