"""`--watch` of every command that has it, and `amas logs -f` of a fleet elsewhere, go on when the control plane was away."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import call, leaves

from amas.cli import alerts, logs, output
from amas.observe.logging import open_log
from amas.server.plane import ControlPlane

from .conftest import client_of, make_plane
from .test_hostile_answers import Liar, lying
from .test_serve import served, serving  # noqa: F401  a fixture

WATCHES = sorted(name for name, leaf in leaves().items() if "--watch" in leaf.options)


class Leaver(Liar):
    """A control plane that is away for a while."""

    away = False
    answered = 0

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        if self.away:
            return 503, {"detail": "the engine doesn't answer", "title": "away", "type": "about:blank"}
        self.answered += 1
        return super().answer(method, path)


def pauses(liar: Leaver) -> Iterator[None]:
    """Do what happens in each pause of a command that watches: it goes on, goes away, stays away, is back, is interrupted."""
    yield
    liar.away = True
    yield
    yield
    liar.away, liar.answered = False, 0
    yield
    raise KeyboardInterrupt


def test_there_are_commands_that_watch() -> None:
    assert {"ps", "agents", "hosts", "status", "alerts show", "diagnose"} <= {*WATCHES}


async def test_every_command_that_watches_outlasts_a_control_plane(
    plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(plane) as client:
        liar = Leaver((await client.get("/openapi.json")).json())
    monkeypatch.setenv("AMAS_HOME", str(tmp_path))
    wrong = {}

    def watch_all() -> None:
        for name in WATCHES:
            steps = pauses(liar)
            for module in (output, alerts):
                monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda _, steps=steps: next(steps)))
            done = call(*name.split(), *("x" for _ in leaves()[name].required), "--watch")
            said = done.err.count("the engine doesn't answer; asked again every 2 s")
            if name == "status":  # which is asked for that very thing
                said = min(done.out.count("not ready: the engine doesn't answer"), 1)
            if (done.code, said, liar.answered > 0) != (130, 1, True):
                wrong[name] = (done, liar.answered)

    with lying(liar) as url:
        monkeypatch.setenv("AMAS_URL", url)
        await asyncio.to_thread(watch_all)
    assert wrong == {}


@pytest.mark.parametrize("columns", [0, 80])
def test_what_is_half_shown_when_it_fails_is_not_shown(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal the last whole picture stays, the reason below it."""
    from amas.errors import FleetNotRunning

    shown = iter([True, False, True])

    def show() -> None:
        print("head")
        if not next(shown):
            raise FleetNotRunning("it is away")
        print("foot")

    naps = iter([None, None])

    def sleep(_: float) -> None:
        if next(naps, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr(output, "time", SimpleNamespace(sleep=sleep))
    with pytest.raises(KeyboardInterrupt):
        output.watched(show, watch=True)
    told = capsys.readouterr()
    assert (told.out, told.err.count("it is away")) == ("head\nfoot\nhead\nfoot\n", 1)


async def test_a_log_elsewhere_is_followed_over_restarts_and_no_line_comes_twice(
    served: ControlPlane,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    log = open_log(served.home / "logs" / "host-1.jsonl").bind(agent_id="a-1")
    for n in range(3):
        log.info("before", n=n)
    monkeypatch.setenv("AMAS_HOME", str(tmp_path / "nothing"))
    monkeypatch.setattr(logs, "AGAIN_S", 0.05)
    asked = logs.Asked(agents=("a-1",))

    async def following(stream: Iterator[dict[str, Any]], count: int) -> list[Any]:
        return [(await asyncio.to_thread(next, stream))["n"] for _ in range(count)]

    async with serving(served) as (port, _):
        monkeypatch.setenv("AMAS_URL", f"http://127.0.0.1:{port}")
        stream = logs._told_afar(asked, logs.Api(f"http://127.0.0.1:{port}"), lines=10, follow=True)
        seen = await following(stream, 3)
    for n in range(3, 5):
        log.info("while it is away", n=n)
    again = make_plane(served.engine, served.records, served.home, port=port, metrics_port=0)
    async with serving(again):
        seen += await following(stream, 2)
        log.info("after", n=5)
        seen += await following(stream, 1)
        await asyncio.to_thread(stream.close)  # type: ignore[attr-defined]
    assert seen == [0, 1, 2, 3, 4, 5]
