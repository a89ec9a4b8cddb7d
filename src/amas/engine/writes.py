"""Connections that write at once.

The driver makes an asyncio task of each write, to limit its time, and waits a turn of the loop for it: a fifth of what a short
call takes. A write needs neither while the connection's buffer has room; where it has none, the driver's way is taken, with its
time-out and its errors. What a broken connection swallows is found out by the answer that doesn't come, as ever.
"""

from collections.abc import Iterable

from amas.engine.driver import AbstractConnection, ConnectionPool


class _WritesAtOnce(AbstractConnection):
    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        writer = self._writer
        if writer is None or writer.is_closing() or isinstance(command, bytes | str) or self.health_check_interval:
            return await super().send_packed_command(command, check_health)
        writer.writelines(command)
        _, room = writer.transport.get_write_buffer_limits()
        if writer.transport.get_write_buffer_size() > room:
            await super().send_packed_command((), check_health)
        return None


def write_at_once(pool: ConnectionPool) -> ConnectionPool:
    """Have the connections that a pool makes from now on write at once, and return the pool."""
    made = pool.connection_class
    pool.connection_class = type(made.__name__, (_WritesAtOnce, made), {})
    return pool
