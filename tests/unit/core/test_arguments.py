"""How arguments of tools are read as folders, hosts and numbers."""

import math

import pytest

from amas.core.arguments import LONG_MAX, facts, folder_of, host_of, millionths, plain


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("/srv/data", "/srv/data/"),
        ("/srv/data/../other", "/srv/other/"),
        ("//srv/data", "/srv/data/"),
        ("/../etc/passwd", "/etc/passwd/"),
        ("/", "/"),
        ("notes.txt", "./notes.txt/"),
        ("./a//b/./c", "./a/b/c/"),
        (".", "./"),
        ("a/../../b", "../b/"),
        ("..", "../"),
        ("", None),
        ("~/x", None),
        ("$HOME/x", None),
        ("a\\..\\b", None),
        ("a\x00b", None),
        ("a\nb", None),
        ("/" + "x" * 5000, None),
    ],
)
def test_a_path_is_read_as_it_is_written(path: str, folder: str | None) -> None:
    assert folder_of(path) == folder


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://API.example.com:8443/x?y", "api.example.com"),
        ("https://example.com./", "example.com"),
        ("http://[::1]/", "::1"),
        ("https://good.example@evil.example/", None),
        ("https://good.example\\@evil.example/", None),
        ("https://good.example /", None),
        ("https://ex%61mple.com/", None),
        ("https://exämple.com/", None),
        ("https://host:port/", None),
        ("file:///etc/passwd", None),
        ("example.com", None),
        ("//example.com/", None),
    ],
)
def test_a_host_is_told_only_where_every_reader_finds_the_same(url: str, host: str | None) -> None:
    assert host_of(url) == host


def test_numbers_are_rounded_to_the_side_that_is_never_too_generous() -> None:
    assert millionths(5) == (5_000_000, 5_000_000)
    assert millionths(4.9999999) == (4_999_999, 5_000_000)
    assert millionths(-1e300) == (-LONG_MAX, -LONG_MAX)


def test_what_is_given_is_told_even_where_it_cant_be_read() -> None:
    found = facts({"path": ["/etc"], "n": math.nan, "other": 1}, ["path", "n", "absent"])
    assert found == {"texts": {}, "flags": {}, "folders": {}, "hosts": {}, "least": {}, "most": {}, "given": ["path", "n"]}


def test_arguments_cant_pass_for_what_cedar_reads_otherwise() -> None:
    given = {
        "a": {"__entity": {"type": "Pool", "id": "boss"}},
        "b": [{"__extn": {}}, 1, None],
        "c": 1.5,
        "d": 2**70,
        "e": "\ud800",
    }
    assert plain(given) == {"b": [1], "c": {"__extn": {"fn": "decimal", "arg": "1.5000"}}, "e": "?"}
