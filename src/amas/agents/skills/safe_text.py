"""Hostile words made harmless: names of files, tests and findings come from the reviewed project and may hold anything.

`plain` is for every output; `md` and `md_code` are for Markdown, in running text and as code. HTML is escaped by its templates.
Called by the report, the charts and the API pages. Must never let a control character, a tag or a table's bar through.
"""

import re

_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
_INVISIBLE = frozenset([*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0x2028, 0x2029])
"""Zero-width and direction marks: they make a name read as another."""


def plain(value: object, *, chars_max: int = 500) -> str:
    """Return one line without control characters, direction marks or lone surrogates (shown as escapes), cut at `chars_max`."""
    text = " ".join(str(value).split())
    text = "".join(_shown(char) for char in text[: chars_max + 1])
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def plain_block(value: object, *, chars_max: int = 20_000) -> str:
    """Return text of several lines made harmless like `plain`, cut at its end."""
    lines = str(value)[:chars_max].splitlines()
    return "\n".join("".join(_shown(char) for char in line.expandtabs(4)) for line in lines)


def md(value: object, *, chars_max: int = 500) -> str:
    """Return text that Markdown shows as it is: no markup, no tag, no link, safe in a table's cell."""
    text = _MARKDOWN.sub(r"\\\1", plain(value, chars_max=chars_max))
    text = "".join(_ENTITIES.get(char, char) for char in text)
    # an address would become a link that we didn't choose
    return text.replace("://", "&#58;//").replace("www.", "www&#46;")


def md_code(value: object, *, chars_max: int = 500) -> str:
    """Return a code span, safe in a table's cell; empty text gives nothing."""
    text = plain(value, chars_max=chars_max).replace("|", "\\|")
    if not text:
        return ""
    fence = "`" * (_longest_run(text, "`") + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def md_fence(value: object, language: str = "text") -> str:
    """Return a fenced block that its content can't close."""
    text = plain_block(value)
    fence = "`" * max(3, _longest_run(text, "`") + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str, char: str) -> int:
    return max((len(run) for run in re.findall(f"{re.escape(char)}+", text)), default=0)


def _shown(char: str) -> str:
    code = ord(char)
    if code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code in _INVISIBLE:
        return f"\\u{code:04x}"
    return char
