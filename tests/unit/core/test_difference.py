"""What applying a fleet changes, in words."""

import msgspec

from amas.core.difference import difference, told
from amas.model.breaker import BreakerSpec
from amas.model.desired import Desired
from amas.model.fleet import FleetSpec, PoolSpec

BARE = FleetSpec(name="small", pools=(PoolSpec(name="worker", agent="x:y", capabilities=("work",)),))
GUARDED = msgspec.structs.replace(BARE, breakers={"payments": BreakerSpec(errors=3)})


def test_the_first_key_of_a_mapping_is_told_and_the_empty_mapping_isnt() -> None:
    there = told(difference(Desired(fleet=BARE), GUARDED), {})
    assert there[1:3] == ["    breakers.payments.errors: (none) -> 3", "    breakers.payments.open_s: (none) -> 30.0"]
    assert not [line for line in there if "breakers:" in line]
    back = told(difference(Desired(fleet=GUARDED), BARE), {})
    assert back[1] == "    breakers.payments.errors: 3 -> (none)" and not [line for line in back if "breakers:" in line]
