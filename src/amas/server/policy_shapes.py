"""What the API shows and takes of policies."""

from typing import Annotated

import msgspec
from msgspec import Meta

from amas.core.policies import Known
from amas.model.policy import Decision, PolicyRule, Refusal
from amas.model.task import Json
from amas.server.desired_shapes import Wished
from amas.server.shapes import Given, Line

CALLS_MAX = 100
"""In one request: each takes a tenth of a millisecond, and nobody else is answered meanwhile."""


class PolicyPage(msgspec.Struct, frozen=True, kw_only=True):
    """The policies in force."""

    revision: int
    """Of what is wanted of the fleet."""
    rules: list[PolicyRule]
    """All of them; those named `pool:NAME` are what pools are granted."""
    warnings: list[str]
    """What is sound but probably not meant."""
    known: Known
    """What rules for this fleet may name."""


class NewPolicies(Wished, frozen=True, kw_only=True):
    """Policies in place of those that the fleet has."""

    rules: tuple[PolicyRule, ...]


class PolicyCall(Given, frozen=True):
    """A use of a tool that somebody wonders about."""

    agent: Line
    tool: Line
    arguments: dict[str, Json] = msgspec.field(default_factory=dict)
    tenant: Line = ""


class NewPolicyTest(Given, frozen=True):
    """Calls to decide."""

    calls: Annotated[tuple[PolicyCall, ...], Meta(min_length=1, max_length=CALLS_MAX)]


class PolicyTestPage(msgspec.Struct, frozen=True, kw_only=True):
    """What the policies say of each call, in its order; limits are taken as having room."""

    items: list[Decision]


class RefusalPage(msgspec.Struct, frozen=True, kw_only=True):
    """The newest refusals, newest first."""

    items: list[Refusal]
