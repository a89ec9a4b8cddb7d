"""What the audit's acts are called, and to whom they were done."""

import pytest

from amas.policy.acts import WORDS, in_words
from amas.server.access import RULES


def test_every_audited_route_has_words_and_no_other() -> None:
    assert set(WORDS) == {f"{rule.method} {rule.path}" for rule in RULES if rule.audited}


@pytest.mark.parametrize(
    ("act", "on", "did", "about"),
    [
        ("POST /api/pools/{name}/scale", "/api/pools/coder/scale", "scaled a pool", "coder"),
        ("POST /api/hosts/{host_id}/{action}", "/api/hosts/host-2/drain", "told a host to drain", "host-2"),
        ("PUT /api/limits/{kind}/{about}", "/api/limits/key/acme%2Fcustomer-42", "changed a limit", "key acme/customer-42"),
        ("POST /api/keys", "/api/keys/3f9c01d2aa07", "made an API key", "3f9c01d2aa07"),
        ("POST /api/keys", "/api/keys", "made an API key", ""),
        ("POST /api/kill", "/api/kill coder-3 killed", "killed", "coder-3"),
        ("POST /api/kill", "/api/kill * killed", "killed", "the whole fleet"),
        ("POST /api/kill", "/api/kill all lifted", "lifted a kill", "all"),
        ("POST /api/kill", "/api/kill coder-3", "killed, or lifted a kill", "coder-3"),
        ("POST /api/fleet/apply", "/api/fleet/apply", "applied a fleet", ""),
        ("PATCH /api/nothing", "/api/nothing", "PATCH /api/nothing", ""),
        ("cut off a torn line", "17 bytes", "cut off a torn line", "17 bytes"),
    ],
)
def test_an_act_is_told_in_words(act: str, on: str, did: str, about: str) -> None:
    assert in_words(act, on) == (did, about)
