"""What is said where the local model isn't installed."""

import sys
from pathlib import Path

import pytest

from amas.errors import ModelNotInstalled
from amas.platforms.local.home import Home
from amas.platforms.local.model import for_this_process, missing, served
from amas.platforms.local.request import request_for


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # as Python itself says that a module isn't there
    monkeypatch.delenv("AMAS_MODEL_URL", raising=False)
    monkeypatch.setenv("AMAS_MODEL", "local")


@pytest.mark.usefixtures("without")
def test_one_sentence_names_what_is_missing_and_the_command(tmp_path: Path) -> None:
    assert "xllamacpp" in missing()
    said = r"the local model isn't installed \(.*xllamacpp.*\): run `amas model install`"
    with pytest.raises(ModelNotInstalled, match=said), served():
        pass
    with pytest.raises(ModelNotInstalled, match=said):
        request_for("amas", Home(tmp_path), ports=(0, 0))
    with pytest.raises(ModelNotInstalled, match=said), for_this_process():
        pass


@pytest.mark.usefixtures("without")
def test_an_address_of_another_server_needs_nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMAS_MODEL_URL", "http://127.0.0.1:1/v1")
    assert request_for("amas", Home(tmp_path), ports=(0, 0)).local_model is False
    with for_this_process():
        pass
