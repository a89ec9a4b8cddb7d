"""Groups of commands whose first one may be left out."""

from typing import Any

import typer.core


class ShowFirst(typer.core.TyperGroup):
    """A group whose first command may be left out: `amas workflows ID` is `amas workflows show ID`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `show` where no command is named."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)
