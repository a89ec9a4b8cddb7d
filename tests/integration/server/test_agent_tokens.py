"""Agents' tokens: asked for by agents on a real host, signed by the control plane, checked by anybody, refused once revoked."""

import asyncio
import base64
import hmac
import json
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from host_bench import Bench, pool
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from amas.agents import tokens as purse
from amas.agents.http_agent import HttpAgent
from amas.agents.tokens import RENEW_MS, TokenPurse
from amas.clock import new_id, now_ms
from amas.core.signing import TOKEN_LIFE_S
from amas.engine.connection import Engine
from amas.engine.desired import Wish
from amas.errors import FleetError, NotAllowed, RetryLater
from amas.model.desired import Kill
from amas.model.fleet import FleetSpec
from amas.model.healing import Quarantine
from amas.model.states import TaskState
from amas.model.token import TokenAsk
from amas.policy.boxes import Box
from amas.records.store import Records
from amas.server.live import end
from amas.server.plane import ControlPlane

from .conftest import make_plane
from .test_access import bearer, make
from .test_contract import problem_of

pytestmark = pytest.mark.requirement("A15", "B12")

POOL = pool("token", agent="token_agents:token", replicas=2)
FLEET = FleetSpec(name="small", pools=(POOL, pool("token_sync", agent="token_agents:token_sync")))
ELSEWHERE = "https://payments.example"


@pytest.fixture
async def plane(engine: Engine, records: Records, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    made = make_plane(engine, records, tmp_path / "home")
    made.follow(FLEET)
    signing = asyncio.create_task(made.tokens.run())
    yield made
    await end(signing)


@pytest.fixture
async def admin(client: httpx.AsyncClient) -> dict[str, str]:
    return bearer((await make(client, "root", "system-admin"))["key"])


@pytest.fixture
def bench(engine: Engine, engine_url: str, tmp_path: Path) -> Bench:
    return Bench(engine, engine_url, tmp_path / "host")


async def token_of(bench: Bench, audience: str = "", capability: str = "test.token", **spec: Any) -> str:
    view = await bench.ended(await bench.submit(capability, audience, **spec))
    assert view.state is TaskState.SUCCEEDED, view.failure
    first, second = view.result
    assert first == second, "the host keeps it"
    return first


def part(token: str, number: int) -> dict[str, Any]:
    text = token.split(".")[number]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


async def refused(client: httpx.AsyncClient, token: str) -> str:
    answer = await client.get("/api/session", headers=bearer(token))
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"] == "Bearer"
    assert token not in answer.text
    return problem_of(answer).code


async def accepted(client: httpx.AsyncClient, token: str) -> bool:
    return (await client.get("/api/session", headers=bearer(token))).status_code == 200


async def test_any_service_can_check_an_agent_s_token_with_the_published_keys(bench: Bench, client, plane: ControlPlane) -> None:
    assert (await client.get("/.well-known/jwks.json")).json() == {"keys": []}, "nobody has asked yet"
    async with bench.host(FLEET.pools):
        token = await token_of(bench, ELSEWHERE, tenant="acme")
        other = await token_of(bench, tenant="acme")
    answer = await client.get("/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert part(token, 0) == {"typ": "JWT", "alg": "Ed25519", "kid": answer.json()["keys"][0]["kid"]}
    claims = jwt.decode(token, KeySet.import_key_set(answer.json()), algorithms=["Ed25519"]).claims
    assert claims["sub"] in ("token-1", "token-2")
    assert (claims["iss"], claims["aud"], claims["tenant"]) == (plane.tokens.issuer, ELSEWHERE, "acme")
    assert (claims["amas.pool"], claims["amas.layer"]) == ("token", POOL.layer.value)
    assert claims["exp"] - claims["iat"] == TOKEN_LIFE_S
    assert claims["jti"] != part(other, 1)["jti"]
    (file,) = (plane.home / "signing").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_the_api_knows_the_agent_by_its_token_and_lets_it_do_what_agents_may(bench: Bench, client, admin) -> None:
    async with bench.host(FLEET.pools):
        for capability in ("test.token", "test.token_sync"):
            headers = bearer(await token_of(bench, capability=capability))
            who = (await client.get("/api/session", headers=headers)).json()
            assert (who["name"].rpartition("-")[0], who["role"]) == (capability.removeprefix("test."), "agent")
            assert problem_of(await client.get("/api/tasks", headers=headers)).code == "role_insufficient"
            assert problem_of(await client.post("/api/kill", json={"fleet": True}, headers=headers)).code == "role_insufficient"


async def test_an_isolated_agent_gets_its_token_from_its_host(bench: Bench, client, admin) -> None:
    async with bench.host([msgspec.structs.replace(POOL, isolation="process")]):
        assert await accepted(client, await token_of(bench))


async def test_revoked_tokens_are_refused_from_the_next_request_on_and_replaced(bench: Bench, client, admin, plane) -> None:
    async with bench.host(FLEET.pools):
        for name in ("token-1", "token"):
            tokens = {part(token, 1)["sub"]: token for token in [await token_of(bench) for _ in range(12)]}
            agent, token = next((agent, token) for agent, token in tokens.items() if name in (agent, "token"))
            assert await accepted(client, token)
            gone = await client.delete(f"/api/tokens/{name}", headers=admin)
            assert gone.status_code == 200, gone.text
            assert await refused(client, token) == "token_revoked"
            others = [other for sub, other in tokens.items() if sub != agent]
            assert all([await accepted(client, other) for other in others]) is (name == "token-1" or not others)
            assert await accepted(client, await token_of(bench)), "the host noticed"
    lines = plane.audit.newest(10)
    assert ("root", "/api/tokens/token", 200) in [(line.who, line.on, line.outcome) for line in lines]
    assert problem_of(await client.delete("/api/tokens/nobody-1", headers=admin)).code == "agent_unknown"


@pytest.mark.parametrize("how", ["kill", "pool", "fleet", "quarantine"])
async def test_who_is_stopped_can_t_go_on_with_its_token_nor_get_another(bench: Bench, client, admin, plane, how: str) -> None:
    async with bench.host(FLEET.pools):
        token = await token_of(bench)
        agent = part(token, 1)["sub"]
        said = Kill(by="ann", why="it leaks", at_ms=1)
        wish = {
            "kill": Wish(f"kill:{agent}", said),
            "pool": Wish("kill:token", said),
            "fleet": Wish("kill:*", said),
            "quarantine": Wish(f"quarantine:{agent}", Quarantine(by="ann", why="it leaks", at_ms=1, until_ms=0, version="1")),
        }[how]
        await plane.desired.change([wish], by="ann", why="stop")
        assert await refused(client, token) == "token_revoked"
        standing = await plane.tokens.kept.standing("h1", agent, "")
        assert standing.stopped
        await plane.desired.change([Wish(wish.field, None)], by="ann", why="go on")
        assert await refused(client, token) == "token_revoked", "what was revoked stays so"


async def test_who_is_removed_is_refused_once_it_has_left(bench: Bench, client, admin, plane: ControlPlane) -> None:
    async with bench.host(FLEET.pools):
        token = await token_of(bench)
        plane.follow(FleetSpec(name="small", pools=()))
        assert await accepted(client, token), "it is at work yet"
    plane.board._seen_at = float("-inf")  # a look serves half a second
    assert await refused(client, token) == "token_revoked"


async def test_keys_are_replaced_with_an_overlap_or_at_once(bench: Bench, client, admin, plane: ControlPlane) -> None:
    async with bench.host(FLEET.pools):
        old = await token_of(bench, capability="test.token_sync")
        (first,) = (await client.get("/.well-known/jwks.json")).json()["keys"]
        both = (await client.post("/api/signing-keys/rotate", json={}, headers=admin)).json()["keys"]
        assert both[0] == first and len(both) == 2
        assert await accepted(client, old), "it counts until it expires"
        assert part(await token_of(bench, ELSEWHERE), 0)["kid"] == first["kid"], "services have yet to learn of the next key"
        (new,) = (await client.post("/api/signing-keys/rotate", json={"at_once": True}, headers=admin)).json()["keys"]
        assert new["kid"] not in [key["kid"] for key in both]
        assert await refused(client, old) == "token_key_unknown"
        fresh = await token_of(bench, capability="test.token_sync")
        assert part(fresh, 0)["kid"] == new["kid"]
        assert await accepted(client, fresh)
    written = (plane.home / "audit" / "audit.jsonl").read_text()
    assert "/api/signing-keys/rotate" in written
    assert old not in written and fresh not in written
    assert fresh.split(".")[2] not in (plane.home / "audit" / "audit.jsonl").read_text()


def encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_forged_and_strange_tokens_are_refused_each_with_its_reason(bench: Bench, client, admin, plane) -> None:
    async with bench.host(FLEET.pools):
        good = await token_of(bench)
        foreign = await token_of(bench, ELSEWHERE)
    header, claims = part(good, 0), part(good, 1)
    (public,) = (await client.get("/.well-known/jwks.json")).json()["keys"]
    own = OKPKey.import_key(next((plane.home / "signing").iterdir()).read_bytes())
    stranger = OKPKey.generate_key("Ed25519")

    def signed(key: Any = own, kid: str = header["kid"], **changes: Any) -> str:
        said = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return jwt.encode({"alg": "Ed25519", "kid": kid}, said, key, algorithms=["Ed25519"])

    def by_secret(secret: bytes) -> str:
        said = f"{encoded({**header, 'alg': 'HS256'})}.{encoded(claims)}"
        return f"{said}.{base64.urlsafe_b64encode(hmac.digest(secret, said.encode(), 'sha256')).rstrip(b'=').decode()}"

    now_s = int(time.time())
    found = {
        "another key": signed(stranger),
        "another key by its own name": signed(stranger, kid=stranger.thumbprint()),
        "no signature": f"{encoded({'alg': 'none'})}.{encoded(claims)}.",
        "no signature, by our key": f"{encoded({**header, 'alg': 'none'})}.{encoded(claims)}.",
        "the public key as a secret": by_secret(OKPKey.import_key(public).as_pem(private=False)),
        "the public key's bytes as a secret": by_secret(base64.urlsafe_b64decode(public["x"] + "=")),
        "its claims changed": f"{good.split('.')[0]}.{encoded({**claims, 'sub': 'root-1'})}.{good.split('.')[2]}",
        "its signature cut": good[:-8],
        "expired": signed(iat=now_s - TOKEN_LIFE_S - 60, exp=now_s - 60),
        "from the future": signed(iat=now_s + 3600, exp=now_s + TOKEN_LIFE_S),
        "another audience": foreign,
        "another issuer": signed(iss="https://elsewhere.example"),
        "no end": signed(exp=None),
        "no agent": signed(sub=None),
        "an endless list": signed(aud=[plane.tokens.issuer, ELSEWHERE]),
        "nonsense": "a.b.c",
        "dots": "..",
    }
    codes = {what: await refused(client, token) for what, token in found.items()}
    assert codes == {
        **dict.fromkeys(found, "token_forged"),
        "another key by its own name": "token_key_unknown",
        "expired": "token_expired",
        "another audience": "token_for_another",
        "another issuer": "token_for_another",
    }
    assert await accepted(client, good)
    assert await accepted(client, signed()), "the test's own tokens are sound but for what it changes"


async def test_a_token_is_signed_only_for_an_agent_at_work_on_the_host_that_asks(bench: Bench, engine: Engine, plane) -> None:
    async with bench.host([pool("hold"), *FLEET.pools]) as host:
        task_id = await bench.submit("test.hold", "gate")
        await bench.state(task_id, TaskState.RUNNING)
        other = TokenPurse(engine, "h2", draw=lambda: 0.0)
        await plane.hosts.register("h2", host._about(), lease_s=60.0)
        for who, agent, task in (
            (other, "hold-1", task_id),
            (host._services.tokens, "token-1", task_id),
            (other, "x-1", new_id()),
        ):
            with pytest.raises(NotAllowed, match="doesn't run"):
                await who.token(agent, "", task_id=task, tenant="")
        with pytest.raises(RetryLater, match="holds no lease"):
            await TokenPurse(engine, "h3", draw=lambda: 0.0).token("hold-1", "", task_id=task_id, tenant="")
        mine = await host._services.tokens.token("hold-1", "", task_id=task_id, tenant="acme")
        assert "tenant" not in part(mine, 1), "the control plane names the task's tenant, whatever the host says"
        import sample_agents

        sample_agents.release.set()
        await bench.ended(task_id)
    sample_agents.release.clear()


async def test_no_token_lies_in_the_engine_in_the_open(bench: Bench, engine: Engine, plane: ControlPlane) -> None:
    async with bench.host([pool("hold")]) as host:
        task_id = await bench.submit("test.hold", "gate-2")
        await bench.state(task_id, TaskState.RUNNING)
        box, ask_id = Box(), new_id()
        ask = TokenAsk(id=ask_id, host_id="h1", agent_id="hold-1", audience="", task_id=task_id, box=box.public)
        assert await engine.call("token_ask", 0, "h1", b"nonsense") == 1
        assert await plane.tokens.kept.ask(ask) == "", "what nobody can read holds nobody up"

        async def answered() -> bytes | None:
            return await engine.client.get(engine.key("tokens:said", ask_id))

        held = await bench.until(answered)
        assert b"eyJ" not in held
        assert b"eyJ" in box.open((await plane.tokens.kept.fetch(ask_id)).sealed)  # type: ignore[union-attr]
        assert await answered() is None
        await bench.queue.cancel([task_id])
        await bench.ended(task_id)
        host.drain()


async def test_a_host_renews_long_before_the_end_and_goes_on_while_nobody_signs(
    bench: Bench, engine: Engine, plane: ControlPlane, client, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0
    mine = TokenPurse(engine, "h1", draw=lambda: 0.0, clock=lambda: now_ms() + passed)
    async with bench.host([pool("hold")]):
        task_id = await bench.submit("test.hold", "gate-3")
        await bench.state(task_id, TaskState.RUNNING)

        async def ask() -> str:
            return await mine.token("hold-1", "", task_id=task_id, tenant="")

        first = await ask()
        passed = TOKEN_LIFE_S * 1000 - RENEW_MS - 60_000
        assert await ask() == first
        passed += 120_000
        second = await ask()
        assert second != first
        assert part(first, 1)["exp"] > part(second, 1)["iat"], "they overlap"
        passed = TOKEN_LIFE_S * 1000 - 60_000
        monkeypatch.setattr(plane.tokens.kept, "take", lambda _: asyncio.sleep(0, []))
        monkeypatch.setattr(purse, "ANSWER_S", 0.05)
        assert await ask() == second, "it counts yet, and nobody signs another"
        passed += 120_000
        with pytest.raises(RetryLater, match="no control plane"):
            await ask()
        await bench.queue.cancel([task_id])
        await bench.ended(task_id)


async def test_an_agent_behind_a_url_is_called_with_its_own_token(bench: Bench, client, admin, plane: ControlPlane) -> None:
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.extend(line.partition(": ")[2] for line in head.split("\r\n") if line.lower().startswith("authorization:"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n42")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    http = {"url": url, "private": True, "token_audience": ELSEWHERE}
    foreign = pool("afar", agent="amas.agents.http_agent:HttpAgent", options={"http": http})
    HttpAgent.check(foreign)
    async with bench.host([foreign]):
        assert (await bench.ended(await bench.submit("test.afar"))).result == 42
    server.close()
    (said,) = asked
    claims = part(said.removeprefix("Bearer "), 1)
    assert (claims["sub"], claims["aud"]) == ("afar-1", ELSEWHERE)
    for odd in ({"token_audience": "two words"}, {"headers": {"Authorization": "x"}}):
        with pytest.raises(FleetError, match="token_audience"):
            HttpAgent.check(msgspec.structs.replace(foreign, options={"http": {**http, **odd}}))
