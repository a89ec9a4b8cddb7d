"""The regular expressions that bodies and parameters are held to, each with its words: nobody who calls is shown an expression.

Whoever declares a shape or a parameter takes its pattern from here; `problems.py` says the words where something doesn't match. A
test compares this list with the contract, so a new pattern can't be without words.
"""

import ast
import re
from collections.abc import Mapping

from amas.model.token import AUDIENCE as _AUDIENCE

KEY_OWNER = r"^[\w@.+-]+$"
ADDRESS = r"^https?://[^\s@\\]+$"
AUDIENCE = f"^({_AUDIENCE})?$"
DEAD_LETTER_CURSOR = r"^(\d{1,16}:[\w-]{1,100})?$"
LIMITED = r"^[^\n]{1,200}$"
LIMIT_KIND = r"^(slots|rate)$"
BUDGET_KIND = r"^(workflow|task|tenant|pool)$"
EVENT_ID = r"^(\d{1,16}-\d{1,9})?$"
INPUT_ID = r"^[0-9a-f-]{36}$"
FIGURES_ID = r"^\d{0,16}$"
LOG_PLACE = r"^([\d:.TZ-]{0,40}~\d{1,9})?$"
POOL_NAME = r"^[a-z][a-z0-9-]{0,99}$"
AGENT_NAME = r"^[a-z0-9-]{1,200}$"
HOST_ACTION = "^(drain|cordon|uncordon|restart)$"
REVISION_TAG = r'^(\*|"[!#-~]{1,100}")?$'
SCHEDULE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

WORDS: Mapping[str, str] = {
    KEY_OWNER: "letters, digits and any of _ @ . + - without spaces, such as ann@example.com",
    ADDRESS: "an address with http:// or https:// and no user in it, such as https://hooks.example/amas",
    AUDIENCE: "up to 200 visible ASCII characters without spaces, such as https://api.example",
    DEAD_LETTER_CURSOR: "the `next` of the page before, as it came",
    LIMITED: "one line of 1 to 200 characters, such as customer-42",
    LIMIT_KIND: "slots, for a concurrency key, or rate, for a provider",
    BUDGET_KIND: "workflow, task, tenant or pool",
    EVENT_ID: "an event's id as the stream gave it, such as 1757000000000-0",
    INPUT_ID: "the id that a folder for input was made with, 36 characters such as 01998a5e-7d4c-7b51-8f7e-2f1d8f6f0a11",
    FIGURES_ID: "a number of up to 16 digits, such as 1757000000000",
    LOG_PLACE: "a line's id as the stream gave it, such as 2026-01-31T12:00:00Z~3",
    POOL_NAME: "a pool's name: up to 100 lower case letters, digits and hyphens, a letter first, such as code-reviewer",
    AGENT_NAME: "an agent's name: up to 200 lower case letters, digits and hyphens, such as coder-3",
    HOST_ACTION: "drain, cordon, uncordon or restart",
    REVISION_TAG: '* for any, or an ETag in its double quotes, such as "12"',
    SCHEDULE_NAME: "up to 100 letters, digits and any of . _ - with a letter or digit first, such as morning-review",
}
"""What each allows, with an example; it follows `must be`."""

_UNMATCHED = re.compile(r"^Expected `str` matching regex (?P<pattern>(['\"]).*\2)$", re.DOTALL)


def words_of(pattern: str) -> str:
    """Return what a text must be that is held to `pattern`, as the rest of a sentence."""
    return f"must be {WORDS[pattern]}"


def in_words(detail: str) -> str:
    """Return msgspec's complaint about a text that doesn't match, in words; any other as it is."""
    unmatched = _UNMATCHED.match(detail)
    return words_of(ast.literal_eval(unmatched["pattern"])) if unmatched else detail
