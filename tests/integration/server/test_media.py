"""Bodies of many: the same tasks and outcomes in JSON, JSON lines and msgpack; and If-Match on what is wanted."""

import msgspec
import pytest

from amas.server.media import JSON, MSGPACK, NDJSON

from .conftest import FLEET, WORK

ENCODE = {
    JSON: msgspec.json.encode,
    MSGPACK: msgspec.msgpack.encode,
    NDJSON: msgspec.json.Encoder().encode_lines,
}


def ids_in(kind: str, body: bytes) -> list[str]:
    match kind:
        case "application/x-ndjson":
            return [msgspec.json.decode(line)["id"] for line in body.splitlines()]
        case "application/msgpack":
            return msgspec.msgpack.decode(body)["ids"]
        case _:
            return msgspec.json.decode(body)["ids"]


@pytest.mark.requirement("B9")
@pytest.mark.parametrize("sent", ENCODE)
@pytest.mark.parametrize("asked", ENCODE)
async def test_a_batch_comes_and_its_ids_go_in_each_media_type(client, sent: str, asked: str) -> None:
    tasks = [{"capability": WORK, "input": {"n": n}} for n in range(3)]
    headers = {"content-type": sent, "accept": f"text/html, {asked};q=0.9"}
    answer = await client.post("/api/tasks/batch", content=ENCODE[sent](tasks), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (201, asked)
    ids = ids_in(asked, answer.content)
    assert len(set(ids)) == 3
    assert (await client.get(f"/api/tasks/{ids[1]}")).json()["input"] == {"n": 1}


async def test_outcomes_are_asked_and_told_in_msgpack_and_in_lines(client, hands) -> None:
    ids = [(await client.post("/api/tasks", json={"capability": WORK})).json()["id"] for _ in range(2)]
    await hands.finish((await hands.claim())[0], {"found": 3})
    body, headers = msgspec.msgpack.encode({"ids": ids}), {"content-type": MSGPACK, "accept": "application/x-msgpack"}
    told = msgspec.msgpack.decode((await client.post("/api/tasks/outcomes", content=body, headers=headers)).content)
    assert (told["ended"][0]["result"], told["open"]) == ({"found": 3}, ids[1:])
    lines = await client.post("/api/tasks/outcomes", json={"ids": ids}, headers={"accept": NDJSON})
    assert [msgspec.json.decode(line) for line in lines.content.splitlines()] == told["ended"]
    refused = await client.post("/api/tasks/outcomes", content=b"\xc1", headers={"content-type": MSGPACK})
    assert refused.json()["code"] == "body_malformed"


async def test_a_fleet_is_applied_only_on_the_state_that_was_read(client) -> None:
    fleet = msgspec.to_builtins(FLEET)

    async def apply(why: str, match: str) -> tuple[int, str]:
        answer = await client.post(
            "/api/fleet/apply", json={"fleet": fleet, "by": "ann", "why": why}, headers={"if-match": match} if match else {}
        )
        return answer.status_code, answer.headers.get("etag", "") or answer.json()["code"]

    assert (await apply("the first", ""))[0] == 200
    seen = (await client.get("/api/fleet/desired")).headers["etag"]
    fleet["limits"]["max_workflows"] = 4
    status, tag = await apply("with what was read", seen)
    assert (status, tag) == (200, (await client.get("/api/fleet/desired")).headers["etag"])
    fleet["limits"]["max_workflows"] = 5
    assert await apply("on what is no more", seen) == (412, "desired_changed")
    assert await apply("whatever there is", "nonsense") == (422, "request_invalid")
    assert (await apply("whatever there is", "*"))[0] == 200
