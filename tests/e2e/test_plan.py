"""`amas plan`, and a goal that a model planned, as a person sees them."""

import json

from canned_model import model_server
from command import Command, Ended

FLEET = """
name: kitchen
pools:
  - name: coordinator
    layer: executive
    agent: amas.orchestration.coordinator:coordinate
    capabilities: [executive.coordinate]
  - name: cook
    lead: coordinator
    agent: kitchen:cook
    capabilities: [kitchen.cook]
    estimate: {usd: 0.25, agent_s: 5}
"""
AGENTS = """
from amas import agent

@agent("kitchen.cook")
async def cook(ctx):
    got = ", ".join(ctx.results.values())
    return f"{ctx.input['instruction']} ({got})" if got else ctx.input["instruction"]
"""
DRAFT = json.dumps(
    {
        "tasks": [
            {"key": "stock", "capability": "kitchen.cook", "instruction": "stock"},
            {"key": "soup", "capability": "kitchen.cook", "instruction": "soup", "needs": ["stock"]},
        ],
        "deliverable": "soup",
    }
)


def kitchen(amas: Command) -> None:
    (amas.folder / "fleet.yaml").write_text(FLEET)
    (amas.folder / "kitchen.py").write_text(AGENTS)


def refused(ended: Ended, *words: str) -> None:
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.strip().splitlines()) == 1
    assert [word for word in words if word not in ended.stderr] == [], ended.stderr


def test_the_graph_is_shown_and_nothing_started(amas: Command) -> None:
    shown = amas("plan", "Review the code and write a report", "--input", ".")
    assert (shown.returncode, shown.stderr) == (0, "")
    for words in (
        "code-base: 7 tasks, moderate",
        "gate/review",
        "+development.code_review",
        "critical path, at least ",
        "s: ingest >",
        "at least 0 USD",
    ):
        assert words in shown.stdout
    assert not (amas.folder / "home").exists()
    plan = json.loads(amas("plan", "Review the code", "--input", ".", "--json").stdout)
    assert plan["deliverable"] == "publish"
    assert plan["estimate"]["critical_path"][0] == "ingest"


def test_what_a_run_would_refuse_is_refused(amas: Command) -> None:
    refused(amas("plan", "Sing a song", "--input", "."), "no playbook covers this goal", "'Sing a song'")
    refused(amas("plan", "Review the code"), "this goal is about a folder and none was given")
    refused(amas("plan", "Review the code", "--input", "gone"), "there is no such folder")
    refused(amas("plan", " "), "the goal is empty")


def test_a_goal_that_a_model_planned_is_shown_priced_and_met(amas: Command) -> None:
    kitchen(amas)
    goal = ("Cook a soup", "--fleet", "./fleet.yaml")
    with model_server(DRAFT) as server:
        model = {"AMAS_MODEL": "local", "AMAS_MODEL_URL": server.url}
        shown = amas("plan", *goal, **model)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "critical path, at least 10 s: stock > soup" in shown.stdout
        assert "at least 0.5 USD, 10 s of agents' time" in shown.stdout
        assert "note: planned by the model local" in shown.stdout
        refused(amas("plan", *goal, "--budget", "0.4", **model), "at least 0.5 USD, over the budget of 0.4 USD")
        asked = len(server.asked)
        met = amas("run", *goal, "--json", **model)
        assert len(server.asked) == asked + 1
    assert met.returncode == 0, met
    deliverable = json.loads(met.stdout)["deliverable"]
    assert deliverable["result"] == "soup (stock)"
    assert deliverable["notes"] == ["planned by the model local"]
