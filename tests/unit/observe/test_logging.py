"""Log lines."""

from pathlib import Path

import msgspec
import pytest

from amas.observe import logging
from amas.observe.logging import FIELDS_MAX, LINE_BYTES_MAX, open_log


def test_a_line_is_one_json_object_with_bound_fields(tmp_path: Path) -> None:
    log = open_log(tmp_path / "logs" / "h.jsonl", host_id="h")
    log.bind(agent_id="a-1").info("replaced a silent host", event="host_replaced", path=Path("/x"), error=ValueError("no"))
    log.debug("not at this level")
    log.error("two\nlines")
    first, second = [msgspec.json.decode(line) for line in (tmp_path / "logs" / "h.jsonl").read_bytes().splitlines()]
    assert first.pop("at").endswith("Z")
    assert first == {
        "host_id": "h",
        "agent_id": "a-1",
        "message": "replaced a silent host",
        "event": "host_replaced",
        "path": "/x",
        "error": "no",
        "level": "info",
    }
    assert second["message"] == "two\nlines" and second["level"] == "error"


def test_without_a_file_lines_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    open_log(None, level="WARNING").warning("there")
    assert msgspec.json.decode(capfd.readouterr().err)["message"] == "there"


def test_a_line_of_ten_megabytes_is_shortened_and_stays_json(tmp_path: Path) -> None:
    log = open_log(tmp_path / "h.jsonl", host_id="h1")
    log.info("x" * (10 << 20), answer={"parts": ["y" * (1 << 20)]}, number=7, agent_id="a-1", **{f"f{n}": n for n in range(100)})
    told = (tmp_path / "h.jsonl").read_bytes()
    line = msgspec.json.decode(told)
    assert (
        len(told) < LINE_BYTES_MAX
        and line["message"].startswith("xxx")
        and line["message"].endswith("... (10,485,760 characters)")
    )
    assert (line["agent_id"], line["level"], line["answer"][:14]) == ("a-1", "info", '{"parts":["yyy')
    assert len(line) == FIELDS_MAX and line["at"]


def test_who_logs_in_a_circle_is_rationed_and_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(logging, "monotonic_s", lambda: now[0])
    host = open_log(tmp_path / "h.jsonl", host_id="h")
    agent = host.bind(agent_id="a-1").rationed()
    for number in range(20_000):
        agent.bind(more=number).info("x" * 1000)
        agent.debug("below the level, and so no part of the ration" * 1000)
    host.warning("its host's own word")
    told = (tmp_path / "h.jsonl").read_bytes()
    lines = [msgspec.json.decode(line) for line in told.splitlines()]
    assert logging.RATION_BYTES <= len(told) < logging.RATION_BYTES + 10_000
    assert lines[-1]["message"] == "its host's own word"
    assert lines[-2]["event"] == "log_flooded" and lines[-2]["agent_id"] == "a-1"
    now[0] += 10
    for _ in range(20_000):
        agent.info("x" * 1000)
    more = (tmp_path / "h.jsonl").read_bytes()[len(told) :]
    assert 10 * logging.RATION_BYTES_PER_S <= len(more) < 10 * logging.RATION_BYTES_PER_S + 10_000
    back = msgspec.json.decode(more.splitlines()[0])
    assert back["event"] == "log_flooded" and back["lines"] == 20_000 - (len(lines) - 2)
