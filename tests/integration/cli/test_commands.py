"""The commands that look at a running fleet, as a person and a program call them."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import LIMIT_S, Command, ledger_fleet
from command_line import call as called
from command_line import leaves
from rich.cells import cell_len

from amas.artifacts.store import ArtifactStore

REPORT_PAGE = Path(__file__).parents[3] / "docs" / "report.md"
LOAD_SCRIPT = Path(__file__).parents[3] / "scripts" / "load-test-orchestration.js"
pytestmark = pytest.mark.xdist_group("cli")  # one fleet for the module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Commands beside one fleet, which lasts as long as the module."""
    with Command(ledger_fleet(tmp_path_factory.mktemp("fleet"), steps=2), COLUMNS="200").up("--fleet", "./fleet.yaml") as running:
        yield running


def succeeded(run: Command, **task: object) -> str:
    """Return the id of a task that has succeeded."""
    made = run.api("POST", "/api/tasks", {"capability": "test.ledger", **task})["id"]
    assert run.api("GET", f"/api/tasks/{made}/result?wait=30")["state"] == "succeeded"
    return str(made)


@pytest.fixture(scope="module")
def task_id(run: Command) -> str:
    """A task that has succeeded and stands in the records."""
    return succeeded(run)


@pytest.mark.requirement("T4", "A13")
def test_the_fleet_is_diagnosed_profiled_and_monitored(run: Command, task_id: str) -> None:
    found = run.json("diagnose")
    duties = {each["name"]: each for each in found["duties"]}
    assert found["leads"] and {"reaper", "recorder", "logs", "timers"} <= set(duties)
    assert duties["reaper"]["sweeps"] > 0 and duties["reaper"]["longest_s"] >= duties["reaper"]["mean_s"] > 0
    assert "recorder" in {each["name"] for each in found["tasks"]}
    shown = run("diagnose").stdout
    assert "its loop is" in shown and "reaper" in shown and "host-1" in shown
    assert run("diagnose", "--profile", "0.3", "-o", str(run.folder / "profile.json")).returncode == 0
    assert json.loads((run.folder / "profile.json").read_text())["profiles"][0]["unit"] == "seconds"
    assert run("monitoring", "write", str(run.folder / "monitoring")).returncode == 0
    port = run.json("status")["fleet"]["metrics_port"]
    assert f"- 127.0.0.1:{port}\n" in (run.folder / "monitoring" / "prometheus.yml").read_text()


def test_status_says_what_runs(run: Command) -> None:
    shown = run.json("status")
    assert {part["name"]: part["status"] for part in shown["fleet"]["parts"]} == dict.fromkeys(
        ("engine", "control-plane", "host-1", "host-2"), "running"
    )
    assert shown["ready"]
    for_people = run("status")
    assert for_people.returncode == 0
    assert "host-2" in for_people.stdout


def test_agents_are_listed_and_shown(run: Command) -> None:
    listed = run.json("agents")["items"]
    assert sorted(agent["agent_id"] for agent in listed) == [f"ledger-{n}" for n in range(1, 5)]
    assert {agent["host_id"] for agent in listed} == {"host-1", "host-2"}
    assert run.json("agents", "ledger-3")["capabilities"] == ["test.ledger"]
    assert run.json("agents", "--layer", "management")["items"] == []


def test_a_fleet_is_seen_at_a_glance_and_agent_by_agent(run: Command, task_id: str) -> None:
    seen = run.json("ps")
    (pool,) = seen["items"]
    assert (pool["pool"], pool["skill"], pool["agents"]["total"], seen["agents"]["total"]) == ("ledger", "ledger", 4, 4)
    assert pool["hosts"] == ["host-1", "host-2"]
    for_people = run("ps")
    assert for_people.returncode == 0
    assert for_people.stdout.splitlines()[-1].split() == ["1", "pool", "4", "4", "0", "0", "0"]
    first = run.json("ps", "--agents", "--limit", "3")
    assert ([agent["agent_id"] for agent in first["items"]], first["total"]) == (["ledger-1", "ledger-2", "ledger-3"], 4)
    assert "1 more" in run("ps", "ledger", "--limit", "3").stderr
    assert run.json("ps", "--status", "working")["items"] == []
    assert run("ps", "--status", "error").stdout == "no agent is such: status error\n"
    labelled = run.json("ps", "--label", "book,!gpu", "-l", "book in (main)")
    assert (len(labelled["items"]), labelled["total"]) == (4, 4)
    assert run("ps", "--label", "book!=main").stdout == "no agent is such: label book!=main\n"
    for wrong, known in (
        (("--host", "nobody"), "these live: host-1"),
        (("nobody",), "this fleet has"),
        (("--label", "a b"), "name!=value"),
    ):
        done = run("ps", *wrong)
        assert done.returncode == 2 and known in done.stderr


def test_a_task_shows_its_attempts_and_result(run: Command, task_id: str) -> None:
    shown = run.json("tasks", task_id)
    assert (shown["state"], shown["result"]) == ("succeeded", ["done 0", "done 1"])
    for_people = run("tasks", task_id)
    assert for_people.returncode == 0
    assert "ledger-" in for_people.stdout
    rows = dict(line.split(maxsplit=1) for line in for_people.stdout.splitlines() if line.count("  "))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", rows["created"])
    assert rows["cost"].startswith("agent_s=")


def test_a_terminal_obeys_nothing_that_a_task_s_author_wrote(run: Command, task_id: str) -> None:
    hostile = "ok\x1b]0;owned\x07\x1b[2J\rgone\x9b31m\u202etxt.exe"
    made = succeeded(run, title=hostile, key="hostile", input={hostile: hostile})
    obeyed = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
    for command in (("tasks",), ("tasks", made), ("cancel", made), ("tasks", hostile), ("logs", hostile), ("agents", hostile)):
        for form in ((), ("--json",)):
            printed = run(*command, *form)
            assert obeyed.search(printed.stdout + printed.stderr) is None, command
    assert run.json("tasks", made)["title"] == hostile, "JSON is the same to whoever reads it"
    assert "\\x1b]0;owned" in run("tasks", made).stdout


def test_cancelling_what_has_ended_says_so(run: Command, task_id: str) -> None:
    done = run("cancel", task_id)
    assert (done.returncode, done.stdout) == (0, f"{task_id} had ended already; nothing changed\n")


@pytest.mark.parametrize(
    "command", [("tasks", "no-such-id"), ("workflows", "no-such-id"), ("agents", "no-such"), ("cancel", "x")]
)
def test_an_unknown_id_is_one_sentence_and_the_authors_to_mend(run: Command, command: tuple[str, ...]) -> None:
    done = run(*command)
    assert done.returncode == 2
    assert done.stderr.startswith("amas: ")
    assert done.stderr.count("\n") == 1


def test_logs_are_filtered_by_agent(run: Command) -> None:
    lines = [json.loads(line) for line in run("logs", "--json", "-n", "1000").stdout.splitlines()]
    assert {"host_started", "leader_began"} <= {line.get("event") for line in lines}
    assert run("logs", "no-such-agent", "--json").stdout == ""
    assert run("logs", "no-such-agent").stdout.startswith("nothing logged")


def test_doctor_finds_nothing_wrong(run: Command) -> None:
    findings = run.json("doctor")
    assert [finding for finding in findings if not finding["ok"]] == []
    named = run.json("doctor", "--fleet", "./fleet.yaml")
    running, given = ([each["found"] for each in told if each["check"] == "fleet file"] for told in (findings, named))
    assert running == given, "the file of the fleet that runs"


def test_an_agent_is_quarantined_doctor_says_so_and_it_is_let_go(run: Command) -> None:
    (agent, *others) = [each["agent_id"] for each in run.json("agents")["items"]]
    for each in (agent, *others):
        held = run.json("quarantine", "set", each, "--why", "to see whether it is missed")
    assert [item["agent_id"] for item in held["items"]] == sorted([agent, *others])
    assert "to see whether" in run("quarantine", "list").stdout
    assert "quarantined: its tasks wait" in run("status").stdout
    done = run("doctor", "--fleet", "./fleet.yaml")
    assert done.returncode == 3 and "every agent of" in done.stdout
    for each in (agent, *others):
        left = run.json("quarantine", "lift", each)
    assert left == {"items": [], "pools_down": []}
    assert run("quarantine", "lift", agent).returncode == 2
    assert run.json("recoveries")["under_way"] == 0
    assert "docs/healing.md" in run("breakers").stdout
    assert "there is no breaker" in run("breakers", "--reset", "nobody").stderr


def test_a_second_fleet_in_the_same_folder_is_refused(run: Command) -> None:
    done = run("up", "--fleet", "./fleet.yaml")
    assert done.returncode == 3
    assert "already" in done.stderr


@pytest.fixture(scope="module")
def artifacts(run: Command) -> Path:
    """The fleet's artifact store."""
    return Path(run.json("status")["fleet"]["artifacts_url"])


def _put_old(artifacts: Path, blob: bytes) -> Path:
    reference = ArtifactStore(artifacts).put(blob).removeprefix("sha256:")
    path = artifacts / reference[:2] / reference[2:]
    _make_old(path)
    return path


def _make_old(path: Path) -> None:
    days_ago = time.time() - 40 * 86_400
    os.utime(path, (days_ago, days_ago))


def test_old_artifacts_that_nothing_needs_are_pruned(run: Command, artifacts: Path, tmp_path: Path) -> None:
    unused, used = _put_old(artifacts, b"unused"), _put_old(artifacts, b"used")
    refers = {"refers": f"sha256:{used.parent.name}{used.name}", "large": "x" * 100_000}
    task_id = run.api("POST", "/api/tasks", {"capability": "test.ledger", "input": refers, "delay_s": 3600})["id"]
    large_next = json.dumps("y" * 100_000)
    assert run("schedule", "yearly", "0 0 1 1 *", "--task", "test.ledger", "--task-input", large_next).returncode == 0
    flow = {"name": "paying", "tasks": [{"key": "hour", "timer_s": 3600}, {"key": "paid", "signal": True, "needs": ["hour"]}]}
    (tmp_path / "flow.yaml").write_text(json.dumps(flow))
    workflow_id = run.json("workflows", "start", str(tmp_path / "flow.yaml"))["workflow_id"]
    assert run("workflows", "signal", workflow_id, "paid", json.dumps("z" * 100_000)).returncode == 0  # before it is asked for
    large = [path for path in artifacts.glob("??/*") if path.stat().st_size > 100_000]
    assert len(large) == 3
    for path in large:
        _make_old(path)

    dry = run.json("artifacts", "prune", "--dry-run")
    assert (dry["removed"], dry["removed_bytes"], dry["in_use"], dry["dry_run"]) == (1, 6, 4, True)
    assert unused.exists()
    done = run("artifacts", "prune", "--older-than", "12h")
    assert (done.returncode, done.stdout) == (0, "1 artifacts removed, 6 bytes; 4 old ones are still in use\n")
    assert (unused.exists(), used.exists(), *(path.exists() for path in large)) == (False, True, True, True, True)

    shown = run("tasks", task_id).stdout
    assert "100,0" in shown
    assert "in the artifact store as sha256:" in shown
    for one in (task_id, workflow_id):
        assert run("cancel", one).returncode == 0
    assert run("schedules", "yearly", "--drop").returncode == 0


@pytest.mark.parametrize("age", ["10m", "soon", "-1d"])
def test_an_age_that_is_too_short_or_none_is_refused(run: Command, age: str) -> None:
    done = run("artifacts", "prune", f"--older-than={age}")
    assert done.returncode == 2
    assert "--older-than" in done.stderr


def row_of(printed: str, name: str) -> str:
    (row,) = [line for line in printed.splitlines() if name in line]
    return row


def test_limits_say_what_they_allow_and_hold(run: Command) -> None:
    assert "nothing is limited" in run("limits").stdout
    run.api("PUT", "/api/limits/slots/customer-42", {"limit": 3})
    run.api("PUT", "/api/limits/rate/openai", {"requests_per_min": 10, "tokens_per_min": 5000})
    run.api("PUT", "/api/limits/rate/local", {"tokens_per_min": 700})
    found = run.json("limits")
    assert found["slots"] == [{"key": "customer-42", "limit": 3, "held": 0, "parked": 0}]
    assert [rate["provider"] for rate in found["rates"]] == ["local", "openai"]
    shown = run("limits").stdout
    assert "3 at once" in row_of(shown, "key customer-42")
    assert "10 requests/min, 5000 tokens/min" in row_of(shown, "provider openai")
    assert "requests/min" not in row_of(shown, "provider local")


def test_budgets_say_what_is_left_of_them(run: Command) -> None:
    assert "there is no budget" in run("budgets").stdout
    run.api("PUT", "/api/budgets/tenant/acme", {"usd": 2.5, "calls": 7})
    run.api("PUT", "/api/budgets/pool/ledger", {"agent_s": 90})
    found = run.json("budgets")["items"]
    assert {item["scope"]: item["limit"] for item in found} == {
        "tenant/acme": {"usd": 2.5, "calls": 7},
        "pool/ledger": {"agent_s": 90.0},
    }
    shown = run("budgets").stdout
    assert "$2.5000, 7 calls" in row_of(shown, "tenant/acme")
    assert "90.0 s" in row_of(shown, "pool/ledger")


def test_top_prints_a_snapshot_and_asks_for_a_terminal_otherwise(run: Command, task_id: str) -> None:
    shown = run.json("top")
    assert shown["figures"]["agents"]["total"] == 4
    assert [pool["pool"] for pool in shown["pools"]] == ["ledger"]
    assert shown["failures"] == []
    piped = run("top")
    assert (piped.returncode, piped.stderr) == (2, "amas: this is no terminal: `amas top --json` prints one snapshot\n")


def test_a_list_is_watched_until_interrupted(run: Command) -> None:
    with run.start("ps", "--watch") as going:
        shown = [going.stdout.readline().split()[0] for _ in range(6)]
        assert shown == ["pool", "ledger", "1"] * 2, "the same table again"
        going.send_signal(signal.SIGINT)
        assert going.wait(LIMIT_S) == 130


LISTS = (
    "status", "ps", "agents", "hosts", "tasks show", "workflows show", "approvals", "dead-letters", "schedules", "routes",
    "limits", "budgets", "costs", "messages show", "messages refused", "messages dead", "alerts show", "runbooks",
    "webhooks show", "history", "scaling", "quarantine list", "recoveries", "breakers", "keys list", "audit show",
    "policy show", "policy refusals", "rollout status", "tools", "report", "diagnose", "top",
)  # fmt: skip
"""What takes no name and changes nothing."""
ACTS = (
    "up", "down", "doctor", "audit verify", "run", "recover", "backup", "backups", "host", "serve", "kill", "keys rotate-signing",
    "alerts test", "seal reencrypt", "seal rotate", "whoami", "logout", "login", "logs", "apply", "policy check",
    "policy test", "model serve", "model install",
    "artifacts prune", "restore", "verify",
)  # fmt: skip
"""What takes no name, either, and isn't a list of what the fleet has."""


def test_every_command_that_takes_no_name_is_known_here() -> None:
    nameless = {name for name, leaf in leaves().items() if not leaf.required}
    assert nameless - {*LISTS, *ACTS} == set(), "a new one belongs into LISTS, where it is tried, or into ACTS"
    assert {name for name, leaf in leaves().items() if "--json" not in leaf.options} == IN_THE_FOREGROUND


IN_THE_FOREGROUND = {"host", "serve", "model serve"}
"""Parts of a fleet that run until they are stopped, and print nothing: every other command has `--json`."""


def test_certificates_and_checked_policies_are_json_for_programs(run: Command, tmp_path: Path) -> None:
    made = run.json("certs", str(tmp_path / "certs"), "--name", "fleet.example")
    assert made["variables"]["AMAS_TLS_CERT"] == str(tmp_path / "certs" / "server.pem")
    assert made["names"] == ["fleet.example"]
    assert {Path(path).exists() for path in (*made["variables"].values(), made["authority"], made["client"])} == {True}
    rules = [{"name": "go", "allow": "shell", "pools": "ledger"}, {"name": "idle", "deny": "nothing-like-it"}]
    (tmp_path / "rules.yaml").write_text(json.dumps({"rules": rules}))
    checked = run.json("policy", "check", str(tmp_path / "rules.yaml"))
    assert checked["rules"] == ["go", "idle"]
    told = run("policy", "check", str(tmp_path / "rules.yaml")).stdout
    assert checked["warnings"] and all(each in told for each in checked["warnings"])


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_json_for_programs_lines_for_pipes_and_fits_every_screen(
    name: str, run: Command, task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is in the fleet by now: other tests put limits, schedules and more."""
    monkeypatch.setenv("AMAS_HOME", str(run.home))
    words = leaves()[name].words
    told = called(*words, "--json")
    assert (told.code, told.err) == (0, "")
    names = set(ids_in(json.loads(told.out)))
    if name == "top":
        assert called("top").code == 2
        return
    piped = called(*words)
    assert piped.code == 0 and "\x1b" not in piped.out and "…" not in piped.out
    assert [line for line in piped.out.splitlines() if line != line.rstrip()] == [], "no column is filled up at a line's end"
    whole = {each for each in names if each in piped.out}
    for columns in (60, 80, 200):
        shown = called(*words, columns=columns)
        assert shown.code == 0
        assert max(map(cell_len, shown.out.splitlines()), default=0) <= columns or name in SENTENCES
        cut = {each for each in whole if len(each) <= columns and each not in shown.out}
        if cut:  # or it went meanwhile, as one of the engine's dearest calls may
            cut &= set(ids_in(json.loads(called(*words, "--json").out)))
        assert cut == set(), "a name that is cut can't be copied"


SENTENCES = {"policy show", "scaling", "report", "status", "rollout status", "ps"}
"""Which have sentences, that the terminal wraps."""


def ids_in(found: Any) -> Iterator[str]:
    """Yield the names and ids that a document has, where they are fields of things."""
    if isinstance(found, dict):
        for field, value in found.items():
            if isinstance(value, str) and value and (field in {"id", "name", "pool"} or field.endswith("_id")):
                yield value
            yield from ids_in(value)
    elif isinstance(found, list):
        for each in found:
            yield from ids_in(each)


@pytest.mark.parametrize("wrong", ["no-such-thing", "ä b/../c?d=e#f%20"])
def test_a_name_that_nobody_has_is_one_sentence_whatever_is_in_it(
    wrong: str, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMAS_HOME", str(run.home))
    for leaf in leaves().values():
        if leaf.required and leaf.required[0] in NAMES and leaf.words not in MAKERS:
            more = {"quarantine": ("--why", "x"), "rollout": ("--version", "2") if leaf.words[1:] == ("start",) else ()}
            done = called(*leaf.words, wrong, *("7" for _ in leaf.required[1:]), *more.get(leaf.words[0], ()))
            assert done.code == 2 and done.out == "", (leaf.words, done)
            assert done.err.startswith("amas: ") and done.err.count("\n") == 1, (leaf.words, done.err)


NAMES = {"ID", "AGENT", "HOST", "POOL", "HOST|POOL|AGENT", "AGENT|POOL"}
MAKERS = {("keys", "revoke-agent"), ("quarantine", "lift")}
"""What doesn't ask whether there is such a one, or has its own test."""


def test_names_of_the_fleet_are_offered_to_shells(run: Command) -> None:
    for words, wanted in (
        ("ps le", ["ledger"]),
        ("agents ledger-", [f"ledger-{n}" for n in range(1, 5)]),
        ("drain h", ["host-1", "host-2"]),
    ):
        asked = {"_AMAS_COMPLETE": "complete_bash", "COMP_WORDS": f"amas {words}", "COMP_CWORD": "2"}
        offered = run.program(str(Path(sys.executable).with_name("amas")), **asked)
        assert offered.stdout.split() == wanted, offered.stderr


@pytest.mark.requirement("A8")
def test_the_load_script_drives_a_fleet(run: Command, tmp_path: Path) -> None:
    """Small: that every check holds. Its thresholds are for a machine of the fleet's own (k6 ends with 99 when one is missed)."""
    url = f"http://127.0.0.1:{run.json('status')['fleet']['port']}"
    load = {"AMAS_URL": url, "CAPABILITY": "test.ledger", "DURATION": "2s", "READS": "10", "BATCHES": "1", "BATCH": "5"}
    asked = ["run", "--quiet", "--no-usage-report", "--summary-export", str(tmp_path / "summary.json"), str(LOAD_SCRIPT)]
    ended = run.program(str(Path(sys.executable).with_name("k6")), *asked, **load, LISTENERS="2")
    assert ended.returncode in (0, 99), ended.stderr
    found = json.loads((tmp_path / "summary.json").read_text())
    assert {name for name, each in found["root_group"]["checks"].items() if each["fails"]} == set()
    assert set(found["root_group"]["checks"]) == {
        "a read is answered", "a task is taken", "a batch is taken", "outcomes are told",
    }  # fmt: skip
    metrics = found["metrics"]
    assert metrics["tasks_done"]["count"] == 5 * found["root_group"]["checks"]["outcomes are told"]["passes"] > 0
    assert metrics["task_success"]["value"] == 1
    assert metrics["task_response_ms"]["avg"] > 0


def test_the_reports_of_its_page_are_printed_and_written(run: Command, task_id: str) -> None:
    (shown,) = re.findall(r"```bash\n(.*?)```", REPORT_PAGE.read_text(), re.DOTALL)
    program = f'set -eu\namas() {{ {sys.executable} -m amas "$@"; }}\npython() {{ {sys.executable} "$@"; }}\n{shown}'
    ended = run.program("bash", "-o", "pipefail", "-c", program)
    assert ended.returncode == 0, ended.stderr
    for word in ("none lost", "Availability", "Families", "Live hosts"):
        assert word in ended.stdout
    assert "<svg" in (run.folder / "report.html").read_text()
    found = run.json("report")
    assert found["tasks"]["lost"] == []
    assert found["tasks"]["succeeded"] >= 1
    wrong = run("report", "--since", "soon")
    assert wrong.returncode == 2
    assert "write 10m, 1h or 7d" in wrong.stderr
