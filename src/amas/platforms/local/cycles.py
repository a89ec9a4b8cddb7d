"""How often a process that lives for long looks for reference cycles.

Python stops everything to look through all objects each time a quarter as many new ones have lived on for a while. Ours has some
hundred thousand that stay for good, modules and agents, so that takes a tenth of a second, and under load it comes every few
seconds. What work leaves behind is freed by its count of references at once, nearly always; cycles are rare, and can wait.
"""

import gc

YOUNG_OBJECTS = 20_000
"""New objects, less those that were freed, between two looks at new ones: a millisecond each time, and some MiB that wait for it.
Python's own 700 are there many times within one batch of tasks, all of which are still needed then."""


def look_seldom() -> None:
    """Never look again at what there is by now, and seldom at what comes; called once, when a process has begun its work."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
