#!/bin/sh
# Creates the virtual environment $1 and installs the project in it, with uv from the lock file where uv can be had, else with pip.
set -eu
venv=$1
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "amas needs Python >= 3.11; '$python' is $("$python" --version 2>&1). Set PYTHON=/path/to/python3.11." >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
if "$venv/bin/python" -m pip --quiet install uv 2>/dev/null; then
    VIRTUAL_ENV="$(cd "$venv" && pwd)" "$venv/bin/uv" sync --active --frozen --quiet --inexact --all-extras
else
    "$venv/bin/python" -m pip --quiet install --editable '.[postgres]' --group dev
fi
