"""What the command line says of a refusal: which field, who asks, and never a traceback for a token that can't be sent."""

import pytest

from amas.cli import exit as ending
from amas.cli.api import Api, _detail
from amas.cli.main import app
from amas.errors import SettingInvalid
from amas.remote import Agent


@pytest.mark.parametrize("token", ["two\nlines", "two words", "schl\u00fcssel"])
def test_a_token_that_no_header_can_hold_is_a_setting_that_cant_be_taken(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("AMAS_TOKEN", token)
    with pytest.raises(SettingInvalid, match="AMAS_TOKEN must be one key or token"):
        Api("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ({"detail": "Expected `str`", "errors": [{"detail": "Expected `str`", "pointer": "#/url"}]}, "url: Expected `str`"),
        ({"detail": "no such pool", "errors": [{"detail": "no such pool", "pointer": "#"}]}, "no such pool"),
        ({"detail": "a; b", "errors": [{"pointer": "#/a"}, {"pointer": "#/b"}]}, "a; b"),
        ({"detail": 7, "errors": "none"}, "7"),
        ({"errors": [None]}, ""),
    ],
)
def test_the_field_of_a_body_is_named(problem: dict[str, object], said: str) -> None:
    assert _detail(problem) == said


def test_an_error_of_one_task_among_several_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, ending.reported():
        raise ExceptionGroup("tasks", [ExceptionGroup("tasks", [SettingInvalid("AMAS_PORT is 'x'")])])
    assert (ended.value.code, capsys.readouterr().err) == (ending.ExitCode.UNUSABLE, "amas: AMAS_PORT is 'x'\n")
    with pytest.raises(ExceptionGroup), ending.reported():
        raise ExceptionGroup("tasks", [SettingInvalid("one"), SettingInvalid("two")])


def test_an_address_without_its_beginning_is_no_address_of_a_fleet() -> None:
    with pytest.raises(SettingInvalid, match=r"'fleet\.example', but must be one such as https://fleet\.example"):
        Agent("a", url="fleet.example")


@pytest.mark.parametrize(
    ("typed", "said"), [("--home=/tmp status", "amas status --home ..."), ("--probe tools", "amas tools --probe ...")]
)
def test_an_option_before_its_command_is_told_where_it_belongs(typed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(typed.split())
    assert ended.value.code == ending.ExitCode.WRONG_INPUT and said in capsys.readouterr().err
