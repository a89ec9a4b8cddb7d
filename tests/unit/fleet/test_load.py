# ruff: noqa: E501  fleet files, a line each
"""Fleet files: what they mean, and what each mistake says: file, line, field and the mend."""

import os
import sys
from pathlib import Path

import pytest

from amas.errors import FleetError, FleetFileInvalid
from amas.fleet.check import agent_problems, problems
from amas.fleet.declared import seconds
from amas.fleet.load import blueprints, find_fleet, load_fleet
from amas.model.breaker import BreakerSpec
from amas.model.fleet import DELAYED, FleetLimits, FleetSpec, PoolSpec, ProcessLimits
from amas.model.healing import HealingSpec
from amas.model.limits import Amounts
from amas.model.rollout_spec import RolloutSpec
from amas.model.states import Layer
from amas.model.task import RetryPolicy

SMALL = """\
name: small
pools:
  - name: boss
    layer: executive
    agent: my_agents:Boss
    capabilities: [executive.coordinate]
  - name: writer
    lead: boss
    agent: my_agents:write
    capabilities: [text.write, text.summary]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return path


def refused(folder: Path, text: str, **options: object) -> str:
    """Return what the refusal says, without the folder."""
    with pytest.raises(FleetFileInvalid) as error:
        load_fleet(write(folder, text), environ={}, **options)
    return str(error.value).removeprefix(f"{folder}/")


def test_a_small_file_gets_its_defaults(tmp_path: Path) -> None:
    spec = load_fleet(write(tmp_path, SMALL), environ={})
    assert spec.title == "small"
    assert spec.limits == FleetLimits()
    assert spec.pool("writer") == PoolSpec(
        name="writer", title="Writer", lead="boss", agent="my_agents:write", capabilities=("text.write", "text.summary")
    )


def test_everything_can_be_said(tmp_path: Path) -> None:
    text = SMALL + (
        "    title: The Writer\n    replicas: 2\n    tasks_per_agent: 3\n    isolation: process\n    limits: {memory_mb: 512, cpu: 2m}\n"
        "    timeout: 1.5h\n    retry: {retries: 0, backoff: 500ms, backoff_max: 10, jitter: 0}\n    version: 2\n    options: {tone: dry, deep: {a: [1]}}\n"
        "limits: {max_subtasks: 100, workflow_timeout: 2d, decomposition_timeout: 90s, quality_threshold: 0.5, quality_rounds: 0}\nhosts: 2\n"
    )
    spec = load_fleet(write(tmp_path, text), environ={})
    writer = spec.pool("writer")
    assert (writer.replicas, writer.tasks_per_agent, writer.isolation, writer.version) == (2, 3, "process", "2")
    assert writer.limits == ProcessLimits(memory_mb=512, cpu_s=120)
    assert writer.timeout_s == 5400.0
    assert writer.retry == RetryPolicy(retries=0, backoff_s=0.5, backoff_max_s=10.0, jitter=0.0)
    assert writer.options == {"tone": "dry", "deep": {"a": [1]}}
    assert spec.hosts == 2
    assert spec.limits == FleetLimits(
        max_subtasks=100, workflow_timeout_h=48.0, decomposition_timeout_s=90.0, quality_threshold=0.5, quality_rounds=0
    )


@pytest.mark.requirement("A11")
def test_the_environment_sets_defaults_and_the_file_raises_them(tmp_path: Path) -> None:
    environ = {"ORCHESTRATION_MAX_SUBTASKS": "7", "ORCHESTRATION_RETRY_ATTEMPTS": "1", "ORCHESTRATION_QUALITY_THRESHOLD": "0.7"}
    spec = load_fleet(write(tmp_path, SMALL + "limits: {max_subtasks: 70}\n"), environ=environ)
    assert (spec.limits.max_subtasks, spec.limits.quality_threshold) == (70, 0.7)
    assert spec.pool("writer").retry.retries == 1


def test_queues_are_bounded_by_pool_fleet_and_environment_in_that_order(tmp_path: Path) -> None:
    assert load_fleet(write(tmp_path, SMALL), environ={}).queue_bounds[DELAYED] == 1_000_000
    spec = load_fleet(write(tmp_path, SMALL), environ={"AMAS_MAX_QUEUED": "7"})
    assert set(spec.queue_bounds.values()) == {7}
    text = SMALL + "    max_queued: 20\nlimits: {max_queued: 30}\n"
    spec = load_fleet(write(tmp_path, text), environ={"AMAS_MAX_QUEUED": "7"})
    boss, writer = spec.pools
    assert spec.queue_bounds == {DELAYED: 30} | dict.fromkeys(boss.queues, 30) | dict.fromkeys(writer.queues, 20)


def test_pools_that_share_a_queue_get_the_larger_bound_and_no_bound_is_the_largest() -> None:
    def bound(*most: int | None) -> int:
        pools = tuple(
            PoolSpec(name=f"p{n}", agent="x:y", capabilities=("text.write",), max_queued=each) for n, each in enumerate(most)
        )
        return FleetSpec(name="f", pools=pools, limits=FleetLimits(max_queued=5)).queue_bounds["text.write"]

    assert (bound(3, 4), bound(4, 3), bound(None, 4), bound(0, 4), bound(4, 0), bound(0)) == (4, 4, 5, 0, 0, 0)


@pytest.mark.requirement("A2", "A11")
def test_a_file_says_how_fast_it_grows_and_how_often_agents_are_asked_else_the_environment_does(tmp_path: Path) -> None:
    environ = {"ORCHESTRATION_MAX_AGENT_SPAWN_RATE": "2.5", "ORCHESTRATION_HEARTBEAT_INTERVAL": "90"}
    spec = load_fleet(write(tmp_path, SMALL), environ=environ)
    assert (spec.limits.max_agent_spawn_rate, spec.pool("writer").healing.check_every_s) == (2.5, 90.0)
    said = SMALL + "limits: {max_agent_spawn_rate: 500, heartbeat_interval: 2m}\n"
    spec = load_fleet(write(tmp_path, said), environ=environ)
    assert (spec.limits.max_agent_spawn_rate, spec.pool("writer").healing.check_every_s) == (500.0, 120.0)
    assert refused(tmp_path, SMALL + "limits: {max_agent_spawn_rate: 0}\n") == (
        "fleet.yaml:11: limits.max_agent_spawn_rate: is 0, but must be a number from 0.1 to 1000000 (agents a second)"
    )


def test_hosts_may_be_as_many_as_the_machine_has_cores(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    assert load_fleet(write(tmp_path, "hosts: auto\n" + SMALL), environ={}).hosts == cores
    assert load_fleet("blackroad", environ={}).hosts == cores


@pytest.mark.requirement("A2", "A11")
def test_more_replicas_than_the_limit_need_the_limit_raised(tmp_path: Path) -> None:
    text = SMALL + "    replicas: 6\n"
    assert refused(tmp_path, text) == (
        "fleet.yaml:11: pools[1].replicas: is 6, over the limit of 5 agents in a pool: lower it, or raise limits.max_agents_per_pool"
    )
    assert load_fleet(write(tmp_path, text + "limits: {max_agents_per_pool: 6}\n"), environ={}).pool("writer").replicas == 6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    lead: boss\n", "    leed: boss\n", "fleet.yaml:8: pools[1].leed: is not a field here (did you mean 'lead'?)"),
        ("    lead: boss\n", "    lead: bos\n", "fleet.yaml:8: pools[1].lead: there is no pool 'bos' (did you mean 'boss'?)"),
        ("    lead: boss\n", "", "fleet.yaml:7: pools[1].lead: is missing: name the pool that 'writer' reports to, such as boss"),
        (
            "    lead: boss\n",
            "    lead: writer\n",
            "fleet.yaml:8: pools[1].lead: 'writer' is in the specialist layer, which isn't above specialist: "
            "the layers are executive, management, specialist, execution, and a lead is in one further up",
        ),
        (
            "    layer: executive\n",
            "    layer: executive\n    lead: writer\n",
            "fleet.yaml:5: pools[0].lead: the executive layer reports to nobody: remove this line",
        ),
        (
            "layer: executive",
            "layer: executiv",
            "fleet.yaml:4: pools[0].layer: 'executiv' is none of executive, management, specialist, execution (did you mean 'executive'?)",
        ),
        (
            "    lead: boss\n",
            "    lead: boss\n    max_queued: -1\n",
            "fleet.yaml:9: pools[1].max_queued: is -1, but must be a number of tasks, or 0 for no limit",
        ),
        ("name: writer", "name: boss", "fleet.yaml:3: pools[0].name: 'boss' names 2 pools: give each its own name"),
        (
            "name: writer",
            "name: The Writer",
            "fleet.yaml:7: pools[1].name: 'The Writer' must be lower case letters and digits in words joined by hyphens, such as code-reviewer",
        ),
        ("my_agents:write", "my_agents.write", "fleet.yaml:9: pools[1].agent: 'my_agents.write' must be module:attribute, such as my_agents:summarise"),
        (
            "text.summary",
            "Summary",
            "fleet.yaml:10: pools[1].capabilities[1]: 'Summary' must be lower case words joined by dots: text.summary",
        ),
        ("text.summary", "text.write", "fleet.yaml:10: pools[1].capabilities[1]: 'text.write' stands here twice: keep one"),
        ("[text.write, text.summary]", "[]", "fleet.yaml:10: pools[1].capabilities: is empty: a pool needs at least one, such as [text.summary]"),
        ("[text.write, text.summary]", "text.write", "fleet.yaml:10: pools[1].capabilities: must be a list, not a single value: write [text.write]"),
        (
            "    lead: boss\n",
            "    lead: boss\n    isolation: container\n",
            "fleet.yaml:9: pools[1].isolation: 'container' is none of shared, process",
        ),
        (
            "    lead: boss\n",
            "    lead: boss\n    limits: {memory_mb: 1}\n",
            "fleet.yaml:9: pools[1].limits: hold only for a process of its own: add isolation: process",
        ),
        (
            "    lead: boss\n",
            "    lead: boss\n    timeout: 10 minutes\n",
            "fleet.yaml:9: pools[1].timeout: '10 minutes' is no time: write 90s, 10m or 24h; a plain number is seconds",
        ),
        ("    lead: boss\n", "    lead: boss\n    timeout: 0\n", "fleet.yaml:9: pools[1].timeout: is 0 seconds, but an attempt needs some time, such as 10m"),
        ("    lead: boss\n", "    lead: boss\n    replicas: 0\n", "fleet.yaml:9: pools[1].replicas: is 0, but must be at least 1"),
        ("    lead: boss\n", "    lead: boss\n    retry: {retries: -1}\n", "fleet.yaml:9: pools[1].retry.retries: is -1, but must be from 0 to 100"),
        (
            "name: small\n",
            "name: small\nlimits: {quality_threshold: 85}\n",
            "fleet.yaml:2: limits.quality_threshold: is 85, but must be a number from 0 to 1 (score)",
        ),
        ("name: small\n", "name: small\nlimits: {max_total_agents: 1}\n", "fleet.yaml:3: pools: have 2 agents, over the limit of 1: lower replicas, or raise limits.max_total_agents"),
        ("name: small\n", "name: small\nhosts: 0\n", "fleet.yaml:2: hosts: is 0, but must be from 1 to 256"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_its_mend(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert refused(tmp_path, SMALL.replace(old, new, 1)) == message


def test_leads_that_go_round_in_a_circle_are_refused(tmp_path: Path) -> None:
    text = SMALL.replace("lead: boss", "lead: editor") + (
        "  - name: editor\n    lead: writer\n    agent: my_agents:edit\n    capabilities: [text.edit]\n"
    )
    assert "isn't above specialist" in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (90, 90.0),
        (1.5, 1.5),
        ("90", 90.0),
        ("90s", 90.0),
        ("10m", 600.0),
        ("24h", 86_400.0),
        ("250ms", 0.25),
        ("1.5d", 129_600.0),
    ],
)
def test_times(said: float | str, meant: float) -> None:
    assert seconds(said) == meant


@pytest.mark.parametrize("said", ["", "soon", "-1s", -1, float("inf"), float("nan"), "1e9h", "10 m m"])
def test_what_is_no_time(said: float | str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        seconds(said)


def test_agents_beside_the_file_are_imported_and_compared_with_what_the_pool_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "beside_fleet.py").write_text(
        "from amas import agent\n\n@agent('text.write')\nasync def write(ctx):\n    return 1\n\nnothing = 3\n"
    )
    (tmp_path / "broken_beside_fleet.py").write_text("1 / 0\n")
    text = SMALL.replace("my_agents:Boss", "beside_fleet:write").replace("executive.coordinate", "text.write")
    right = text.replace("my_agents:write", "beside_fleet:write").replace(", text.summary", "")
    assert load_fleet(write(tmp_path, right), agents=True, environ={}).pools
    cases = {
        "beside_fleet:write": "fleet.yaml:10: pools[1].capabilities: beside_fleet:write can't do 'text.summary', but only text.write",
        "beside_fleet:missing": "fleet.yaml:9: pools[1].agent: agent 'beside_fleet:missing': 'missing' is neither",
        "beside_fleet:nothing": "fleet.yaml:9: pools[1].agent: agent 'beside_fleet:nothing': 'nothing' is neither",
        "no_such_module_at_all:x": "fleet.yaml:9: pools[1].agent: agent 'no_such_module_at_all:x': the module can't be imported",
        "broken_beside_fleet:x": "fleet.yaml:9: pools[1].agent: importing 'broken_beside_fleet:x' failed: ZeroDivisionError",
    }
    for agent, message in cases.items():
        assert refused(tmp_path, text.replace("my_agents:write", agent), agents=True).startswith(message)


SKILLED = """
name: small
pools:
  - name: dev
    layer: executive
    skills:
      text.write: skills_of_a_test:write
      text.read: skills_of_a_test:read
"""


def test_an_agent_of_many_trades_has_the_capabilities_of_its_skills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "skills_of_a_test.py").write_text(
        "from amas import agent\n\n"
        "@agent('text.write')\nasync def write(ctx):\n    return 'written'\n\n"
        "@agent('text.read')\nasync def read(ctx):\n    return 'read'\n\n"
        "@agent('text.print')\ndef blocks(ctx):\n    return 1\n"
    )
    (pool,) = load_fleet(write(tmp_path, SKILLED), agents=True, environ={}).pools
    assert pool.capabilities == ("text.write", "text.read")
    cases = {
        "skills_of_a_test:read": "pools[0].agent: skill skills_of_a_test:read can't do 'text.write', but only text.read",
        "skills_of_a_test:missing": "pools[0].agent: agent 'skills_of_a_test:missing': 'missing' is neither",
    }
    for skill, message in cases.items():
        assert message in refused(tmp_path, SKILLED.replace("skills_of_a_test:write", skill), agents=True)
    blocks = SKILLED.replace("text.write: skills_of_a_test:write", "text.print: skills_of_a_test:blocks")
    assert "blocks or has on_message: give it a pool of its own" in refused(tmp_path, blocks, agents=True)
    both = SKILLED + "    capabilities: [text.more]\n"
    assert "fleet.yaml:9: pools[0].capabilities: are those of its skills: remove this line" in refused(tmp_path, both)
    assert "say one of agent:" in refused(tmp_path, SKILLED + "    agent: a:b\n")


def test_a_declaration_in_python_is_checked_alike() -> None:
    pool = PoolSpec(name="boss", agent="no_such_module_at_all:a", capabilities=("a.b",), layer=Layer.EXECUTIVE)
    spec = FleetSpec(name="f", pools=(pool,))
    assert list(problems(spec)) == []
    ((field, message),) = agent_problems(spec)
    assert field == "pools[0].agent"
    assert message.startswith("agent 'no_such_module_at_all:a'")
    assert [field for field, _ in problems(FleetSpec(name="f", pools=()))] == ["pools"]


def test_fleets_are_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "amas" in blueprints()
    assert find_fleet("amas").is_absolute()
    write(tmp_path, SMALL)
    monkeypatch.chdir(tmp_path)
    assert find_fleet("fleet.yaml") == tmp_path / "fleet.yaml"
    assert find_fleet("./fleet.yaml") == tmp_path / "fleet.yaml"
    with pytest.raises(FleetError, match=r"there is no fleet 'ams' \(did you mean 'amas'\?\)"):
        find_fleet("ams")
    with pytest.raises(FleetError, match=r"there is no fleet file other\.yaml"):
        find_fleet("other.yaml")


def test_playbooks_are_found_beside_the_fleet_file_and_checked_with_the_agents(tmp_path: Path) -> None:
    text = (
        "name: small\nplaybooks: [./mine.yaml, code-base]\npools:\n  - name: boss\n    layer: executive\n"
        "    agent: amas.orchestration.coordinator:coordinate\n    capabilities: [executive.coordinate]\n"
    )
    (tmp_path / "mine.yaml").write_text("name: mine\ntitel: wrong\n")
    spec = load_fleet(write(tmp_path, text), environ={})
    assert spec.playbooks == (str(tmp_path / "mine.yaml"), "code-base")
    assert "mine.yaml:2: " in refused(tmp_path, text, agents=True)


def test_providers_estimates_and_budgets_are_read_and_checked(tmp_path: Path) -> None:
    spec = load_fleet(
        write(tmp_path, SMALL + "tenants:\n  acme: {budget: {usd: 50}}\nproviders:\n  openai: {requests_per_min: 500}\n"),
        environ={},
    )
    assert spec.tenants["acme"].budget == Amounts(usd=50.0)
    assert [(each.name, each.requests_per_min, each.tokens_per_min) for each in spec.providers] == [("openai", 500, None)]
    message = refused(tmp_path, SMALL + "providers:\n  openai: {requests_per_min: 0}\n")
    assert "providers.openai.requests_per_min: is 0, but must be from 1" in message
    message = refused(tmp_path, SMALL + "tenants:\n  acme: {budget: {usd: -1}}\n")
    assert "tenants.acme.budget: usd is -1, but must be from 0" in message


def test_tenants_have_weights_within_reason(tmp_path: Path) -> None:
    spec = load_fleet(write(tmp_path, SMALL + "tenants:\n  acme: {weight: 3}\n  other: {}\n"), environ={})
    assert {name: tenant.weight for name, tenant in spec.tenants.items()} == {"acme": 3.0, "other": 1.0}
    message = refused(tmp_path, SMALL + "tenants:\n  acme: {weight: 0}\n")
    assert "tenants.acme.weight: is 0, but must be from 0.01 to 100" in message


@pytest.mark.requirement("T2")
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{explore: 0.6}", "routing.explore: is 0.6, but must be from 0 to 0.5"),
        ("{half_life: 10ms}", "routing.half_life: is 0.01 s, but must be a second or more"),
        ("{weights: {failure: -1}}", "routing.weights.failure: is -1, but must be from 0 to 1e+06"),
        ("{weights: {failure: 0, time: 0, usd: 0}}", "routing.weights: are all 0, so every pool is as good as any"),
        ("{weight: {}}", "routing.weight: is not a field here (did you mean 'weights'?)"),
    ],
)
def test_what_is_wrong_with_routing_is_said(tmp_path: Path, said: str, message: str) -> None:
    assert message in refused(tmp_path, SMALL + f"routing: {said}\n")


def test_routing_is_on_where_nothing_is_said(tmp_path: Path) -> None:
    assert load_fleet(write(tmp_path, SMALL), environ={}).routing.enabled
    assert not load_fleet(write(tmp_path, SMALL + "routing: {enabled: false}\n"), environ={}).routing.enabled


@pytest.mark.requirement("N5")
def test_a_rollout_section_of_the_fleet_and_of_a_pool(tmp_path: Path) -> None:
    text = SMALL + "    rollout: {min_tasks: 7}\nrollout: {steps: [0.1, 1.0], min_time: 2m, environment: staging}\n"
    spec = load_fleet(write(tmp_path, text), environ={})
    assert spec.rollout == RolloutSpec(steps=(0.1, 1.0), min_time_s=120.0, environment="staging")
    assert spec.pool("writer").rollout == RolloutSpec(min_tasks=7)
    assert load_fleet(write(tmp_path, SMALL), environ={}).rollout is None


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{steps: [0.5, 0.1]}", "rollout.steps: must be growing shares over 0 and up to 1, such as [0.05, 0.25, 0.5]"),
        ("{min_time: soon}", "rollout.min_time: 'soon' is no time"),
        ("{latency_ratio: 0.9}", "rollout.latency_ratio: must be over 1, such as 1.5"),
        ("{step: [1]}", "rollout.step: is not a field here (did you mean 'steps'?)"),
    ],
)
def test_what_is_wrong_with_a_rollout_is_said(tmp_path: Path, said: str, message: str) -> None:
    assert message in refused(tmp_path, SMALL + f"rollout: {said}\n")


def test_healing_and_breakers_are_read_and_refused_with_the_mend(tmp_path: Path) -> None:
    fleet = load_fleet(
        write(
            tmp_path,
            SMALL + "    healing: {stuck_after: 0, crashes: 5, quarantine: 1h}\nbreakers:\n  api: {errors: 2, open: 1m}\n",
        ),
        environ={},
    )
    assert fleet.pool("writer").healing == HealingSpec(stuck_after_s=0, crashes=5, quarantine_s=3600)
    assert fleet.breakers == {"api": BreakerSpec(errors=2, open_s=60)}
    assert "1 crash at the earliest" in refused(tmp_path, SMALL + "    healing: {crashes: 0}\n")
    assert "raise backoff_max" in refused(tmp_path, SMALL + "    healing: {backoff: 2m}\n")
    assert "1 error at the earliest" in refused(tmp_path, SMALL + "breakers: {api: {errors: 0}}\n")
    assert "must be at least 0.1" in refused(tmp_path, SMALL + "breakers: {api: {open: 0}}\n")
