"""TLS on real sockets: 1.3 only, commands that trust the very certificate, and clients that must show one of their own."""

import asyncio
import shutil
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from amas.cli.api import Api
from amas.errors import FleetNotRunning, SettingInvalid
from amas.observe.logging import process_log, use_log
from amas.policy import certs as authority
from amas.policy.certs import make_certificates
from amas.programs.trust import trusting as trusting_this
from amas.rest import AsyncClient
from amas.server import tls
from amas.server.plane import ControlPlane
from amas.server.tls import Renewal, tls_of
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
        async with AsyncClient(f"https://127.0.0.1:{port}", verify=trusting_this(str(certs / "server.pem"))) as client:
            assert (await client.access.whoami()).name == "local", "a program shows it, too"


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


def expired(certs: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with certificates of the same authority that were good until yesterday."""
    shutil.copytree(certs, to)
    with monkeypatch.context() as then:
        then.setattr(authority, "DAYS", -1)
        then.setattr(authority, "SKEW", timedelta(days=2))
        make_certificates(to, NAMES)
    return to


def revoking(certs: Path, to: Path, *revoked: Path) -> Path:
    """Return a file with the authority and a list of what it has revoked."""
    key = serialization.load_pem_private_key((certs / "ca.key").read_bytes(), None)
    issuer, now = x509.load_pem_x509_certificate((certs / "ca.pem").read_bytes()), datetime.now(UTC)
    listed = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    listed = listed.last_update(now - timedelta(hours=1)).next_update(now + timedelta(days=1))
    for path in revoked:
        serial = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - timedelta(hours=1))
        listed = listed.add_revoked_certificate(entry.build())
    made = listed.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    to.write_bytes((certs / "ca.pem").read_bytes() + made.public_bytes(serialization.Encoding.PEM))
    return to


async def told(port: int, certificate: Path | None, client: Path | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a command says of a control plane, or who it is there."""
    monkeypatch.setenv("AMAS_TLS_CLIENT", str(client or ""))
    api = Api(f"https://127.0.0.1:{port}", certificate=str(certificate or ""))
    try:
        return str((await asyncio.to_thread(api.get, "/api/session"))["name"])
    except FleetNotRunning as error:
        return str(error)


@pytest.mark.requirement("B12")
async def test_each_thing_wrong_with_a_certificate_is_one_sentence(
    plane: ControlPlane, certs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, foreign = expired(certs, tmp_path / "old", monkeypatch), tmp_path / "foreign"
    make_certificates(foreign, NAMES)
    gone = tmp_path / "gone"
    shutil.copytree(certs, gone)
    make_certificates(gone, NAMES)  # other keys, of the same authority
    settings = files(certs, tls_ca=revoking(certs, tmp_path / "ca-and-list.pem", gone / "client.pem"))
    served = make_plane(plane.engine, plane.records, plane.home, port=0, metrics_port=0, **settings)
    own = certs / "server.pem"
    async with serving(served) as (port, _):
        assert await told(port, own, certs / "client.pem", monkeypatch) == "local"
        for client in (None, foreign / "client.pem", old / "client.pem", gone / "client.pem"):
            assert "let AMAS_TLS_CLIENT name one that it trusts" in await told(port, own, client, monkeypatch), client
        assert "isn't trusted here" in await told(port, foreign / "server.pem", certs / "client.pem", monkeypatch)
    plain = make_plane(plane.engine, plane.records, plane.home, port=0, metrics_port=0)
    async with serving(plain) as (port, _):
        assert "it doesn't speak TLS at this port" in await told(port, own, None, monkeypatch)
    with pytest.raises(SettingInvalid, match=r"has expired on .* UTC: renew it"):
        tls_of(ServerSettings(**files(old)))


def shown(port: int, ca: Path) -> int:
    """Return the serial number of the certificate that a server shows."""
    context = ssl.create_default_context(cafile=ca)
    with socket.create_connection(("127.0.0.1", port)) as raw, context.wrap_socket(raw, server_hostname="localhost") as secured:
        return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"").serial_number


def serial_of(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


@pytest.mark.requirement("M8")
async def test_a_renewed_certificate_is_taken_up_while_the_servers_run(
    plane: ControlPlane, certs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.01)
    own = tmp_path / "own"
    shutil.copytree(certs, own)
    served = make_plane(plane.engine, plane.records, plane.home, port=0, metrics_port=0, **files(own))
    async with serving(served) as (port, metrics_port):
        first = serial_of(own / "server.pem")
        assert await asyncio.to_thread(shown, port, own / "ca.pem") == first
        make_certificates(own, NAMES)
        for each in (port, metrics_port):
            while await asyncio.to_thread(shown, each, own / "ca.pem") == first:
                await asyncio.sleep(0.01)
            assert await asyncio.to_thread(shown, each, own / "ca.pem") == serial_of(own / "server.pem")


class Noted:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __getattr__(self, level: str) -> Any:
        return lambda _, *, event, **fields: self.said.append(f"{event} {fields.get('reason', '')}".strip())


def test_what_can_t_be_used_stays_out_of_use_and_an_end_that_is_near_is_said_once_a_day(certs: Path, tmp_path: Path) -> None:
    own, log, before = tmp_path / "own", Noted(), process_log()
    shutil.copytree(certs, own)
    settings = ServerSettings(**files(own))
    context = tls_of(settings)
    assert context is not None
    renewal, now = Renewal(settings, context), datetime.now(UTC)
    use_log(log)  # type: ignore[arg-type]
    try:
        renewal.look(now=now)
        assert log.said == []
        (own / "server.key").write_bytes((certs / "ca.key").read_bytes())  # the key of another certificate
        renewal.look(now=now)
        renewal.look(now=now)
        assert len(log.said) == 1 and log.said[0].startswith("certificate_refused") and "mismatch" in log.said[0]
        for days in (75, 77, 77.5, 78.5, 91):
            renewal.look(now=now + timedelta(days=days))
        assert log.said[1:] == ["certificate_expires"] * 3
        make_certificates(own, NAMES)
        renewal.look(now=now)
        assert log.said[4:] == ["certificate_renewed"]
    finally:
        use_log(before)
