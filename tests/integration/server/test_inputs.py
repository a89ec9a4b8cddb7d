"""Files that come with a goal: where they go, what is refused, and who may add to them."""

import os
from pathlib import Path

import httpx
import pytest

from amas.server.plane import ControlPlane
from amas.server.routes import inputs

from .conftest import Hands
from .test_contract import problem_of


async def made(client: httpx.AsyncClient) -> dict[str, str]:
    answer = await client.post("/api/inputs")
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_files_lie_below_a_folder_of_their_own_as_they_came(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    one, other = await made(client), await made(client)
    for name, body in {"src/a.py": b"a = 1\n", "read me.md": b"\x00\xff", "src/b/c.py": b""}.items():
        assert (await client.put(f"/api/inputs/{one['id']}/{name}", content=body)).status_code == 204
    assert (await client.put(f"/api/inputs/{one['id']}/src/a.py", content=b"a = 2\n")).status_code == 204
    folder = Path(one["folder"])
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {"src/a.py": b"a = 2\n", "read me.md": b"\x00\xff", "src/b/c.py": b""}
    assert folder.is_relative_to(plane.home.absolute()) and list(Path(other["folder"]).iterdir()) == []


@pytest.mark.parametrize("name", ["%2e%2e/%2e%2e/x", "a/%2e%2e/x", "a//x", "%2Fetc/x", "a%5Cx", "a%00x", "a%0Ax", "x" * 300])
async def test_a_name_that_leads_elsewhere_is_refused(client: httpx.AsyncClient, plane: ControlPlane, name: str) -> None:
    one = await made(client)
    answer = await client.put(f"/api/inputs/{one['id']}/{name}", content=b"x")
    assert answer.status_code in (404, 422), answer.text  # a line break leads to no route
    assert [path for path in plane.home.rglob("*") if path.name == "x"] == []


async def test_what_is_too_much_says_what_to_do(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "FILE_BYTES_MAX", 4)
    monkeypatch.setattr(inputs, "INPUT_BYTES_MAX", 6)
    monkeypatch.setattr(inputs, "FILES_MAX", 2)
    path = f"/api/inputs/{(await made(client))['id']}"
    assert "folder on the fleet's machine" in problem_of(await client.put(f"{path}/a", content=b"12345")).detail
    assert (await client.put(f"{path}/a", content=b"1234")).status_code == 204
    assert problem_of(await client.put(f"{path}/b", content=b"123")).code == "input_too_large"
    assert (await client.put(f"{path}/b", content=b"12")).status_code == 204
    assert problem_of(await client.put(f"{path}/c", content=b"")).code == "input_too_large"
    assert (await client.put(f"{path}/a", content=b"4321")).status_code == 204, "what is replaced doesn't count twice"
    assert problem_of(await client.put(f"{path}/a/b", content=b"")).status in (413, 422)
    monkeypatch.setattr(inputs, "ALL_BYTES_MAX", 6)
    assert problem_of(await client.post("/api/inputs")).code == "inputs_full"


async def test_a_folder_that_nobody_made_takes_nothing_and_old_ones_go(client: httpx.AsyncClient) -> None:
    unknown = "/api/inputs/01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e/a"
    assert problem_of(await client.put(unknown, content=b"")).code == "input_unknown"
    old, new = await made(client), await made(client)
    os.utime(old["folder"], (0, 0))
    await made(client)
    assert (Path(old["folder"]).exists(), Path(new["folder"]).exists()) == (False, True)


async def test_where_agents_are_on_other_machines_nothing_is_taken(client: httpx.AsyncClient, hands: Hands) -> None:
    assert "on other machines (here)" in (await client.get("/api/inputs")).json()["closed"]
    assert problem_of(await client.post("/api/inputs")).code == "inputs_elsewhere"


async def test_a_tenant_that_has_filled_its_share_keeps_nobody_else_from_sending(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "OWN_BYTES_MAX", 6)
    admin = (await client.post("/api/keys", json={"name": "k0", "role": "system-admin"})).json()["key"]
    callers = {}
    for tenant in ("acme", "globex"):
        said = {"name": tenant, "role": "operator", "tenant": tenant}
        answer = await client.post("/api/keys", json=said, headers={"authorization": f"Bearer {admin}"})
        callers[tenant] = {"authorization": f"Bearer {answer.json()['key']}"}

    async def sent(tenant: str, size: int) -> httpx.Response:
        folder = (await client.post("/api/inputs", headers=callers[tenant])).json()
        return await client.put(f"/api/inputs/{folder['id']}/a", content=b"x" * size, headers=callers[tenant])

    assert (await sent("acme", 5)).status_code == 204
    assert problem_of(await sent("acme", 2)).code == "inputs_full", "over all of its folders together"
    assert (await sent("globex", 6)).status_code == 204
