"""How a child process tells its supervisor that it is ready: one line on an inherited pipe whose number is in the environment.

`amas host` calls `tell_ready()` once its agents are registered; outside a supervisor that does nothing. The pipe's other end is
read in `children.py`; its end without a line means that the child died first.
"""

import os

READY_FD = "AMAS_READY_FD"
READY_LINE = b"ready\n"


def tell_ready() -> None:
    """Tell the supervisor, if there is one, that this process has begun its work; a second call does nothing."""
    number = os.environ.pop(READY_FD, "")
    if number.isdigit():
        with open(int(number), "wb", buffering=0) as pipe:  # noqa: PTH123  a descriptor, not a path
            pipe.write(READY_LINE)
