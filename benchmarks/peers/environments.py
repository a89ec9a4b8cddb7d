"""A virtual environment for each peer under `build/peers/`, made once: they want clashing versions of the same packages."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "build" / "environments"


def python_with(name: str, packages: Sequence[str]) -> Path:
    """Return the Python of an environment that has just these packages, made with uv where it is, else with pip."""
    folder, wanted = FOLDER / name, "\n".join(packages)
    python, stamp = folder / "bin" / "python", folder / "packages"
    digest = hashlib.sha256(wanted.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    uv = Path(sys.executable).with_name("uv")
    pip: list[str | Path] = (
        [uv, "pip", "install", "--quiet", "--python", python] if uv.exists() else [python, "-m", "pip", "install", "--quiet"]
    )
    # the certificates that the machine trusts, as pip does
    subprocess.run([*pip, *packages], check=True, env=os.environ | {"UV_SYSTEM_CERTS": "1"})
    stamp.write_text(digest)
    return python
