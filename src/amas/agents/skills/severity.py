"""How grave a rule's findings are: one table, longest prefix first. Called by the specialists that run ruff; pure."""

from amas.agents.skills.findings import Severity

SEVERITY_BY_PREFIX: dict[str, tuple[Severity, str]] = {
    # what doesn't work, or lets somebody in
    "invalid-syntax": ("error", "the file can't be compiled"),
    "E9": ("error", "the file can't be read or compiled"),
    "F5": ("error", "a format string that raises, or drops what it is given"),
    "F63": ("error", "a comparison or assertion that doesn't test what it says"),
    "F7": ("error", "a statement where Python refuses it"),
    "F82": ("error", "a name that doesn't exist when the line runs"),
    "PLE": ("error", "pylint's own class for probable bugs"),
    "S102": ("error", "exec runs whatever it is given"),
    "S307": ("error", "eval runs whatever it is given"),
    "S5": ("error", "certificates or host keys aren't checked, or the cipher is broken"),
    "S602": ("error", "a shell interprets what may come from outside"),
    "S604": ("error", "a shell interprets what may come from outside"),
    "S605": ("error", "a shell interprets what may come from outside"),
    "S609": ("error", "a wildcard that a shell expands into options"),
    # what is probably wrong, or will bite
    "F": ("warning", "works, but something is unused, shadowed or redefined"),
    "B": ("warning", "a likely bug"),
    "PLW": ("warning", "pylint's own class for what is probably unintended"),
    "E7": ("warning", "a statement that hides bugs: bare except, comparison with None by =="),
    "S": ("warning", "a weakness that depends on where the value comes from"),
    "C901": ("warning", "more paths than tests are likely to cover"),
    "PLR09": ("warning", "more branches, arguments or statements than one reads at a time"),
    "BLE": ("warning", "hides errors that nobody expected"),
    "ASYNC": ("warning", "blocks or loses work in an event loop"),
    "DTZ": ("warning", "a time whose zone depends on the machine"),
    # how it is written
    "F401": ("note", "an unused import costs little"),
    "S101": ("note", "assert goes away under -O; outside tests it is often meant for the reader"),
    "S311": ("note", "chance that is fit for all but secrets"),
    "S404": ("note", "only says that subprocess is imported"),
    "S603": ("note", "only says that a program is started, without a shell"),
    "S607": ("note", "a program found by PATH, as most are"),
}
"""A rule's letters, with or without its first digits, to severity and reason; a rule that is not here is a note: about form."""


def severity_of(rule: str) -> Severity:
    """Return a rule's severity, by the entry of the table that fits most of it."""
    letters = rule.rstrip("0123456789")  # SIM102 is no kind of S
    for length in range(len(rule), len(letters) - 1, -1):
        if entry := SEVERITY_BY_PREFIX.get(rule[:length]):
            return entry[0]
    return "note"
