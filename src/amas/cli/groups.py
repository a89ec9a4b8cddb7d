"""Groups of commands: how their help reads, one whose first command may be left out, and one with commands by their use."""

import re
from typing import Any

import typer
import typer.core

_CLAUSE, _COMMA = re.compile(r"[;:] | \("), re.compile(r", ")


def brief(about: str, width: int) -> str:
    """Return what fits in `width` characters of what a command says of itself, up to where a reader might stop: never `...`."""
    if len(about) <= width:
        return about
    clause = next((found.start() for found in _CLAUSE.finditer(about)), width)
    ends = [clause] if clause < width else [found.start() for found in _COMMA.finditer(about) if found.start() < width]
    return f"{about[: ends[-1]]}." if ends else about


class Group(typer.core.TyperGroup):
    """A group whose help tells of each command in one whole line."""

    def sections(self) -> dict[str, tuple[str, ...]]:
        """Return the commands under their headings."""
        return {"Commands": tuple(self.commands)}

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each section's commands; what is hidden or isn't there is left out."""
        widest = max(map(len, self.commands), default=0)
        for title, names in self.sections().items():
            found = [(name, self.commands[name]) for name in names if name in self.commands and not self.commands[name].hidden]
            width = formatter.width - widest - 6
            about = [(f"{name:{widest}}", brief(each.get_short_help_str(1000), width)) for name, each in found]
            if about:
                with formatter.section(title):
                    formatter.write_dl(about)


class ShowFirst(Group):
    """A group whose first command may be left out: `amas workflows ID` is `amas workflows show ID`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `show` where no command is named."""
        completes = ctx.resilient_parsing and not args  # `show` may come next, or another
        if not completes and (not args or (args[0] not in self.commands and args[0] != "--help")):
            args = ["show", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Offer the commands, and what may follow `show`."""
        show = self.commands["show"]
        with show.make_context("show", [], parent=ctx, resilient_parsing=True) as below:
            arguments = [each for each in show.params if each.param_type_name == "argument"][:1]
            offered = [
                *show.shell_complete(below, incomplete),
                *(item for each in arguments for item in each.shell_complete(below, incomplete)),
            ]
        own = super().shell_complete(ctx, incomplete)
        return [*own, *(item for item in offered if item.value not in {each.value for each in own})]


SECTIONS: dict[str, tuple[str, ...]] = {
    "Have work done": ("run", "plan", "submit", "workflows", "tasks", "approvals", "approve", "cancel", "schedule", "schedules"),
    "Look at a fleet": ("status", "top", "ps", "agents", "hosts", "logs", "alerts", "report", "costs", "quality", "messages"),
    "Run a fleet here": ("up", "down", "doctor", "host", "serve", "model", "certs"),
    "Say what a fleet is": ("apply", "diff", "history", "rollout", "scale", "scaling", "tools", "policy", "limits", "budgets"),
    "Mend": (
        "diagnose", "dead-letters", "restart", "drain", "cordon", "uncordon", "quarantine", "breakers", "recoveries", "routes",
        "runbooks", "runbook", "kill",
    ),
    "Keep": ("backup", "backups", "verify", "restore", "recover", "artifacts"),
    "Let in and tell": ("login", "logout", "whoami", "keys", "audit", "seal", "webhooks", "monitoring"),
}  # fmt: skip
"""The `amas` command's own commands, each under what it is for; one that stands in none comes last, by itself."""


class BySection(Group):
    """A group whose help is read by people who look for something."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Say where an option belongs that stands before the command and is the command's own."""
        first = args[0].partition("=")[0] if args else ""
        own = {name for each in self.get_params(ctx) for name in each.opts}
        if first.startswith("-") and first not in own and not ctx.resilient_parsing:
            having = [name for name, each in self.commands.items() if any(first in param.opts for param in each.params)]
            if having:
                example = "status" if "status" in having else having[0]
                raise typer.BadParameter(f"it stands behind the command: amas {example} {first} ...", param_hint=first)
        return super().parse_args(ctx, args)

    def sections(self) -> dict[str, tuple[str, ...]]:
        """Return `SECTIONS`, and last what stands in none."""
        named = {name for names in SECTIONS.values() for name in names}
        return {**SECTIONS, "Others": tuple(name for name in self.commands if name not in named)}
