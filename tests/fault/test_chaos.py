"""A fleet under random attack loses nothing, does nothing twice, and keeps every order; `chaos.py` says what is compared."""

import os
import random
from pathlib import Path

import pytest
from postgres_server import MISSING, PostgresServer, find_postgres
from tests.fault.chaos import attack

FULL = os.environ.get("AMAS_SOAK") == "full"
SECONDS = 1800.0 if FULL else 15.0
LIMIT_S = SECONDS + 420


def drawn_seed() -> int:
    """Return AMAS_SEED, or one drawn by chance; printed, so that a failure can be had again."""
    seed = int(os.environ.get("AMAS_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}")
    return seed


@pytest.mark.soak
@pytest.mark.timeout(LIMIT_S)
@pytest.mark.requirement("A4", "A5", "B8", "T6")
async def test_nothing_is_lost_or_doubled_under_random_attack(tmp_path: Path) -> None:
    print(await attack(tmp_path, seed=drawn_seed(), seconds=SECONDS))


@pytest.mark.soak
@pytest.mark.timeout(420)
@pytest.mark.requirement("A4", "A5", "B8", "T6")
async def test_nothing_is_lost_when_each_thing_breaks_once_with_postgresql(tmp_path: Path) -> None:
    binaries = find_postgres()
    if binaries is None:
        pytest.skip(MISSING)
    postgres = PostgresServer(binaries)
    try:
        postgres.start()
        print(await attack(tmp_path, seed=drawn_seed(), seconds=0, postgres=postgres, each_once=True))
    finally:
        postgres.close()
