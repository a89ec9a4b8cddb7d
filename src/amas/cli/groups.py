"""Groups of commands: one whose first command may be left out, and one whose help shows commands by what they are about."""

from typing import Any

import typer.core


class ShowFirst(typer.core.TyperGroup):
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


class BySection(typer.core.TyperGroup):
    """A group whose help is read by people who look for something."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each section's commands; what is hidden or isn't there is left out."""
        named = {name for names in SECTIONS.values() for name in names}
        widest = max(map(len, self.commands), default=0)
        for title, names in {**SECTIONS, "Others": tuple(name for name in self.commands if name not in named)}.items():
            found = [(name, self.commands[name]) for name in names if name in self.commands and not self.commands[name].hidden]
            about = [(f"{name:{widest}}", each.get_short_help_str(formatter.width - widest - 6)) for name, each in found]
            if about:
                with formatter.section(title):
                    formatter.write_dl(about)
