"""An engine that is reached by TLS: 1.3 alone, with a certificate of one's own, and each thing wrong with it as one sentence."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from amas.engine.connection import Engine
from amas.errors import EngineUnreachable, SettingInvalid
from amas.policy import certs as authority
from amas.policy.certs import make_certificates


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    make_certificates(tmp_path / "certs", ["localhost"])
    return tmp_path / "certs"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
async def port(certs: Path, tmp_path: Path) -> AsyncIterator[int]:
    """The system's redis-server, which speaks TLS alone, to whoever shows a certificate of the authority."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on PATH: `apt-get install --no-install-recommends redis-server` brings one")
    found = free_port()
    options = {
        "port": "0",
        "tls-port": str(found),
        "bind": "127.0.0.1",
        "save": "",
        "dir": str(tmp_path),
        "tls-cert-file": str(certs / "server.pem"),
        "tls-key-file": str(certs / "server.key"),
        "tls-ca-cert-file": str(certs / "ca.pem"),
        "tls-auth-clients": "yes",
    }
    said = [part for name, value in options.items() for part in (f"--{name}", value)]
    process = await asyncio.create_subprocess_exec(binary, *said, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield found
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def url(port: int, certs: Path, *, client: Path | None = None, host: str = "localhost") -> str:
    shown = f"&ssl_certfile={client}" if client else ""
    return f"rediss://{host}:{port}/0?ssl_ca_certs={certs / 'ca.pem'}{shown}"


async def refused(address: str) -> str:
    async with Engine(address) as engine:
        with pytest.raises(EngineUnreachable) as told:
            await engine.check()
    assert "\n" not in str(told.value) and "ssl_ca_certs" not in str(told.value).partition(" can't be used: ")[0]
    return str(told.value).partition(" can't be used: ")[2]


@pytest.mark.requirement("B12", "M8")
async def test_both_sides_show_who_they_are_and_what_is_wrong_is_said(
    port: int, certs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign, own = tmp_path / "foreign", certs / "client.pem"
    make_certificates(foreign, ["localhost"])
    async with Engine(url(port, certs, client=own)) as engine:
        await engine.wait_until_ready(timeout_s=60, load=True)
        assert await engine.call("release")
        for client in (None, foreign / "client.pem"):
            assert "ssl_certfile= in AMAS_ENGINE_URL" in await refused(url(port, certs, client=client))
        assert "isn't trusted here: name that with ssl_ca_certs=" in await refused(url(port, foreign, client=own))
        assert "isn't for this IP address" in await refused(url(port, certs, client=own, host="127.0.0.1"))
        await engine.client.config_set("tls-protocols", "TLSv1.2")
        assert "it doesn't speak TLS 1.3" in await refused(url(port, certs, client=own))
        await engine.client.config_set("tls-protocols", "TLSv1.3")
        with monkeypatch.context() as then:
            then.setattr(authority, "DAYS", -1)
            then.setattr(authority, "SKEW", timedelta(days=2))
            good = own.read_bytes()
            make_certificates(certs, ["localhost"])
        assert "ssl_certfile= in AMAS_ENGINE_URL" in await refused(url(port, certs, client=own))
        old = own.read_bytes()
        own.write_bytes(good)
        await engine.client.config_set("tls-cert-file", str(certs / "server.pem"), "tls-key-file", str(certs / "server.key"))
        assert "its certificate has expired: renew it" in await refused(url(port, certs, client=own))
        assert old != good


async def test_a_file_that_can_t_be_used_is_named_at_the_start(certs: Path, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nonsense")
    for address, part in (
        (
            url(1, certs, client=tmp_path / "none.pem"),
            r"none.pem and its key, which AMAS_ENGINE_URL names, can't be used: No such",
        ),
        (url(1, certs, client=certs / "ca.pem"), "ca.pem and its key"),
        (f"rediss://localhost/0?ssl_ca_certs={tmp_path / 'no.pem'}", "no.pem, which AMAS_ENGINE_URL names"),
        (f"valkeys://localhost/0?ssl_certfile={certs / 'server.pem'}&ssl_keyfile={certs / 'ca.key'}", "mismatch"),
    ):
        with pytest.raises(SettingInvalid, match=part):
            Engine(address)
