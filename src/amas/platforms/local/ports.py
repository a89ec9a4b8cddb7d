"""Ports: free ones found, taken ones told with who holds them. Called before anything that listens is started."""

import errno
import random
import socket
from contextlib import suppress
from pathlib import Path

from amas.errors import PortInUse, StartFailed

_LISTEN = "0A"  # the state's number in /proc/net/tcp
_ANY = range(10_000, 32_768)
"""Where a free port is looked for: below those that the system gives to outgoing connections, of which one could take the port
before the program that it is meant for listens, or while that is restarted."""
_TRIES = 100


def claim_ports(host: str, wanted: dict[str, int]) -> dict[str, int]:
    """Return a port that can be listened on for each option such as `--port`, 0 standing for any; all differ.

    PortInUse names the port, its holder where that can be seen, and the option that mends it. All stay bound until each is found.
    """
    bound: list[socket.socket] = []
    try:
        for option, port in wanted.items():
            bound.append(_bound(host, port, option) if port else _bound_to_any(host, option))
        return {option: each.getsockname()[1] for option, each in zip(wanted, bound, strict=True)}
    finally:
        for each in bound:
            each.close()


def _bound_to_any(host: str, option: str) -> socket.socket:
    for port in random.sample(_ANY, _TRIES):
        with suppress(PortInUse):
            return _bound(host, port, option)
    return _bound(host, 0, option)  # a crowded machine: whatever the system has


def _bound(host: str, port: int, option: str) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise StartFailed(f"AMAS_HOST is {host!r}, which isn't an address of this machine: {error.strerror}") from error
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)  # with SO_REUSEADDR a bind alone succeeds beside a socket that doesn't listen yet
    except OSError as error:
        listener.close()
        raise _refused(error, host, port, option) from error
    return listener


def _refused(error: OSError, host: str, port: int, option: str) -> StartFailed | PortInUse:
    if error.errno == errno.EADDRINUSE:
        by = holder(port)
        return PortInUse(
            f"port {port} is taken{f' by {by}' if by else ' by another program'}: stop that, or choose another with {option}"
        )
    if error.errno == errno.EACCES:
        return StartFailed(f"port {port} needs a privilege that this user hasn't: choose one above 1023 with {option}")
    return StartFailed(f"nothing can listen on {host} port {port}: {error.strerror}: set AMAS_HOST to an address of this machine")


def holder(port: int) -> str:
    """Return the program that listens on `port`, such as `nginx (process 712)`; empty when the system doesn't show it to us."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for handle in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        try:
            if str(handle.readlink()) in inodes:
                process = handle.parent.parent
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:  # another user's, or gone since
            continue
    return ""


def _listening_inodes(port: int) -> list[str]:
    inodes = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
        except OSError:
            continue
        inodes += [row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]
    return inodes
