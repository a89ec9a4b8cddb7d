"""Log lines."""

from pathlib import Path

import msgspec
import pytest

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
