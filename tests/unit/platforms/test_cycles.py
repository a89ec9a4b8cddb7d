"""Looking for reference cycles seldom: in a process of its own, since it holds for all that is there."""

import subprocess
import sys

PROGRAM = """
import gc, weakref
from amas.platforms.local.cycles import YOUNG_OBJECTS, look_seldom

class Node:
    def __init__(self): self.itself = self

kept = [[] for _ in range(1000)]
gc.collect()
look_seldom()
assert gc.get_freeze_count() > 1000 and len(gc.get_objects()) < 1000, "what was there is set aside"
left = weakref.ref(Node())
looks = gc.get_stats()[0]["collections"]
some = [[] for _ in range(YOUNG_OBJECTS // 2)]
assert left() is not None and gc.get_stats()[0]["collections"] == looks, "nobody has looked yet"
del some
some = [[] for _ in range(2 * YOUNG_OBJECTS)]
assert left() is None, "a cycle that work left behind is freed in time"
"""


def test_only_what_comes_later_is_looked_at_and_seldom() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
