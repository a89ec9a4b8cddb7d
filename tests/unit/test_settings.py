"""Settings: defaults, bounds, neighbours, and what a refusal says."""

from pathlib import Path

import pytest

from amas import settings
from amas.errors import SettingInvalid
from amas.settings import (
    GROUPS,
    EngineSettings,
    HomeSettings,
    HostSettings,
    OrchestrationLimits,
    RecordsSettings,
    ServerSettings,
    read_all,
)
from amas.variables import Settings

A11 = {
    "ORCHESTRATION_MAX_AGENTS_PER_POOL": 5,
    "ORCHESTRATION_MAX_TASKS_PER_AGENT": 3,
    "ORCHESTRATION_HEARTBEAT_INTERVAL": 60.0,
    "ORCHESTRATION_MAX_AGENT_SPAWN_RATE": 10.0,
    "ORCHESTRATION_DECOMPOSITION_TIMEOUT": 120.0,
    "ORCHESTRATION_MAX_SUBTASKS": 50,
    "ORCHESTRATION_WORKFLOW_TIMEOUT": 24.0,
    "ORCHESTRATION_QUALITY_THRESHOLD": 0.85,
    "ORCHESTRATION_MAX_WORKFLOWS": 100,
    "ORCHESTRATION_MAX_TOTAL_AGENTS": 500,
    "ORCHESTRATION_LOG_LEVEL": "INFO",
    "ORCHESTRATION_RETRY_ATTEMPTS": 3,
}


@pytest.mark.requirement("A11")
def test_a11_has_its_names_and_defaults() -> None:
    assert {field.variable.name: field.default for field in OrchestrationLimits.fields()} == A11


@pytest.mark.requirement("A11")
def test_the_rest_of_a11_stands_with_what_it_is_of() -> None:
    fields = {field.variable.name: field.default for group in GROUPS for field in group.fields()}
    assert {name: default for name, default in fields.items() if name.startswith("ORCHESTRATION_")} == A11 | {
        "ORCHESTRATION_MESSAGE_TIMEOUT": 300.0,
        "ORCHESTRATION_MESSAGE_RETRIES": 3,
        "ORCHESTRATION_MESSAGE_BACKLOG_WARNING": 1000,
        "ORCHESTRATION_MESSAGE_BACKLOG_CRITICAL": 5000,
        "ORCHESTRATION_ENABLE_CACHE": True,
        "ORCHESTRATION_ENABLE_METRICS": True,
        "ORCHESTRATION_ENABLE_TRACING": False,
        "ORCHESTRATION_ENABLE_CIRCUIT_BREAKER": True,
    }


def test_no_group_is_left_out_of_the_check() -> None:
    made = {each for each in vars(settings).values() if isinstance(each, type) and Settings in each.__bases__}
    assert made == set(GROUPS)


@pytest.mark.requirement("A11")
@pytest.mark.parametrize("field", list(OrchestrationLimits.fields()), ids=lambda field: field.variable.name)
def test_every_a11_variable_is_read(field) -> None:
    text, expected = {"bool": ("true", True), "int": ("6001", 6001), "float": ("7.5", 7.5)}.get(
        field.kind.__name__, ("debug", "DEBUG")
    )
    if field.variable.at_most is not None and field.variable.at_most < 6001:
        text, expected = "1", 1
    assert getattr(OrchestrationLimits.read({field.variable.name: text}), field.name) == expected


def test_every_group_is_checked_at_start() -> None:
    from amas import settings

    declared = {each for each in vars(settings).values() if isinstance(each, type) and settings.Settings in each.__bases__}
    assert {group.__name__ for group in declared} == {group.__name__ for group in settings.GROUPS}


def test_every_group_reads_an_empty_environment() -> None:
    assert set(read_all({})) == set(GROUPS)


def test_names_are_unique_and_numbers_have_bounds() -> None:
    fields = [field for group in GROUPS for field in group.fields()]
    names = [field.variable.name for field in fields]
    assert len(names) == len(set(names))
    assert all(
        field.variable.at_least is not None and field.variable.at_most is not None
        for field in fields
        if field.kind in (int, float)
    )


def test_an_empty_variable_counts_as_not_set() -> None:
    assert ServerSettings.read({"AMAS_PORT": " "}) == ServerSettings()


@pytest.mark.parametrize(
    ("group", "environ", "message"),
    [
        (
            OrchestrationLimits,
            {"ORCHESTRATION_MAX_SUBTASKS": "0"},
            "ORCHESTRATION_MAX_SUBTASKS is 0, but must be a whole number from 1 to 100000 (tasks in one plan)",
        ),
        (
            OrchestrationLimits,
            {"ORCHESTRATION_QUALITY_THRESHOLD": "85%"},
            "ORCHESTRATION_QUALITY_THRESHOLD is '85%', but must be a number from 0 to 1 (score)",
        ),
        (
            OrchestrationLimits,
            {"ORCHESTRATION_LOG_LEVEL": "loud"},
            "ORCHESTRATION_LOG_LEVEL is 'LOUD', but must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL",
        ),
        (
            HostSettings,
            {"AMAS_BEAT_EVERY_S": "3"},
            "AMAS_BEAT_EVERY_S is 3, but must be at most a third of AMAS_LEASE_S, which is 6",
        ),
        (HostSettings, {"AMAS_LEASE_S": "nan"}, "AMAS_LEASE_S is nan, but must be a number from 0.3 to 600 (seconds)"),
        (
            ServerSettings,
            {"AMAS_PORT": "80000"},
            "AMAS_PORT is 80000, but must be a whole number from 0 to 65535 (0 for any free one)",
        ),
        (ServerSettings, {"AMAS_PORT": "9090"}, "AMAS_METRICS_PORT is 9090, but must differ from AMAS_PORT"),
        (EngineSettings, {"AMAS_CELL": "A b"}, "AMAS_CELL is 'A b', but must be lower case letters, digits and hyphens, 1 to 63"),
        (
            EngineSettings,
            {"AMAS_ENGINE_URL": "localhost:6379"},
            "AMAS_ENGINE_URL is 'localhost:6379', but must be an address "
            "such as redis://host:6379/0, rediss://..., unix:///path or redis+sentinel://sentinel:26379,sentinel2:26379/NAME, "
            "or empty for an embedded server",
        ),
        (
            RecordsSettings,
            {"AMAS_RECORDS_URL": "mysql://x"},
            "AMAS_RECORDS_URL is 'mysql://x', but must be sqlite:///path or postgresql://user:password@host/database, "
            "or empty for SQLite in the data folder",
        ),
    ],
)
def test_a_bad_value_gets_one_sentence(group, environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        group.read(environ)
    assert str(refused.value) == message


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert HomeSettings.read({"AMAS_HOME": "here"}).folder() == tmp_path / "here"
    assert HomeSettings.read({}).folder() == Path.home() / ".amas"
    assert EngineSettings.read({"AMAS_ENGINE_BINARY": "/usr/bin/redis-server"}).binary == Path("/usr/bin/redis-server")


def test_records_default_to_sqlite_in_the_data_folder(tmp_path: Path) -> None:
    assert RecordsSettings().url_for(tmp_path) == f"sqlite:///{tmp_path}/records.sqlite3"
    assert RecordsSettings(url="postgresql://db/amas").url_for(tmp_path) == "postgresql://db/amas"


@pytest.mark.requirement("N6", "B12")
@pytest.mark.parametrize("field", [field for group in GROUPS for field in group.fields() if field.variable.secret], ids=str)
def test_a_secret_may_lie_in_a_file_and_is_never_shown(field, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert field.parse("the-secret-itself") == "the-secret-itself"
    path.write_text("a-secret-of-many-letters\n")
    assert field.parse(f"file:{path}") == "a-secret-of-many-letters"
    with pytest.raises(SettingInvalid, match=f"{field.variable.name} can't be had: .*: No such file"):
        field.parse(f"file:{tmp_path}/none")
    path.write_bytes(b"\xff\xfe not text")
    with pytest.raises(SettingInvalid, match="it is no text"):
        field.parse(f"file:{path}")


def test_a_weak_secret_from_a_file_is_refused_without_being_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a bad one")
    with pytest.raises(SettingInvalid) as refused:
        ServerSettings.read({"AMAS_TOKEN": f"file:{tmp_path}/secret"})
    assert "a bad one" not in str(refused.value)
