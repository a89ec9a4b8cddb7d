"""Log lines."""

from pathlib import Path

import msgspec
import pytest

from amas.observe.logging import open_log


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
