"""The mark of tests that need the local model: skipped in one line where it isn't installed."""

import pytest

from amas.platforms.local.model import missing

LACKING = missing()
NEEDS_LOCAL_MODEL = [
    pytest.mark.local_model,
    pytest.mark.skipif(bool(LACKING), reason=f"the local model isn't installed ({LACKING}): `amas model install` brings it"),
    pytest.mark.xdist_group("local-model"),  # two of them would only wait for each other's cores
    pytest.mark.timeout(400),
]
