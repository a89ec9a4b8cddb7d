"""What fires, for how long it must hold, what ends it, what is told."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from amas.core.alerts import CLEAR_S_MAX, FLAP_WINDOW_MS, GAP_MS, clear_s, evaluate, fingerprint, why_never
from amas.model.alert_defaults import DEFAULT_RULES
from amas.model.alerts import FIGURES, Alert, AlertRule, Notice, Reading, Readings, Silence, parsed

START = 1_800_000_000_000


def rule(when: str = "machine_cpu > 80%", *, for_s: float = 0.0, clear_s: float = 0.0, **more: object) -> AlertRule:
    return AlertRule(name="Busy", severity="warning", when=parsed(when), for_s=for_s, clear_s=clear_s, **more)


class Watch:
    """Evaluates one look after the other, as the duty does."""

    def __init__(self, *rules: AlertRule) -> None:
        self.rules, self.alerts, self.told = rules, {}, []
        self.alerts: dict[str, Alert]
        self.told: list[Notice]
        self.silences: list[Silence] = []
        self.now_ms = START

    def look(self, *values: Reading | float, after_s: float = 0.0, unread: frozenset[str] = frozenset()) -> list[str]:
        """Look `after_s` later; return what is told, as `firing` or `resolved`."""
        self.now_ms += round(after_s * 1000)
        readings = tuple(each if isinstance(each, Reading) else Reading("machine_cpu", each) for each in values)
        found = evaluate(self.rules, self.alerts, Readings(at_ms=self.now_ms, values=readings, unread=unread), self.silences)
        self.alerts = found.alerts
        self.told += found.notices
        return [notice.status for notice in found.notices]

    @property
    def only(self) -> Alert:
        (alert,) = self.alerts.values()
        return alert


def test_an_alert_fires_once_its_condition_has_held_for_its_time_and_says_why() -> None:
    watch = Watch(rule(for_s=300))
    assert watch.look(0.9) == []
    assert watch.only.status == "pending"
    assert watch.look(0.95, after_s=100) == watch.look(0.95, after_s=100) == []
    assert watch.look(0.95, after_s=100) == ["firing"]
    assert watch.only.reason == "machine_cpu is 95 %, above 80 %, for 300 s"
    assert watch.look(0.95, after_s=5) == []


def test_a_condition_that_holds_no_longer_in_between_begins_anew() -> None:
    watch = Watch(rule(for_s=60))
    watch.look(0.9)
    watch.look(0.1, after_s=50)
    assert watch.alerts == {}
    watch.look(0.9, after_s=5)
    assert watch.look(0.9, after_s=55) == []
    assert watch.look(0.9, after_s=5) == ["firing"]


def test_what_nobody_looked_at_for_long_begins_anew_and_what_fired_goes_on() -> None:
    watch = Watch(rule(for_s=200))
    watch.look(0.9)
    assert watch.look(0.9, after_s=GAP_MS / 1000 + 100) == []
    assert watch.look(0.9, after_s=100) == []
    assert watch.look(0.9, after_s=100) == ["firing"]
    assert watch.look(0.9, after_s=3600) == []
    assert watch.only.status == "firing"


def test_an_alert_is_resolved_after_its_time_of_quiet_and_told_once() -> None:
    watch = Watch(rule(clear_s=30))
    assert watch.look(0.9) == ["firing"]
    assert watch.look(0.1, after_s=5) == watch.look(0.1, after_s=29) == []
    assert watch.look(0.1, after_s=1) == ["resolved"]
    assert watch.look(0.1, after_s=1) == []
    assert watch.only.resolved_ms == watch.now_ms - 1000
    assert watch.look(0.1, after_s=FLAP_WINDOW_MS / 1000) == []
    assert watch.alerts == {}, "it is forgotten once it counts for damping no more"


def test_each_subject_has_an_alert_of_its_own_and_one_that_is_gone_is_over() -> None:
    watch = Watch(rule("host_lag_s > 10"))
    one, two = Reading("host_lag_s", 20, {"host": "h1"}), Reading("host_lag_s", 30, {"host": "h2"})
    assert watch.look(one, two) == ["firing", "firing"]
    assert {alert.labels["host"] for alert in watch.alerts.values()} == {"h1", "h2"}
    assert watch.look(one, after_s=5) == ["resolved"]
    assert watch.told[-1].alert.reason == "host_lag_s of host h2 is no more"


def test_a_figure_that_cannot_be_read_changes_nothing() -> None:
    watch = Watch(rule(for_s=10))
    watch.look(0.9)
    before = watch.alerts
    assert watch.look(after_s=60, unread=frozenset({"machine_cpu"})) == []
    assert watch.alerts == before


def test_a_rule_that_was_taken_away_ends_what_it_fired() -> None:
    watch = Watch(rule())
    watch.look(0.9)
    watch.rules = ()
    assert watch.look(0.9, after_s=5) == ["resolved"]


def test_readings_can_be_folded_and_picked_by_label() -> None:
    depths = [Reading("queue_depth", depth, {"pool": pool}) for pool, depth in (("a", 60.0), ("b", 50.0))]
    watch = Watch(rule("sum(queue_depth) > 100", labels={"team": "x"}))
    assert watch.look(*depths) == ["firing"]
    assert (watch.only.value, watch.only.labels) == (110.0, {"team": "x"})
    assert Watch(rule("max(queue_depth) > 100")).look(*depths) == []
    assert Watch(rule("queue_depth{pool=b} >= 50")).look(*depths) == ["firing"]
    assert Watch(rule("avg(queue_depth) == 55")).look(*depths) == ["firing"]
    assert Watch(rule("min(queue_depth) < 50")).look(*depths) == []


def silence(*, until_s: float, **more: object) -> Silence:
    return Silence(
        id="s1", from_ms=START, until_ms=START + round(until_s * 1000), by="me", why="maintenance", **{"alert": "Busy", **more}
    )


def test_what_is_silenced_is_told_when_the_silence_ends_if_it_still_fires() -> None:
    watch = Watch(rule())
    watch.silences = [silence(until_s=60)]
    assert watch.look(0.9) == []
    assert (watch.only.status, watch.only.silenced_by) == ("firing", "s1")
    assert watch.look(0.9, after_s=59) == []
    assert watch.look(0.9, after_s=1) == ["firing"]


def test_what_was_over_before_its_silence_was_never_told() -> None:
    watch = Watch(rule())
    watch.silences = [silence(until_s=60, alert="*", labels={})]
    watch.look(0.9)
    assert watch.look(0.1, after_s=5) == watch.look(0.1, after_s=90) == []
    assert watch.only.status == "resolved"


def test_a_silence_covers_only_the_labels_that_it_names() -> None:
    watch = Watch(rule("host_lag_s > 10"))
    watch.silences = [silence(until_s=60, labels={"host": "h1"})]
    assert watch.look(*(Reading("host_lag_s", 20, {"host": host}) for host in ("h1", "h2"))) == ["firing"]
    assert watch.told[0].alert.labels == {"host": "h2"}


def test_notices_of_one_firing_have_the_same_id_and_of_another_another() -> None:
    watch = Watch(rule())
    watch.look(0.9)
    watch.look(0.1, after_s=1)
    watch.look(0.1, after_s=1)
    watch.look(0.9, after_s=1)
    assert [notice.status for notice in watch.told] == ["firing", "resolved", "firing"]
    assert len({notice.id for notice in watch.told}) == 3
    assert {notice.alert.fingerprint for notice in watch.told} == {fingerprint("Busy", {})}


@given(st.lists(st.booleans(), min_size=1, max_size=400), st.sampled_from([0.0, 5.0, 30.0]), st.sampled_from([0.0, 20.0, 60.0]))
@example([True, False, False] * 130, 0.0, 0.0)
@settings(max_examples=150)
def test_whatever_flaps_is_told_a_handful_of_times_in_an_hour_and_always_by_turns(
    held: list[bool], for_s: float, clear: float
) -> None:
    watch = Watch(rule(for_s=for_s, clear_s=clear))
    since: int | None = None
    for holds in held:
        told = watch.look(0.9 if holds else 0.1, after_s=5)
        since = (since or watch.now_ms) if holds else None
        if "firing" in told:
            assert since is not None and watch.now_ms - since >= for_s * 1000, "it fired before its time"
        alert = next(iter(watch.alerts.values()), None)
        if holds and since is not None and watch.now_ms - since >= for_s * 1000:
            assert alert is not None and alert.status == "firing", "it should fire by now"
    said = [notice.status for notice in watch.told]
    assert said == [("firing", "resolved")[at % 2] for at in range(len(said))]
    assert len(said) <= 2 * 11, "5 s, 10 s, ... half an hour: nine doublings fill the hour"


def test_damping_doubles_and_has_an_end() -> None:
    firings = [START - at * 1000 for at in range(100)]
    assert clear_s(rule(clear_s=30), firings[:1], START) == 30
    assert clear_s(rule(clear_s=30), firings[:3], START) == 120
    assert clear_s(rule(clear_s=30), firings, START) == CLEAR_S_MAX
    assert clear_s(rule(clear_s=0), firings[:2], START) == 10
    assert clear_s(rule(clear_s=30), firings[:3], START + FLAP_WINDOW_MS) == 30


@pytest.mark.requirement("M6", "M7")
@pytest.mark.parametrize("each", DEFAULT_RULES, ids=lambda each: each.name)
def test_every_default_rule_fires_beyond_its_bound_after_its_time_and_not_before(each: AlertRule) -> None:
    labels = dict.fromkeys(FIGURES[each.when.figure].labels, "x")
    wrong = each.when.threshold + (1 if each.when.compare in {">", ">="} else -0.001)
    bad, good = Reading(each.when.figure, wrong, labels), Reading(each.when.figure, each.when.threshold, labels)
    watch = Watch(each)
    assert watch.look(good) == [] and not watch.alerts
    told = watch.look(bad)
    passed_s = 0.0
    while not told:
        assert passed_s < each.for_s
        passed_s += 10
        told = watch.look(bad, after_s=10)
    assert told == ["firing"] and each.for_s <= passed_s < each.for_s + 10


@pytest.mark.requirement("M6", "M7")
def test_the_defaults_are_those_that_are_asked_for() -> None:
    by_name = {each.name: each for each in DEFAULT_RULES}
    assert len(by_name) == len(DEFAULT_RULES)
    cpu, agent = by_name["HighCPUUsage"], by_name["AgentFailure"]
    assert (cpu.when.text(), cpu.for_s) == ("machine_cpu > 0.8", 300)
    assert (agent.severity, agent.for_s) == ("critical", 0)
    assert by_name["LearningDegradation"].severity == by_name["HighMemoryUsage"].severity == "warning"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machine_cpu", "is no condition: write FIGURE > NUMBER"),
        ("sum(machine_cpu > 1", "is no condition"),
        ("cpu > 1", "'cpu' is no figure: there are queue_depth, "),
        ("machine_cpu > 80s", "can't be counted in 's': write %"),
        ("queue_depth > 80%", "can't be counted in '%': write a plain number"),
        ("queue_depth{host=x} > 1", "'host=x' picks no reading of queue_depth: write pool=NAME"),
        ("machine_cpu{host=x} > 1", "picks no reading of machine_cpu: it has one only"),
    ],
)
def test_a_condition_that_says_nothing_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parsed(text)
    assert said in str(caught.value)


def test_units_are_understood() -> None:
    assert parsed("oldest_waiting_s > 10m").threshold == 600
    assert parsed("host_memory >= 2GiB").threshold == 2 * 2**30
    assert parsed("disk_free < 5%").threshold == 0.05
    assert parsed("sum(queue_depth{pool=a}) != 3").text() == "sum(queue_depth{pool=a}) != 3"


@pytest.mark.parametrize(
    ("when", "labels", "why"),
    [
        ("host_lost >= 1", {"host": "host-2"}, ""),
        ("host_lost >= 1", {"host": "host-2", "team": "platform"}, ""),
        ("host_lost >= 1", {}, ""),
        (
            "host_lost >= 1",
            {"hots": "h"},
            "an alert of Busy never has the label 'hots' (did you mean 'host'?): it has host, team",
        ),
        ("machine_cpu > 80%", {"pool": "x"}, "an alert of Busy never has the label 'pool': it has team"),
        ("max(queue_depth) > 5", {"pool": "x"}, "an alert of Busy never has the label 'pool': it has team"),
        (
            "max(queue_depth{pool=coder}) > 5",
            {"pool": "codr"},
            "an alert of Busy never has pool=codr (did you mean 'coder'?): it is coder",
        ),
        ("queue_depth > 5", {"pool": "any"}, ""),
        ("queue_depth > 5", {"team": "sales"}, "an alert of Busy never has team=sales: it is platform"),
    ],
)
def test_labels_that_no_alert_can_have_are_told_with_those_that_there_are(when: str, labels: dict[str, str], why: str) -> None:
    assert why_never([rule(when, labels={"team": "platform"})], labels) == why


def test_of_all_rules_one_must_have_all_the_labels() -> None:
    rules = [rule("host_lost >= 1"), rule("queue_depth > 5")]
    assert why_never(rules, {"host": "h"}) == why_never(rules, {"pool": "p"}) == why_never([], {}) == ""
    assert why_never(rules, {"host": "h", "pool": "p"}) == "no alert has all of the labels host, pool at the same time"
    assert why_never(rules, {"pol": "p"}) == "an alert never has the label 'pol' (did you mean 'pool'?): it has host, pool"


def test_an_alert_s_own_labels_can_always_be_silenced() -> None:
    """What a rule says of its readings is what the readings have: else a silence of a real alert would be refused."""
    for when in ("agents{status=error} > 0", "queue_depth > 0", "sum(queue_depth{pool=p}) > 0", "machine_cpu > 0"):
        watch = Watch(one := rule(when, labels={"team": "platform"}))
        watch.look(
            Reading(one.when.figure, 9.0, {"agents": {"status": "error"}, "queue_depth": {"pool": "p"}}.get(one.when.figure, {}))
        )
        assert why_never([one], watch.only.labels) == ""
