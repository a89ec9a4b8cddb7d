"""The audit's chain: what a changed, removed or inserted line does to it, and what a crash leaves."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from amas.errors import AuditDamaged, AuditError
from amas.policy.audit import FIRST, HEAD, LOG, PUBLIC_KEY, Act, AuditLog, verify

Lines = list[bytes]


def act(number: int) -> Act:
    on = f'/api/pools/{number}/scale","signature":"ä\n'
    return Act(who="ada", kind="key", role="operator", tenant="", act="POST /api/pools/{name}/scale", on=on, outcome=200)


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    made = AuditLog(tmp_path / "audit")
    for number in range(5):
        made.write(act(number))
    return made


def test_a_log_as_it_was_written_is_sound(log: AuditLog) -> None:
    lines, digest = verify(log.path)
    assert lines == 5
    assert digest != FIRST
    assert [line.on for line in log.newest(2)] == [act(4).on, act(3).on]
    assert (log.path.stat().st_mode & 0o777, log.path.with_name("audit.key").stat().st_mode & 0o777) == (0o600, 0o600)


@pytest.mark.requirement("A15")
@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (lambda lines: lines[2:3] + lines[3:], 1),
        (lambda lines: [*lines[:2], *lines[3:]], 3),
        (lambda lines: [*lines[:2], lines[2].replace(b"ada", b"eve"), *lines[3:]], 3),
        (lambda lines: [*lines[:2], lines[2].replace(b'"outcome":200', b'"outcome":403'), *lines[3:]], 3),
        (lambda lines: [*lines[:4], lines[4].replace(b'"seq":5', b'"seq":6')], 5),
        (lambda lines: [*lines[:3], lines[1], *lines[3:]], 4),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1),
        (lambda lines: [*lines[:3], b"{}", *lines[3:]], 4),
        (lambda lines: [*lines[:3], b"", *lines[3:]], 4),
        (lambda lines: [*lines[:4], lines[4][:-2]], 5),
    ],
)
def test_a_line_that_was_changed_removed_or_put_in_is_found(log: AuditLog, harm: Callable[[Lines], Lines], line: int) -> None:
    log.path.write_bytes(b"".join(each + b"\n" for each in harm(log.path.read_bytes().splitlines())))
    with pytest.raises(AuditDamaged, match=f"line {line} of "):
        verify(log.path)


@pytest.mark.requirement("A15")
def test_every_changed_byte_of_a_line_is_found_in_that_line(log: AuditLog) -> None:
    """Also in those that carry next to nothing, such as the last bits of a signature's base64."""
    lines = log.path.read_bytes().splitlines(keepends=True)
    start = sum(map(len, lines[:2]))
    for at in range(start, start + len(lines[2])):
        for bit in (1, 2, 16):
            changed = bytearray(b"".join(lines))
            changed[at] ^= bit
            log.path.write_bytes(changed)
            with pytest.raises(AuditDamaged, match="line 3 of "):
                verify(log.path)


def test_a_log_that_was_cut_off_is_found_by_what_was_known(log: AuditLog) -> None:
    _, known = verify(log.path)
    log.write(act(5))
    assert verify(log.path, known=known)[0] == 6
    log.path.write_bytes(b"".join(log.path.read_bytes().splitlines(keepends=True)[:4]))
    (log.path.parent / HEAD).unlink()
    assert verify(log.path)[0] == 4
    with pytest.raises(AuditDamaged, match=r"none of the 4 lines of .* cut off"):
        verify(log.path, known=known)
    assert verify(log.path, known=FIRST)[0] == 4


@pytest.mark.requirement("A15")
@pytest.mark.parametrize("left", range(5))
def test_lines_that_were_cut_off_are_found_also_once_others_follow(log: AuditLog, left: int) -> None:
    """Whoever wrote next went on after the last line that was left, and nothing told that there had been others."""
    log.path.write_bytes(b"".join(log.path.read_bytes().splitlines(keepends=True)[:left]))
    with pytest.raises(AuditDamaged, match=f"had 5 lines .* and has {left}"):
        verify(log.path)
    for writer in (log, AuditLog(log.path.parent)):
        writer.write(act(5))
        with pytest.raises(AuditDamaged, match=f"line {left + 1} of .* doesn't follow"):
            verify(log.path)


def test_the_last_line_can_t_be_exchanged_for_one_that_was_there_before(log: AuditLog) -> None:
    old = log.path.read_bytes(), (log.path.parent / HEAD).read_bytes()
    log.write(act(5))
    log.path.write_bytes(old[0])
    with pytest.raises(AuditDamaged, match="had 6 lines"):
        verify(log.path)
    for text in (b"", b"{}", old[1].replace(b'"seq":5', b'"seq":4')):
        (log.path.parent / HEAD).write_bytes(text)
        with pytest.raises(AuditDamaged, match="was changed"):
            verify(log.path)


def test_a_head_that_a_crash_left_behind_is_no_harm(log: AuditLog) -> None:
    before = (log.path.parent / HEAD).read_bytes()
    log.write(act(5))
    (log.path.parent / HEAD).write_bytes(before)
    assert verify(log.path)[0] == 6
    AuditLog(log.path.parent).write(act(6))
    assert verify(log.path)[0] == 7


def test_another_fleet_s_log_and_key_in_its_place_are_found_by_what_was_known(log: AuditLog, tmp_path: Path) -> None:
    _, known = verify(log.path)
    other = AuditLog(tmp_path / "other")
    other.write(act(0))
    for name in (LOG, PUBLIC_KEY, HEAD):
        (log.path.parent / name).write_bytes((tmp_path / "other" / name).read_bytes())
    assert verify(log.path)[0] == 1
    with pytest.raises(AuditDamaged, match="another audit"):
        verify(log.path, known=known)


def test_writers_that_begin_at_the_same_moment_share_one_key(tmp_path: Path) -> None:
    together = Barrier(8)

    def begin(number: int) -> None:
        own = AuditLog(tmp_path / "audit")
        together.wait()
        own.write(act(number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(begin, range(8)))
    assert verify(tmp_path / "audit" / LOG)[0] == 8


def test_lines_that_another_key_signed_are_found(log: AuditLog, tmp_path: Path) -> None:
    forged = AuditLog(tmp_path / "forged")
    for number in range(5):
        forged.write(act(number))
    with pytest.raises(AuditDamaged, match="line 1 of "):
        verify(forged.path, log.path.with_name(PUBLIC_KEY))
    assert verify(forged.path)[0] == 5


def test_a_torn_line_is_cut_off_and_said(log: AuditLog) -> None:
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + whole.splitlines()[0][:77])
    with pytest.raises(AuditDamaged, match="torn"):
        verify(log.path)
    AuditLog(log.path.parent).write(act(5))
    assert log.path.read_bytes().startswith(whole)
    assert verify(log.path)[0] == 7
    said = log.newest(2)[1]
    assert (said.who, said.act, said.on) == ("amas", "cut off a torn line", "77 bytes")


def test_two_writers_make_one_chain(log: AuditLog) -> None:
    other = AuditLog(log.path.parent)
    for number in range(4):
        (log if number % 2 else other).write(act(number))
    assert verify(log.path)[0] == 9


def test_a_log_that_cannot_be_written_or_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("")
    with pytest.raises(AuditError, match="can't be written"):
        AuditLog(tmp_path / "audit").check()
    with pytest.raises(AuditError, match="there is no log"):
        verify(tmp_path / LOG)
    (tmp_path / LOG).write_text("")
    with pytest.raises(AuditError, match="name it with --key"):
        verify(tmp_path / LOG)
