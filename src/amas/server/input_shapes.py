"""What is said of the files that come with a goal."""

import msgspec

FILE_BYTES_MAX = 16 << 20
FILES_MAX = 1000
INPUT_BYTES_MAX = 256 << 20
"""Of one folder."""
KEPT_DAYS = 30


class InputBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What may be sent."""

    file_bytes_max: int = FILE_BYTES_MAX
    files_max: int = FILES_MAX
    bytes_max: int = INPUT_BYTES_MAX
    kept_days: int = KEPT_DAYS
    closed: str = ""
    """Why nothing may be sent at all; empty: it may."""


class NewInput(msgspec.Struct, frozen=True, kw_only=True):
    """A folder for a goal's files."""

    id: str
    folder: str
    """What the goal is to name as its `input_dir`."""
