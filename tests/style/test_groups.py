"""Tests that share what is costly to start run in one process (tests/conftest.py), so that it is started once."""

from collections import defaultdict

import pytest
from xdist.scheduler import LoadGroupScheduling


def test_what_several_tests_share_is_started_in_one_process(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("loadgroup", False):
        pytest.skip("the tests run in one process")
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for item in request.session.items:
        group = LoadGroupScheduling._split_scope(None, item.nodeid)  # as pytest-xdist reads it
        for mark in item.iter_markers("xdist_group"):
            groups[mark.args[0]].add(group)
        for name in ("address", "running", "real"):  # the page's fleet, the commands', a provider
            for fixture in item._fixtureinfo.name2fixturedefs.get(name, ()):
                if fixture.scope in ("session", "module"):
                    groups[f"{fixture.baseid} {name}"].add(group)
    assert {name: found for name, found in groups.items() if len(found) > 1} == {}
