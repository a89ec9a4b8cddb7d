"""TLS on real sockets: 1.3 only, commands that trust the very certificate, and clients that must show one of their own."""

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest

from amas.cli.api import Api
from amas.errors import FleetNotRunning, SettingInvalid
from amas.policy.certs import make_certificates
from amas.server.plane import ControlPlane
from amas.server.tls import tls_of
from amas.settings import ServerSettings

from .conftest import make_plane
from .test_serve import serving

NAMES = ["localhost", "127.0.0.1"]


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    make_certificates(folder, NAMES)
    return folder


def files(certs: Path, **more: Path) -> dict[str, Path]:
    return {"tls_cert": certs / "server.pem", "tls_key": certs / "server.key", **more}


def trusting(certs: Path, client: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certs / "ca.pem")
    if client:
        context.load_cert_chain(client)
    return context


async def status(port: int, context: ssl.SSLContext) -> int:
    async with httpx.AsyncClient(verify=context, timeout=60) as client:
        return (await client.get(f"https://localhost:{port}/api/pools")).status_code


@pytest.mark.requirement("B12")
async def test_both_ports_speak_tls_1_3_and_nothing_else(plane: ControlPlane, certs: Path, tmp_path: Path) -> None:
    served = make_plane(plane.engine, plane.records, plane.home, port=0, metrics_port=0, **files(certs))
    old, foreign = trusting(certs), tmp_path / "foreign"
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    make_certificates(foreign, NAMES)
    async with serving(served) as (port, metrics_port):
        assert await status(port, trusting(certs)) == 200
        async with httpx.AsyncClient(verify=trusting(certs), timeout=60) as client:
            assert (await client.get(f"https://localhost:{metrics_port}/metrics")).status_code == 200
        for context in (old, trusting(foreign)):
            with pytest.raises(httpx.ConnectError):
                await status(port, context)
        with pytest.raises(httpx.RemoteProtocolError):
            async with httpx.AsyncClient(timeout=60) as client:
                await client.get(f"http://localhost:{port}/api/pools")
        url = f"https://127.0.0.1:{port}"
        assert (await asyncio.to_thread(Api(url, certificate=str(certs / "server.pem")).get, "/api/session"))["name"] == "local"
        with pytest.raises(FleetNotRunning):
            await asyncio.to_thread(Api(url, certificate=str(foreign / "server.pem")).get, "/api/session")


@pytest.mark.requirement("A15", "B12")
async def test_where_a_ca_is_set_clients_must_show_a_certificate_of_it(
    plane: ControlPlane, certs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = files(certs, tls_ca=certs / "ca.pem")
    served = make_plane(plane.engine, plane.records, plane.home, port=0, metrics_port=0, **settings)
    make_certificates(tmp_path / "foreign", NAMES)
    async with serving(served) as (port, _):
        assert await status(port, trusting(certs, certs / "client.pem")) == 200
        for context in (trusting(certs), trusting(certs, tmp_path / "foreign" / "client.pem")):
            with pytest.raises(httpx.TransportError):
                await status(port, context)
        monkeypatch.setenv("AMAS_TLS_CLIENT", str(certs / "client.pem"))
        api = Api(f"https://127.0.0.1:{port}", certificate=str(certs / "server.pem"))
        assert (await asyncio.to_thread(api.get, "/api/session"))["name"] == "local"


def test_made_again_the_authority_stays_and_keys_are_the_owner_s_alone(tmp_path: Path) -> None:
    make_certificates(tmp_path, NAMES)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    make_certificates(tmp_path, NAMES)
    same = {path.name for path in tmp_path.iterdir() if path.read_bytes() == first[path.name]}
    assert same == {"ca.pem", "ca.key"}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.name not in ("ca.pem", "server.pem")} == {0o600}


def test_what_cannot_be_used_is_one_sentence(certs: Path, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nonsense")
    for said, part in (
        ({"tls_cert": certs / "server.pem"}, "go together"),
        ({"tls_ca": certs / "ca.pem"}, "AMAS_TLS_CERT is not"),
        (files(certs, tls_cert=tmp_path / "none.pem"), "No such file"),
        (files(certs, tls_key=certs / "ca.key"), "mismatch"),
        (files(certs, tls_ca=tmp_path / "no.pem"), "AMAS_TLS_CA"),
    ):
        with pytest.raises(SettingInvalid, match=part):
            tls_of(ServerSettings(**said))
