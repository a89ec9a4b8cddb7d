"""What people may do, by their groups."""

import pytest

from amas.core.people import granted, grants_of
from amas.model.access import Role

GRANTS = grants_of("fleet admins=system-admin, acme-dev=operator@acme,*=viewer")


@pytest.mark.parametrize(
    ("groups", "role", "tenant"),
    [
        ({"fleet admins"}, Role.SYSTEM_ADMIN, ""),
        ({"acme-dev", "fleet admins"}, Role.SYSTEM_ADMIN, ""),
        ({"acme-dev"}, Role.OPERATOR, "acme"),
        ({"Acme-Dev"}, Role.VIEWER, ""),
        (set(), Role.VIEWER, ""),
    ],
)
def test_the_first_group_that_one_is_in_decides(groups: set[str], role: Role, tenant: str) -> None:
    found = granted(GRANTS, groups)
    assert found is not None
    assert (found.role, found.tenant) == (role, tenant)


def test_who_is_in_no_group_gets_nothing() -> None:
    assert granted(grants_of("ops=operator"), {"staff"}) is None
    assert granted((), {"ops"}) is None


@pytest.mark.parametrize("text", ["ops", "=viewer", "ops=", "ops=root", "ops=agent", "ops=viewer@", "ops=viewer,x"])
def test_what_grants_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"grants nothing|no role"):
        grants_of(text)
