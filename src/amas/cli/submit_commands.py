"""`amas submit` on the command line; its work lies in `submit.py`, loaded when it is called."""

from typing import Annotated

import typer

from amas.cli import complete
from amas.cli.options import HomeOption, Json

app = typer.Typer()


@app.command()
def submit(
    capability: Annotated[
        str, typer.Argument(help="What is to be done, such as text.greet.", autocompletion=complete.capabilities)
    ],
    input: Annotated[str, typer.Argument(help="JSON, or plain text where it isn't any; - reads it from standard input.")] = "",  # noqa: A002
    detach: Annotated[bool, typer.Option("--detach", help="Print the task's id and return at once.")] = False,
    pool: Annotated[str, typer.Option(help="Only this pool's agents may take it.", autocompletion=complete.pools)] = "",
    tenant: Annotated[str, typer.Option(help="Whose work it is, for fair shares.")] = "",
    priority: Annotated[int, typer.Option(min=0, max=3, help="0 low, 1 normal, 2 high, 3 critical.")] = 1,
    delay: Annotated[float, typer.Option(min=0, help="Seconds before which it isn't begun.")] = 0,
    key: Annotated[str, typer.Option(help="An idempotency key: the same task again under it is the same task.")] = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Submit one task, wait for its end, and print its result."""
    from amas.cli import submit as module

    wanted = module.Wanted(capability, input, pool=pool, tenant=tenant, priority=priority, delay_s=delay, key=key)
    raise typer.Exit(module.submit(wanted, home, detach=detach, as_json=json))
