"""What fleet files say of scaling, and what each mistake says: line, field and the mend."""

from pathlib import Path

import pytest

from amas.errors import FleetError, FleetFileInvalid
from amas.fleet.load import load_fleet
from amas.model.fleet import FleetSpec
from amas.model.scaling import HostScaling, ScalingPace, ScalingSpec, ScalingTargets, ScalingWindow, VerticalSpec
from amas.platforms.local.host import labels_of

FILE = """\
name: small
limits: {max_agents_per_pool: 40}
pools:
  - name: writer
    layer: executive
    agent: my_agents:write
    capabilities: [text.write]
    scaling:
      min: 2
      max: 40
      targets: {queue_depth: 10, oldest: 30s, utilisation: 0.7}
      up: {count: 2, cooldown: 5m}
      schedules:
        - {when: "Mon-Fri 08:00-20:00", zone: Europe/Berlin, min: 5}
      usd_per_hour: 12.5
      forecast: true
"""


def load(folder: Path, text: str) -> FleetSpec:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return load_fleet(path, environ={})


def test_a_block_is_read_and_what_it_leaves_out_is_the_default(tmp_path: Path) -> None:
    pool = load(tmp_path, FILE).pools[0]
    assert pool.replicas == 2, "it starts with what it has at least"
    assert pool.scaling == ScalingSpec(
        min=2,
        max=40,
        targets=ScalingTargets(queue_depth=10, oldest_s=30, utilisation=0.7),
        up=ScalingPace(count=2, percent=0, every_s=60, after_s=60, cooldown_s=300),
        down=ScalingPace(count=1, percent=10, every_s=60, after_s=300),
        windows=(ScalingWindow(when="Mon-Fri 08:00-20:00", zone="Europe/Berlin", min=5),),
        usd_per_hour=12.5,
        forecast=True,
    )


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("max: 40\n", "max: 50\n", "10: pools[0].scaling.max: is 50, over the limit of 40 agents in a pool: lower it, or "
         "raise limits.max_agents_per_pool"),
        ("max: 40\n", "max: 1\n", "10: pools[0].scaling.max: is 1, but must be at least 2"),
        ("0.7", "70", "11: pools[0].scaling.targets.utilisation: is 70, but must be a share over 0, up to 1"),
        ("30s", "soon", "11: pools[0].scaling.targets.oldest: 'soon' is no time: write 90s, 10m or 24h; a plain number "
         "is seconds"),
        ("count: 2", "count: 0", "12: pools[0].scaling.up.count: is 0, but must be at least 1: a share of a small pool "
         "is no whole agent"),
        ("Mon-Fri 08", "Weekdays 08", "14: pools[0].scaling.schedules[0].when: 'Weekdays 08:00-20:00' doesn't begin with "
         "days: write daily, or such as Mon-Fri or Sat,Sun"),
        ("Europe/Berlin", "Berlin", "14: pools[0].scaling.schedules[0].zone: there is no time zone 'Berlin'; write one "
         "such as Europe/Berlin"),
        ("min: 5", "min: 41", "14: pools[0].scaling.schedules[0]: has from 41 to 40 agents, but must stay within 0 and max "
         "(40)"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(tmp_path: Path, before: str, after: str, says: str) -> None:
    with pytest.raises(FleetFileInvalid) as error:
        load(tmp_path, FILE.replace(before, after))
    assert str(error.value) == f"{tmp_path}/fleet.yaml:{says}"


def test_a_start_above_the_most_is_a_mistake(tmp_path: Path) -> None:
    text = FILE.replace("max: 40\n", "max: 8\n").replace("    scaling:", "    replicas: 9\n    scaling:")
    with pytest.raises(FleetFileInvalid, match=r"8: pools\[0\].replicas: is 9, but scaling.max is 8"):
        load(tmp_path, text)


HOSTS = FILE.replace("pools:\n", "hosts: {min: 2, max: 6, agents: 500, cpu: 0.6, up: {after: 30s}}\npools:\n")


def test_hosts_may_follow_load(tmp_path: Path) -> None:
    fleet = load(tmp_path, HOSTS)
    assert fleet.hosts == 2, "it starts with what it has at least"
    assert fleet.host_scaling == HostScaling(
        agents=500,
        scaling=ScalingSpec(
            min=2,
            max=6,
            targets=ScalingTargets(cpu=0.6),
            up=ScalingPace(count=1, after_s=30),
            down=ScalingPace(count=1, after_s=300),
        ),
    )


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("max: 6", "max: 1", "3: hosts.max: is 1, but must be at least 2"),
        ("max: 6", "max: 900", "3: hosts.max: is 900, but must be from 1 to 256"),
        ("min: 2, max: 6", "min: 0, max: 6", "3: hosts: is 0, but must be from 1 to 256"),
        ("agents: 500", "agents: 0", "3: hosts.agents: is 0, but a host seats 1 agent at least"),
        ("cpu: 0.6", "cpu: 0", "3: hosts.cpu: is 0, but must be more than 0"),
    ],
)
def test_a_mistake_about_hosts_is_told_with_its_line(tmp_path: Path, before: str, after: str, says: str) -> None:
    with pytest.raises(FleetFileInvalid) as error:
        load(tmp_path, HOSTS.replace(before, after, 1))
    assert str(error.value) == f"{tmp_path}/fleet.yaml:{says}"


VERTICAL = """\
name: small
pools:
  - name: learner
    layer: executive
    agent: my_agents:learn
    capabilities: [text.learn]
    isolation: process
    limits: {memory_mb: 1024}
    scaling: {min: 1, max: 1, vertical: {step_mb: 512, max_mb: 4096, back: 1h}}
"""


def test_a_memory_limit_may_follow_what_is_taken(tmp_path: Path) -> None:
    scaling = load(tmp_path, VERTICAL).pools[0].scaling
    assert scaling is not None
    assert scaling.vertical == VerticalSpec(memory=0.8, step_mb=512, max_mb=4096, cooldown_s=1800, back_s=3600)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            "isolation: process\n    limits: {memory_mb: 1024}",
            "isolation: shared",
            "8: pools[0].scaling.vertical: needs isolation: process, since",
        ),
        ("memory_mb: 1024", "memory_mb: 0", "9: pools[0].scaling.vertical: needs a limit to begin with"),
        ("max_mb: 4096", "max_mb: 1024", "9: pools[0].scaling.vertical.max_mb: is 1024, but must be more than limits.memory_mb"),
        ("step_mb: 512", "step_mb: 0", "9: pools[0].scaling.vertical.step_mb: is 0, but must be at least 1"),
        ("step_mb: 512", "memory: 80, step_mb: 512", "9: pools[0].scaling.vertical.memory: is 80, but must be a share"),
    ],
)
def test_a_mistake_about_memory_is_told_with_its_line(tmp_path: Path, before: str, after: str, says: str) -> None:
    with pytest.raises(FleetFileInvalid) as error:
        load(tmp_path, VERTICAL.replace(before, after, 1))
    assert str(error.value).startswith(f"{tmp_path}/fleet.yaml:{says}")


def test_hosts_have_labels_and_pools_ask_for_them(tmp_path: Path) -> None:
    text = FILE.replace("pools:\n", "hosts: {min: 2, labels: {host-2: {gpu: 'true'}}}\npools:\n", 1)
    fleet = load(tmp_path, text.replace("    scaling:", "    node_selector: {gpu: 'true'}\n    scaling:"))
    assert (fleet.hosts, fleet.host_scaling, fleet.host_labels) == (2, None, {"host-2": {"gpu": "true"}})
    assert fleet.pools[0].node_selector == {"gpu": "true"}
    with pytest.raises(FleetFileInvalid) as error:
        load(tmp_path, text.replace("host-2:", "host-3:"))
    assert "hosts.labels.host-3: the local platform has host-1 to host-2 at all times; a host that you start" in str(error.value)


def test_a_host_s_own_labels_are_names_and_values() -> None:
    assert labels_of(["gpu=true", "zone=a=b"]) == {"gpu": "true", "zone": "a=b"}
    with pytest.raises(FleetError, match="'gpu' is no label: write NAME=VALUE, such as gpu=true"):
        labels_of(["zone=a", "gpu"])
