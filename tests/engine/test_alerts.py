"""The duties of alerts on a real engine, with real receivers: what is told, once, whoever leads."""

import asyncio
import base64
import hmac
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from receivers import ALERTMANAGER, Receiver, alertmanager, get_json

from amas.clock import new_id
from amas.controllers.alerts import Alerts, Latest, read_alerts
from amas.controllers.figures import Figures
from amas.controllers.machine import Machine
from amas.controllers.notices import Notifier
from amas.controllers.readings import Memory, Meter, submitted_ms
from amas.engine.alerts import AlertStore
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostAbout, HostFigures, HostRegistry, PoolCard
from amas.engine.queue import Slots, TaskQueue, make_submission
from amas.engine.recoveries import Recoveries
from amas.errors import AlertsChanged, EngineUnreachable
from amas.model.alert_defaults import DEFAULT_RULES
from amas.model.alerts import FIGURES, AlertRule, AlertsSpec, Readings, Silence, Webhook, parsed
from amas.model.backup import BackupSpec
from amas.model.desired import FLEET_KILLED, Kill, Order
from amas.model.fleet import FleetSpec, PoolSpec, TenantSpec
from amas.model.healing import Quarantine
from amas.model.limits import Amounts
from amas.model.task import TaskSpec
from amas.policy.outbound import DECLARED, PostFailed, allowed, post
from amas.records.store import Records
from amas.settings import AlertSettings

START = 1_800_000_000_000
RULES = (
    AlertRule(name="HostLagging", severity="critical", when=parsed("host_lag_s > 10"), clear_s=0, summary="It lags."),
    AlertRule(name="QueueLong", severity="warning", when=parsed("queue_depth{pool=worker} > 2"), for_s=60, clear_s=0),
)
SECRET = "a-secret-of-sixteen-and-more"


def fleet_of(*rules: AlertRule, hooks: tuple[Webhook, ...] = ()) -> FleetSpec:
    pools = (PoolSpec(name="worker", agent="x:y", capabilities=("work",), replicas=3, budget=Amounts(usd=1.0)),)
    tenants = {"acme": TenantSpec(budget=Amounts(usd=2.0))}
    return FleetSpec(name="small", pools=pools, hosts=2, tenants=tenants, alerts=AlertsSpec(rules=rules, webhooks=hooks))


class Leader:
    """One control plane's duties, with a clock that the test moves on."""

    def __init__(self, engine: Engine, records: Records, fleet: FleetSpec, **settings: str) -> None:
        self.engine, self.store, self.latest, self.figures = engine, AlertStore(engine), Latest(fleet), Figures()
        self.hosts = HostRegistry(engine)
        self.meter = Meter(engine, records, self.figures, fleet, home=Path("/"))
        self.settings = AlertSettings(**settings)
        self.duty = Alerts(self.store, self.meter, self.latest, alertmanager=bool(self.settings.alertmanager_url))
        self.notifier = Notifier(self.store, self.latest, self.settings, patience_s=60.0)

    async def host(self, host_id: str = "h1", *, agents: int = 3, lag_s: float = 0.0, at_ms: int = START) -> None:
        cards = (PoolCard("worker", "specialist", "", "", "1", 1, ((1, agents),)),)
        await self.hosts.register(host_id, HostAbout(1, "here", "1", cards), lease_s=1e6, now_ms=at_ms)
        await self.beat(host_id, lag_s=lag_s, at_ms=at_ms)

    async def beat(self, host_id: str = "h1", *, lag_s: float = 0.0, at_ms: int = START, **more: object) -> None:
        await self.hosts.renew(host_id, HostFigures(loop_lag_s=lag_s, **more), lease_s=1e6, now_ms=at_ms)

    async def look(self, at_s: float) -> dict[str, str]:
        """Look at the figures so many seconds after the start; return rule -> status."""
        await self.duty.look(now_ms=START + round(at_s * 1000))
        _, record = await read_alerts(self.store)
        return {alert.rule: alert.status for alert in record.alerts.values()}

    async def told(self, receiver: str = "log") -> list[str]:
        return [each.notice.status for each in await self.store.queued(receiver, limit=100)]


async def test_a_rule_fires_after_its_time_resolves_and_is_told_once_over_a_change_of_leaders(
    engine: Engine, records: Records
) -> None:
    fleet = fleet_of(*RULES)
    first = Leader(engine, records, fleet)
    await first.host()
    queue = TaskQueue(engine)
    await queue.submit([make_submission(new_id(), TaskSpec(capability="work")) for _ in range(3)])
    assert await first.look(0) == {"QueueLong": "pending"}
    assert await first.look(50) == {"QueueLong": "pending"}
    second = Leader(engine, records, fleet)
    assert await second.look(60) == {"QueueLong": "firing"}, "the other leader's looks count"
    assert await first.look(65) == await second.look(70) == {"QueueLong": "firing"}
    assert await second.told() == ["firing"]
    assert await queue.claim("h1", [Slots(("work",), ["worker-1"])], now_ms=START)
    assert await second.look(75) == {"QueueLong": "resolved"}
    assert await second.told() == ["firing", "resolved"]


async def test_of_two_leaders_that_look_at_the_same_time_one_is_heard(engine: Engine, records: Records) -> None:
    leaders = [Leader(engine, records, fleet_of(*RULES)) for _ in range(4)]
    await leaders[0].host(lag_s=20)
    await asyncio.gather(*(leader.duty.look(now_ms=START) for leader in leaders))
    assert await leaders[0].told() == ["firing"]
    revision, record = await read_alerts(leaders[0].store)
    with pytest.raises(AlertsChanged, match="has changed meanwhile"):
        await leaders[0].store.keep("state", record, expect=revision - 1)


async def test_what_is_silenced_is_told_to_nobody(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of(*RULES))
    await leader.host(lag_s=20)
    until_ms = START + 60_000
    await leader.store.silence(Silence(id="s", alert="HostLagging", from_ms=START, until_ms=until_ms, by="ada", why="known"))
    assert await leader.look(0) == {"HostLagging": "firing"}
    assert await leader.told() == []
    await leader.look(60)
    assert await leader.told() == ["firing"]
    await leader.look(3700)
    assert await leader.store.silences() == [], "one that is long over is forgotten"


async def test_rules_follow_the_fleet_that_is_applied(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of())
    await leader.host(lag_s=20)
    assert await leader.look(0) == {}
    await DesiredState(engine).change([Wish("fleet", fleet_of(*RULES))], by="test")
    await leader.look(5)
    assert await leader.look(10) == {"HostLagging": "firing"}


async def test_figures_are_what_they_say(engine: Engine, records: Records) -> None:
    leader, queue = Leader(engine, records, fleet_of()), TaskQueue(engine)
    await leader.host("h1")
    await leader.host("h2", agents=1)
    await leader.beat("h2", cpu_s=10.0, troubled=("worker-1",))
    await queue.submit([make_submission(new_id(), TaskSpec(capability="work")) for _ in range(4)])
    recoveries = Recoveries(engine)
    await recoveries.note("host_lost", "remote-0f1e", since_ms=START - 9_000, now_ms=START - 1_000)  # a laptop that sleeps
    await recoveries.note("host_lost", "before", since_ms=START - 499_000, now_ms=START - 400_000)
    await leader.hosts.register("h9", HostAbout(1, "here", "1", ()), lease_s=1, now_ms=START - 90_000)
    lost = await leader.hosts.reap(now_ms=START)
    assert lost is not None and lost.id == "h9"
    memory, wanted = Memory(), set(FIGURES)

    async def look(at_s: float) -> Readings:
        nonlocal memory
        readings, memory, _ = await leader.meter.look(memory, wanted, now_ms=START + round(at_s * 1000))
        memory = msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=Memory)
        return readings

    def value(readings: Readings, figure: str, **labels: str) -> float:
        (found,) = readings.of(figure, labels)
        return found.value

    readings = await look(0)
    assert value(readings, "queue_depth", pool="worker") == 4
    assert value(readings, "hosts") == 2
    assert value(readings, "hosts_missing") == 0
    assert len(readings.of("host_lost")) == value(readings, "host_lost", host="h9") == 1, "a session is no host"
    assert not readings.of("recovery_s"), "how long earlier ones took is nobody's alarm now"
    assert value(readings, "agents_missing", pool="worker") == 0
    assert value(readings, "agents_unhealthy", host="h2") == 1
    assert value(readings, "agents", status="error") == 1
    assert value(readings, "agents", status="idle") == 3
    assert value(readings, "work_lost") == value(readings, "cost_per_hour") == 0
    assert value(readings, "oldest_waiting_s", pool="worker") > 0, "the task's id is of this year, and the test's clock isn't"
    assert not readings.of("success_rate"), "nothing has ended"
    assert 0 < value(readings, "disk_free") < 1
    await leader.beat("h2", cpu_s=12.5)
    await recoveries.note("agent_stuck", "worker-1", since_ms=START - 70_000, now_ms=START)
    for each in await recoveries.made_good():
        await recoveries.note(each.cause, each.subject, since_ms=START - 7_000, name=each.name, now_ms=START)
    await queue.claim("h1", [Slots(("work",), ["worker-1"])], now_ms=START)
    readings = await look(5)
    assert value(readings, "host_cpu", host="h2") == pytest.approx(0.5)
    assert value(readings, "host_idle_s", host="h1") == 0, "it runs something"
    assert value(readings, "host_idle_s", host="h2") == 5, "work waits that it could do"
    assert value(readings, "recovery_s") == 7
    assert value(readings, "host_lost", host="h9") == 1, "whoever leads knows it"
    await DesiredState(engine).change([Wish("order:h2", Order(cordoned=True))], by="test")
    assert value(await look(10), "host_idle_s", host="h2") == 0, "it is to get no work"
    assert not (await look(301)).of("host_lost")
    assert not readings.of("backup_age_s"), "none is wanted"


async def test_a_back_up_that_is_wanted_and_not_made_is_missed_whoever_leads(engine: Engine, records: Records) -> None:
    fleet = msgspec.structs.replace(fleet_of(), backup=BackupSpec(every_s=3600))
    leader, memory = Leader(engine, records, fleet), Memory()

    async def look(at_s: float) -> tuple[float, float]:
        nonlocal memory
        readings, memory, _ = await leader.meter.look(memory, set(), now_ms=START + round(at_s * 1000))
        return readings.of("backup_age_s")[0].value, readings.of("backups_missed")[0].value

    assert await look(0) == (0, 0), "there is none, and one is wanted from now on"
    leader = Leader(engine, records, fleet)
    assert await look(7199) == (7199, 0), "the first was due at once, the second is on its way"
    assert await look(7200) == (7200, 1)
    leader.figures.backup_at_ms = START + 7_000_000
    assert await look(7210) == (210, 0)
    leader = Leader(engine, records, fleet)
    assert await look(7300) == (300, 0), "the next leader hasn't looked yet"
    leader.figures.backup_at_ms = START - 10_000_000
    assert await look(7300) == (17_300, 3), "somebody removed the newer ones"


async def test_the_rate_of_the_last_minutes_is_that_of_what_ended_in_them(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of())
    memory = Memory(ended=((START - 400_000, 900, 0), (START - 301_000, 1000, 0), (START - 100_000, 1010, 5)))
    await engine.client.hset(engine.key("totals"), mapping={"succeeded": 1030, "failed": 10})
    readings, memory, _ = await leader.meter.look(memory, set(), now_ms=START)
    assert [each.value for each in readings.of("success_rate")] == [0.75]
    assert [each.value for each in readings.of("error_rate")] == [0.25]
    assert len(memory.ended) == 3, "of what is older than the window one look is enough"


def test_an_id_tells_when_its_task_was_submitted() -> None:
    assert submitted_ms("01890a5d-ac96-774b-bcce-b302099a8057") == 0x01890A5DAC96
    assert submitted_ms("my-task") is submitted_ms("") is None


def test_a_machine_tells_what_it_can(tmp_path: Path) -> None:
    assert set(Machine(None, proc=tmp_path).look()) == set()
    (tmp_path / "stat").write_text("cpu  100 0 0 900 0 0 0 0 0 0\n")
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 250 kB\n")
    machine = Machine(tmp_path, proc=tmp_path)
    assert set(machine.look()) == {"machine_memory", "disk_free"}
    (tmp_path / "stat").write_text("cpu  190 0 0 910 0 0 0 0 0 0\n")
    found = machine.look()
    assert (found["machine_cpu"], found["machine_memory"]) == (pytest.approx(0.9), 0.75)


# telling


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def hooked(receiver: Receiver, **more: object) -> FleetSpec:
    return fleet_of(*RULES, hooks=(Webhook(name="ops", url=receiver.url, **more),))


async def test_a_webhook_gets_each_status_once_signed(engine: Engine, records: Records, receiver: Receiver) -> None:
    leader = Leader(engine, records, hooked(receiver), secret=SECRET)
    await leader.host(lag_s=20)
    await leader.look(0)
    await leader.notifier.run_once()
    await leader.notifier.run_once()
    await leader.beat(lag_s=0)
    await leader.look(5)
    await leader.notifier.run_once()
    assert [got.json["status"] for got in receiver.posts] == ["firing", "resolved"]
    first = receiver.posts[0]
    assert first.json["alert"] == "HostLagging" and first.json["labels"] == {"host": "h1"} and first.json["fleet"] == "small"
    assert first.json["reason"] == "host h1: host_lag_s is 20 s, above 10 s"
    signed = f"{first.headers['webhook-id']}.{first.headers['webhook-timestamp']}.".encode() + first.body
    made = base64.b64encode(hmac.digest(SECRET.encode(), signed, "sha256")).decode()
    assert first.headers["webhook-signature"] == f"v1,{made}"
    assert first.headers["webhook-id"] == first.json["id"] != receiver.posts[1].json["id"]
    (state,) = await leader.store.receivers(["webhook:ops"])
    assert (state.told, state.queued, state.error) == (2, 0, "")


async def test_a_receiver_that_fails_is_told_later_and_holds_up_no_other(
    engine: Engine, records: Records, receiver: Receiver
) -> None:
    leader = Leader(engine, records, hooked(receiver))
    receiver.status = 503
    await leader.host(lag_s=20)
    await leader.look(0)
    await leader.notifier.run_once()
    log, hook = await leader.store.receivers(["log", "webhook:ops"])
    assert (log.queued, log.told) == (0, 1)
    assert (hook.queued, hook.failures, hook.error) == (1, 1, "127.0.0.1 answered 503: because")
    await leader.notifier.run_once()
    assert len(receiver.posts) == 1, "its pause isn't over"
    receiver.status = 204
    after = Leader(engine, records, hooked(receiver))  # a process that knows of no pause
    await after.notifier.run_once()
    (hook,) = await leader.store.receivers(["webhook:ops"])
    assert (hook.queued, hook.failures, hook.told) == (0, 0, 1)
    assert receiver.posts[0].headers["webhook-id"] == receiver.posts[1].headers["webhook-id"]
    assert "webhook-signature" not in receiver.posts[1].headers, "there is no secret"


async def test_an_engine_that_goes_away_while_somebody_is_told_is_the_duty_s_trouble(
    engine: Engine, records: Records, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = Leader(engine, records, hooked(receiver))
    await leader.host(lag_s=20)
    await leader.look(0)

    async def away(*_: object) -> None:
        raise EngineUnreachable("the engine is away")

    monkeypatch.setattr(AlertStore, "told", away)
    with pytest.raises(EngineUnreachable):
        await leader.notifier.run_once()
    monkeypatch.undo()
    await leader.notifier.run_once()
    assert len({got.headers["webhook-id"] for got in receiver.posts}) == 1, "who gets it twice can tell"


async def test_a_webhook_hears_only_of_what_it_asks_for(engine: Engine, records: Records, receiver: Receiver) -> None:
    leader = Leader(engine, records, hooked(receiver, severities=("warning",)))
    await leader.host(lag_s=20)
    await leader.look(0)
    await leader.notifier.run_once()
    assert receiver.posts == []
    (hook,) = await leader.store.receivers(["webhook:ops"])
    assert hook.queued == 0


async def test_a_receiver_that_takes_its_time_holds_up_no_other(
    engine: Engine, records: Records, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amas.controllers.notices.POST_TIMEOUT_S", 120.0)
    receiver.answering.clear()
    leader = Leader(engine, records, hooked(receiver))
    leader.notifier._patience_s = 0.0
    await leader.host(lag_s=20)
    await leader.look(0)
    async with asyncio.timeout(60):
        while not (await leader.store.receivers(["log"]))[0].told:
            await leader.notifier.run_once()
    (hook,) = await leader.store.receivers(["webhook:ops"])
    assert (hook.queued, hook.told) == (1, 0), "it is told still"
    receiver.answering.set()
    leader.notifier.errands.drop()


async def test_a_queue_keeps_the_newest_thousand_notices(engine: Engine, records: Records) -> None:
    leader = Leader(engine, records, fleet_of(*RULES))
    await leader.host(lag_s=20)
    await leader.look(0)
    (queued,) = await leader.store.queued("log", limit=2)
    for _ in range(11):
        await leader.store.tell([queued.notice] * 100, ["slow"])
    (slow,) = await leader.store.receivers(["slow"])
    assert (slow.queued, slow.dropped) == (1000, 100)


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("127.0.0.1", True),
        ("10.0.0.8", True),
        ("8.8.8.8", True),
        ("::1", True),
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("::ffff:169.254.169.254", False),
        ("2002:a9fe:a9fe::", False),
        ("fd00:ec2::254", False),
        ("100.100.100.200", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
    ],
)
def test_addresses_that_only_the_machine_may_reach_are_refused(address: str, may: bool) -> None:
    assert allowed(address) is may


def test_a_post_is_refused_before_it_connects_and_follows_no_redirect(receiver: Receiver) -> None:
    with pytest.raises(PostFailed, match="link_local: true"):
        post("http://169.254.169.254/latest/meta-data", b"{}", {}, reach=DECLARED, timeout_s=1)
    with Receiver() as other:
        receiver.status, receiver.elsewhere = 307, other.url
        with pytest.raises(PostFailed, match="answered 307"):
            post(receiver.url, b"{}", {}, reach=DECLARED, timeout_s=60)
        assert other.posts == []


def test_who_answers_a_byte_at_a_time_is_cut_off(receiver: Receiver) -> None:
    receiver.answering.clear()
    try:
        with pytest.raises(PostFailed, match="no whole answer within 1 s"):
            post(receiver.url, b"{}", {}, reach=DECLARED, timeout_s=1)
    finally:
        receiver.answering.set()


def test_the_address_that_was_checked_is_the_one_that_is_reached(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    lookup = socket.getaddrinfo

    def turns_bad(host: str, *given: Any, **named: Any) -> Any:
        """Resolve the name to an allowed address once, and to the metadata service ever after."""
        if host != "ops.example":
            return lookup(host, *given, **named)
        asked.append(host)
        return lookup("127.0.0.1" if len(asked) == 1 else "169.254.169.254", *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", turns_bad)
    port = receiver.server.server_port
    post(f"http://ops.example:{port}/hook", b"{}", {}, reach=DECLARED, timeout_s=60)
    assert asked == ["ops.example"]
    assert [(got.path, got.headers["Host"]) for got in receiver.posts] == [("/hook", f"ops.example:{port}")]


@pytest.mark.requirement("M6")
@pytest.mark.skipif(ALERTMANAGER is None, reason="prometheus-alertmanager isn't installed")
async def test_a_real_alertmanager_hears_of_what_fires_and_of_its_end(engine: Engine, records: Records, tmp_path: Path) -> None:
    with alertmanager(tmp_path) as url:
        leader = Leader(engine, records, fleet_of(*RULES), alertmanager_url=url)
        await leader.host(lag_s=20)
        await leader.look((AlertStore(engine).now_ms() - START) / 1000)  # it forgets what ended before its own time
        await leader.notifier.run_once()
        (held,) = get_json(f"{url}/api/v2/alerts")
        assert held["labels"] == {"alertname": "HostLagging", "severity": "critical", "fleet": "small", "host": "h1"}
        assert held["annotations"]["summary"] == "It lags."
        assert "above 10 s" in held["annotations"]["description"]
        assert held["status"]["state"] in {"active", "unprocessed"}
        leader.notifier._resent_at = float("-inf")
        await leader.notifier.run_once()
        (again,) = get_json(f"{url}/api/v2/alerts")
        assert again["endsAt"] >= held["endsAt"] and again["startsAt"] == held["startsAt"]
        await leader.beat(lag_s=0)
        await leader.look((AlertStore(engine).now_ms() - START) / 1000)
        await leader.notifier.run_once()
        assert get_json(f"{url}/api/v2/alerts") == [], "it lists what hasn't ended"
        (state,) = await leader.store.receivers(["alertmanager"])
        assert (state.told, state.queued, state.error) == (2, 0, "")


async def test_a_host_isnt_idle_while_nobody_of_its_agents_may_take_what_waits(engine: Engine, records: Records) -> None:
    leader, memory = Leader(engine, records, fleet_of()), Memory()
    await leader.host("h1", agents=3)
    await TaskQueue(engine).submit([make_submission(new_id(), TaskSpec(capability="work"))])
    desired = DesiredState(engine)
    at_s = 0

    async def idle_after(*wishes: Wish, troubled: tuple[str, ...] = ()) -> float:
        nonlocal memory, at_s
        at_s += 100
        await desired.change(wishes, by="test")
        await leader.beat("h1", troubled=troubled)
        for now_s in (at_s, at_s + 50):
            readings, memory, _ = await leader.meter.look(memory, set(), now_ms=START + now_s * 1000)
        return readings.of("host_idle_s")[0].value

    crashed = Quarantine(by="host h1", why="it crashed", at_ms=START)
    assert await idle_after(Wish("quarantine:worker-1", crashed), troubled=("worker-1",)) >= 50, "two others could"
    assert await idle_after(Wish("quarantine:worker-2", crashed), troubled=("worker-1", "worker-2", "worker-3")) == 0
    assert await idle_after(troubled=("worker-1", "worker-2")) >= 50, "the last one is well again"
    kill = Kill(by="ada", why="it must not", at_ms=START)
    for target in ("worker-3", "worker", FLEET_KILLED):
        assert await idle_after(Wish(f"kill:{target}", kill)) == 0, target
        assert await idle_after(Wish(f"kill:{target}", None)) >= 50
    assert await idle_after(Wish("quarantine:worker-3", crashed)) == 0


async def test_who_crashes_again_and_again_is_told_and_a_pool_of_such_agents_is_down(engine: Engine, records: Records) -> None:
    wanted = {"AgentQuarantined", "PoolDown", "AgentFailure", "HostIdle"}
    rules = tuple(rule for rule in DEFAULT_RULES if rule.name in wanted)
    leader, desired = Leader(engine, records, fleet_of(*rules)), DesiredState(engine)
    await leader.host("h1", agents=3)
    await desired.change([Wish("fleet", fleet_of(*rules))], by="test")
    held = Quarantine(by="ada", why="it charges twice", at_ms=START)
    await desired.change([Wish("quarantine:worker-1", held)], by="ada")
    await leader.beat("h1", troubled=("worker-1",))
    assert await leader.look(0) == {}, "who says so knows it"
    crashed = Quarantine(by="host h1", why="it crashed", at_ms=START)
    await desired.change([Wish("quarantine:worker-2", crashed)], by="host h1")
    assert await leader.look(5) == {"AgentQuarantined": "firing"}
    await desired.change([Wish("quarantine:worker-3", crashed)], by="host h1")
    assert await leader.look(10) == {"AgentQuarantined": "firing", "PoolDown": "firing"}
