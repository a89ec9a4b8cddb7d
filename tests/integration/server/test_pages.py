"""What the page is served as: its policy, what browsers may keep, deep links, the map of agents, and a deliverable's files."""

import gzip
import json
import struct
from pathlib import Path

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from amas.agents.skills.publish import MANIFEST, Published
from amas.model.states import WorkflowState
from amas.server import pages
from amas.server.fleet_map import CODES, draw

from .conftest import ROOT, WORK, Hands


@pytest.fixture
def site(tmp_path: Path) -> TestClient:
    folder = tmp_path / "_web"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>amas</title>")
    (folder / "Goal.html").write_text("<!doctype html><title>a goal</title>")
    (folder / "assets" / "index-1a2b.js").write_text("let many;\n" * 500)
    return TestClient(Starlette(routes=pages.routes(folder)))


def test_every_route_of_the_page_is_its_document_under_a_strict_policy(site: TestClient) -> None:
    for path in ("/", "/fleet", "/goals", "/goals/0199", "/goals/0199/more", "/agents/code-reviewer-1", "/agents"):
        answer = site.get(path)
        assert answer.text == f"<!doctype html><title>{'a goal' if path == '/goals/0199' else 'amas'}</title>", path
        assert answer.headers["cache-control"] == "no-cache"
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"
    again = site.get("/", headers={"if-none-match": site.get("/").headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_files_with_a_hash_are_kept_for_ever_and_travel_packed(site: TestClient) -> None:
    with site.stream("GET", "/assets/index-1a2b.js", headers={"accept-encoding": "gzip"}) as answer:
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].startswith("text/javascript")
        assert gzip.decompress(b"".join(answer.iter_raw())) == b"let many;\n" * 500
    assert "content-encoding" not in site.get("/assets/index-1a2b.js", headers={"accept-encoding": ""}).headers
    gone = site.get("/assets/index-0000.js")
    assert (gone.status_code, gone.headers["cache-control"]) == (404, "no-store")


@pytest.mark.parametrize("path", ["/assets/..%2f..%2fsecret", "/assets/../../secret", "/icon.svg"])
def test_no_file_but_the_page_s_own_is_handed_out(site: TestClient, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("s3cret")
    assert site.get(path).status_code == 404


def test_a_page_that_was_built_anew_is_seen(site: TestClient, tmp_path: Path) -> None:
    assert site.get("/").text
    document = tmp_path / "_web" / "index.html"
    before = document.stat().st_mtime_ns
    document.write_text("<!doctype html><title>newer</title>")
    assert document.stat().st_mtime_ns != before
    assert "newer" in site.get("/").text


def test_without_a_build_the_page_says_how_to_get_one(tmp_path: Path) -> None:
    answer = TestClient(Starlette(routes=pages.routes(tmp_path / "none"))).get("/fleet")
    assert answer.status_code == 200
    assert "npm run build" in answer.text
    assert "content-security-policy" in answer.headers


async def test_what_is_no_page_stays_a_problem(client) -> None:
    for path in ("/api/none", "/nowhere", "/assets"):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path


def decoded(body: bytes) -> dict[str, list[str]]:
    (length,) = struct.unpack_from("<I", body)
    found, at = {}, 4 + length
    for pool in json.loads(body[4:at])["pools"]:
        agents = sum(last - first + 1 for first, last in pool["spans"])
        found[pool["name"]], at = [CODES[code].value for code in body[at : at + agents]], at + agents
    assert at == len(body)
    return found


async def test_the_map_has_a_byte_for_every_agent_and_is_sent_when_it_changed(client, hands: Hands, plane) -> None:
    first = await client.get("/api/fleet/map")
    assert decoded(first.content) == {"coordinator": ["idle"], "worker": ["idle", "idle"]}
    same = await client.get("/api/fleet/map", headers={"if-none-match": first.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    await client.post("/api/tasks", json={"capability": WORK})
    await hands.claim(agent="worker-2")
    plane.fleet_map._drawn_at = plane.board._seen_at = float("-inf")
    later = await client.get("/api/fleet/map", headers={"if-none-match": first.headers["etag"], "accept-encoding": ""})
    assert decoded(later.content) == {"coordinator": ["idle"], "worker": ["idle", "working"]}
    assert decoded(draw(await plane.board.roster())) == decoded(later.content)


async def test_only_the_published_files_of_a_deliverable_can_be_read_and_none_runs(client, hands: Hands, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "report.html").write_text("<script>steal()</script>")
    (folder / "secret.txt").write_text("s3cret")
    (folder / "outside.txt").symlink_to("/etc/hostname")
    listed = [Published(name, 0, "") for name in ("report.html", "outside.txt", "../secret.txt")]
    (folder / MANIFEST).write_bytes(msgspec.json.encode(listed))
    goal = (await client.post("/api/goals", json={"text": "a report"})).json()
    root = (await hands.claim(ROOT, "coordinator-1"))[0]
    await hands.finish(root, {"folder": str(folder), "files": [{"name": "secret.txt"}]})
    address = f"/api/workflows/{goal['workflow_id']}/deliverable"
    report = await client.get(f"{address}/report.html")
    assert (report.status_code, report.text) == (200, "<script>steal()</script>")
    assert report.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    for name in ("secret.txt", "outside.txt", "..%2fsecret.txt", "%2fetc%2fhostname", ""):
        refused = await client.get(f"{address}/{name}")
        assert (refused.status_code, refused.headers["content-type"]) == (404, "application/problem+json"), name
    assert (await client.get(f"/api/workflows/{goal['workflow_id']}")).json()["state"] == WorkflowState.SUCCEEDED
