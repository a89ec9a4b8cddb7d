"""The small pieces of the local platform: the pause between restarts, ports, the data folder."""

import socket
import stat
from pathlib import Path

import pytest

from amas.errors import FleetAlreadyRunning, HomeUnusable, PortInUse, StartFailed
from amas.platforms.local.control import error_of
from amas.platforms.local.home import LOG_BYTES_MAX, FleetState, Home
from amas.platforms.local.keeper import next_backoff_s
from amas.platforms.local.ports import claim_ports
from amas.platforms.local.ready import READY_FD, tell_ready


def state(**changes: object) -> FleetState:
    fields = {
        "name": "amas",
        "fleet_file": "/f.yaml",
        "engine_url": "unix:///e",
        "cell": "local",
        "artifacts_url": "/h/artifacts",
        "host": "127.0.0.1",
        "port": 8000,
        "metrics_port": 9090,
    }
    return FleetState(**(fields | changes))


def test_the_pause_doubles_to_its_limit_and_starts_anew_after_a_steady_run() -> None:
    pauses = [0.0]
    for _ in range(8):
        pauses.append(next_backoff_s(pauses[-1], ran_s=0.1))
    assert pauses[1:] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert next_backoff_s(10.0, ran_s=30.0) == 0.2


def test_zero_means_any_free_port_and_all_differ() -> None:
    ports = claim_ports("127.0.0.1", {"--port": 0, "--metrics-port": 0})
    assert 0 not in ports.values()
    assert len(set(ports.values())) == 2
    assert claim_ports("127.0.0.1", {"--port": ports["--port"]}) == {"--port": ports["--port"]}


def test_a_taken_port_is_named_even_without_a_listener_of_ours() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(PortInUse, match=f"port {taken.getsockname()[1]} is taken by"),
    ):
        claim_ports("127.0.0.1", {"--port": taken.getsockname()[1]})


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_told(host: str) -> None:
    with pytest.raises(StartFailed, match="AMAS_HOST"):
        claim_ports(host, {"--port": 0})


def test_the_lock_is_exclusive_and_tells_who_holds_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.supervisor_pid() is None
    with home.hold():
        assert home.supervisor_pid() is not None
        with pytest.raises(FleetAlreadyRunning, match="amas down"), Home(tmp_path).hold():
            pass
    assert home.supervisor_pid() is None


def test_the_state_is_replaced_whole_and_the_folder_is_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (home.folder, home.logs, home.engine, home.artifacts)} == {0o700}
    home.write_state(state(port=1))
    home.write_state(state(port=2))
    assert home.read_state() == state(port=2)
    home.clear_state()
    with pytest.raises(HomeUnusable, match="can't be read"):
        home.read_state()


def test_a_long_log_is_put_aside(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    home.log("host-1").write_bytes(bytes(LOG_BYTES_MAX + 1))
    assert not home.log("host-1").exists()
    assert (home.logs / "host-1.log.1").stat().st_size == LOG_BYTES_MAX + 1


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
    ],
)
def test_the_address_for_clients(host: str, url: str) -> None:
    assert state(host=host).api_url == url


def test_an_error_comes_back_as_its_own_class() -> None:
    error = error_of("port_in_use", "port 1 is taken")
    assert isinstance(error, PortInUse)
    assert str(error) == "port 1 is taken"
    assert isinstance(error_of("fleet_file_invalid", "text"), StartFailed)


def test_telling_ready_outside_a_supervisor_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(READY_FD, raising=False)
    tell_ready()
