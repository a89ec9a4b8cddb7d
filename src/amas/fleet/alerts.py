"""What a fleet file says of alerts, and run-book files: checked, with file, line, field and the mend of what is wrong."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from amas.fleet.declared import DeclaredAlerts, DeclaredRule, DeclaredWebhook, Time, seconds
from amas.model.alert_defaults import DEFAULT_RULES
from amas.model.alerts import (
    FIGURES,
    LABEL,
    LABEL_CHARS_MAX,
    NAME,
    RULES_MAX,
    AlertRule,
    AlertsSpec,
    Condition,
    Webhook,
    parsed,
)
from amas.model.meant import did_you_mean
from amas.model.runbook import STEPS_MAX, TAKES, Action, RunBook, Step, texts_of, variables
from amas.model.yamlfile import YamlFile, shipped_folder

CHECK_TIMEOUT_S = 60.0
WEBHOOKS_MAX = 20


class DeclaredStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a run-book's file."""

    do: Action
    name: str = ""
    host: str = ""
    agent: str = ""
    pool: str = ""
    by: int | None = None
    to: int | None = None
    most: int | None = None
    that: str = ""
    wait: Time | None = msgspec.field(name="for", default=None)
    say: str = ""
    when: str = ""
    confirm: str = "auto"
    confirm_within: Time = 3600.0
    timeout: Time = CHECK_TIMEOUT_S
    on_success: str = "continue"
    on_failure: str = "stop"


class DeclaredRunBook(msgspec.Struct, frozen=True, kw_only=True):
    """A run-book's file."""

    name: str
    steps: tuple[DeclaredStep, ...]
    title: str = ""
    cooldown: Time = 600.0


class AlertsReading:
    """Turns what a file says of alerts into a spec."""

    def __init__(self, file: YamlFile, books: Mapping[str, RunBook]) -> None:
        """`books`: the fleet's run-books, by name."""
        self._file, self._books = file, books

    def spec(self, said: DeclaredAlerts) -> AlertsSpec:
        """Return the rules and receivers; FleetFileInvalid at the first mistake."""
        names = [rule.name for rule in DEFAULT_RULES]
        for index, name in enumerate(said.off):
            if name not in names:
                raise self._file.invalid(f"no default rule is called {name!r}{did_you_mean(name, names)}", f"alerts.off[{index}]")
        own = [self._rule(rule, f"alerts.rules[{index}]", said) for index, rule in enumerate(said.rules)]
        replaced = {rule.name for rule in own} | set(said.off)
        kept = [self._known(rule) for rule in DEFAULT_RULES if rule.name not in replaced] if said.defaults else []
        if len(own) + len(kept) > RULES_MAX:
            raise self._file.invalid(f"are {len(own)}, but at most {RULES_MAX} rules can be looked at", "alerts.rules")
        return AlertsSpec(rules=(*kept, *own), webhooks=self._webhooks(said.webhooks))

    def _known(self, rule: AlertRule) -> AlertRule:
        """Return a default rule without the run-book that this fleet doesn't have."""
        return rule if rule.runbook in self._books else msgspec.structs.replace(rule, runbook="")

    def _rule(self, said: DeclaredRule, at: str, whole: DeclaredAlerts) -> AlertRule:
        if not NAME.fullmatch(said.name):
            raise self._file.invalid(f"{said.name!r} is no name: letters, digits and _, such as QueueTooLong", f"{at}.name")
        if sum(rule.name == said.name for rule in whole.rules) > 1:
            raise self._file.invalid(f"{said.name!r} is used more than once", f"{at}.name")
        for name, value in said.labels.items():
            if not LABEL.fullmatch(name) or name in {"alertname", "severity", "fleet"} or len(value) > LABEL_CHARS_MAX:
                raise self._file.invalid(
                    f"{name!r} can't be a label: lower case, digits and _, such as team, and none of ours", f"{at}.labels"
                )
        when = condition(self._file, said.when, f"{at}.when")
        clash = said.labels.keys() & set(FIGURES[when.figure].labels)
        if clash:
            raise self._file.invalid(f"{min(clash)!r} comes from {when.figure}: name the label otherwise", f"{at}.labels")
        self._check_runbook(said, when, at)
        return AlertRule(
            name=said.name,
            severity=said.severity,
            when=when,
            for_s=time(self._file, said.hold, f"{at}.for"),
            clear_s=time(self._file, said.clear, f"{at}.clear"),
            labels=said.labels,
            runbook=said.runbook,
            summary=said.summary,
        )

    def _check_runbook(self, said: DeclaredRule, when: Condition, at: str) -> None:
        if not said.runbook:
            return
        if said.runbook not in self._books:
            known = did_you_mean(said.runbook, self._books) or f": there are {', '.join(sorted(self._books))}"
            raise self._file.invalid(f"there is no run-book {said.runbook!r}{known}", f"{at}.runbook")
        labels = {*(() if when.fold else FIGURES[when.figure].labels), *when.labels, *said.labels}
        for name in self._books[said.runbook].needs:
            if name not in labels:
                words = f"{said.runbook!r} is about a {name}, which {when.figure} doesn't name: add it to the labels"
                raise self._file.invalid(words, f"{at}.runbook")

    def _webhooks(self, said: Sequence[DeclaredWebhook]) -> tuple[Webhook, ...]:
        if len(said) > WEBHOOKS_MAX:
            raise self._file.invalid(f"are {len(said)}, but at most {WEBHOOKS_MAX} can be told", "alerts.webhooks")
        for index, hook in enumerate(said):
            at = f"alerts.webhooks[{index}]"
            if not NAME.fullmatch(hook.name) or sum(each.name == hook.name for each in said) > 1:
                raise self._file.invalid(
                    f"{hook.name!r} is no name of its own: letters, digits and _, such as pager, once", f"{at}.name"
                )
            if not _is_address(hook.url):
                raise self._file.invalid(f"{hook.url!r} is no address: write https://host/path, without a user", f"{at}.url")
        return tuple(
            Webhook(name=each.name, url=each.url, severities=each.severities, link_local=each.link_local) for each in said
        )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False


def condition(file: YamlFile, text: str, field: str) -> Condition:
    """Return the condition that a field says."""
    try:
        return parsed(text)
    except ValueError as error:
        raise file.invalid(str(error), field) from error


def time(file: YamlFile, said: Time, field: str) -> float:
    """Return the seconds that a field says."""
    try:
        return seconds(said)
    except ValueError as error:
        raise file.invalid(str(error), field) from error


def load_runbooks(names: Sequence[str] = (), *, folder: Path | None = None) -> dict[str, RunBook]:
    """Return the run-books at these paths, or called so in `folder`, by name; all of the folder when none is named.

    The folder is the one that ships with the product where none is given.
    """
    folder = folder or shipped_folder("runbooks")
    paths = [Path(name) if "/" in name or name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml" for name in names]
    found: dict[str, RunBook] = {}
    for path in paths or sorted(folder.glob("*.yaml")):
        file = YamlFile.read(path)
        book = _book(file, file.decode(DeclaredRunBook))
        if book.name in found:
            raise file.invalid(f"another run-book is called {book.name!r} too", "name")
        found[book.name] = book
    return found


def _book(file: YamlFile, said: DeclaredRunBook) -> RunBook:
    if not said.name.replace("-", "").isalnum():
        raise file.invalid(f"{said.name!r} is no name: lower case letters, digits and hyphens", "name")
    if not 1 <= len(said.steps) <= STEPS_MAX:
        raise file.invalid(f"are {len(said.steps)}, but must be from 1 to {STEPS_MAX}", "steps")
    steps = tuple(_step(file, step, f"steps[{index}]") for index, step in enumerate(said.steps))
    cooldown_s = time(file, said.cooldown, "cooldown")
    return RunBook(name=said.name, title=said.title or said.name, steps=steps, cooldown_s=cooldown_s)


def _step(file: YamlFile, said: DeclaredStep, at: str) -> Step:
    needs, takes = TAKES[said.do]
    given = {"host": said.host, "agent": said.agent, "pool": said.pool, "that": said.that, "say": said.say}
    given |= {"by": said.by, "to": said.to, "most": said.most, "for": said.wait}  # type: ignore[dict-item]
    for name, value in given.items():
        is_given = value not in ("", None)
        if is_given and name not in {*needs, *takes}:
            takes_words = ", ".join((*needs, *takes)) or "nothing"
            raise file.invalid(f"{said.do} doesn't take this; it takes {takes_words}", f"{at}.{name}")
        if not is_given and name in needs:
            raise file.invalid(f"{said.do} needs the field {name!r}: add it", at)
    if said.do == "scale" and (said.by is None) == (said.to is None):
        raise file.invalid("say either by (agents more or less) or to (agents in all)", at)
    if said.do == "quarantine" and bool(said.agent) == bool(said.host):
        raise file.invalid("say either agent (this one) or host (its agents that are unwell)", at)
    for name, text, choices in (
        ("confirm", said.confirm, ("auto", "person")),
        ("on_success", said.on_success, ("continue", "end")),
        ("on_failure", said.on_failure, ("stop", "continue", "page")),
    ):
        if text not in choices:
            raise file.invalid(f"{text!r} is none of {', '.join(choices)}{did_you_mean(text, choices)}", f"{at}.{name}")
    step = Step(
        do=said.do,
        name=said.name or said.do.replace("_", " "),
        host=said.host,
        agent=said.agent,
        pool=said.pool,
        by=said.by or 0,
        to=said.to,
        most=1000 if said.most is None else said.most,
        that=condition(file, said.that, f"{at}.that") if said.that else None,
        wait_s=0.0 if said.wait is None else time(file, said.wait, f"{at}.for"),
        say=said.say,
        when=condition(file, said.when, f"{at}.when") if said.when else None,
        confirm=said.confirm,  # type: ignore[arg-type]
        confirm_within_s=time(file, said.confirm_within, f"{at}.confirm_within"),
        timeout_s=time(file, said.timeout, f"{at}.timeout"),
        on_success=said.on_success,  # type: ignore[arg-type]
        on_failure=said.on_failure,  # type: ignore[arg-type]
    )
    _check_names(file, step, at)
    return step


def _check_names(file: YamlFile, step: Step, at: str) -> None:
    """Hold that what stands in a place for one name is one: `host-1`, or `$host` whole."""
    for name, text in (("host", step.host), ("agent", step.agent), ("pool", step.pool)):
        if "$" in text and text != f"${name}":
            raise file.invalid(f"{text!r} is no {name}: write its name, or ${name} for that of the alert", f"{at}.{name}")
    known = {"agent", *(label for figure in FIGURES.values() for label in figure.labels)}  # an agent is named by a person
    for name in (name for text in texts_of(step) for name in variables(text)):
        if name not in known:
            raise file.invalid(f"${name} stands for nothing{did_you_mean(name, known)}: there are {', '.join(sorted(known))}", at)
