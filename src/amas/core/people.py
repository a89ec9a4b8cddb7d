"""What a person who signs in with their organisation's account may do, by the groups that it says they are in. Pure.

    fleet-admins=system-admin, ops=operator, acme-dev=operator@acme, *=viewer

The first group in this order that a person is in decides; `*` stands for everybody. What comes after `@` is the tenant that they
are bound to. Nobody gets in by a group that isn't here.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from amas.model.access import Role

EVERYBODY = "*"


class Grant(NamedTuple):
    """What one group gives."""

    group: str
    role: Role
    tenant: str
    """Empty: bound to none."""


def grants_of(text: str) -> tuple[Grant, ...]:
    """Return what a text grants; ValueError says what is wrong with it."""
    return tuple(_grant(each.strip()) for each in text.split(",") if each.strip())


def _grant(text: str) -> Grant:
    group, equals, given = text.rpartition("=")
    role, at, tenant = given.strip().partition("@")
    if not equals or not group.strip() or (at and not tenant):
        raise ValueError(f"{text!r} grants nothing: write GROUP=ROLE or GROUP=ROLE@TENANT")
    roles = [each.value for each in Role if each is not Role.AGENT]
    if role not in roles:
        raise ValueError(f"{role!r} is no role of people's: there are {', '.join(roles)}")
    return Grant(group.strip(), Role(role), tenant)


def granted(grants: Sequence[Grant], groups: Collection[str]) -> Grant | None:
    """Return what a person in these groups may do; None for one who may do nothing."""
    return next((grant for grant in grants if grant.group in groups or grant.group == EVERYBODY), None)
