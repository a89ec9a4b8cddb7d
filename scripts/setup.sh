#!/bin/sh
# Creates the virtual environment $1 and installs the project in it: with uv, from the lock file, where uv can be had; else with pip.
set -eu
venv=$1
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "amas needs Python >= 3.11; '$python' is $("$python" --version 2>&1). Set PYTHON=/path/to/python3.11." >&2
    exit 1
}
echo "setting up $venv: a minute or so where packages are at hand, longer where they must come first" >&2
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# The certificates that the machine trusts, as pip does: a company's proxy or mirror has its own.
export UV_SYSTEM_CERTS=1
# Modules that were never compiled cost each process of a fleet twice its start; pip compiles them, uv doesn't.
compile_modules() {
    env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" scripts/compile_modules.py
}
if "$venv/bin/python" -m pip --quiet install uv 2>/dev/null &&
    VIRTUAL_ENV="$(cd "$venv" && pwd)" "$venv/bin/uv" sync --active --frozen --quiet --inexact --all-extras; then
    compile_modules
    exit 0
fi
echo "uv can't be used here; installing with pip, which takes longer and ignores the lock file" >&2
"$venv/bin/python" -m pip --quiet install --upgrade 'pip>=25.1' # the first that knows --group
"$venv/bin/python" -m pip --quiet install --editable '.[postgres,s3,models,mcp]' --group dev
compile_modules
