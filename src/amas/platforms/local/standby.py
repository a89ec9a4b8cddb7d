"""A stand-by: a second process of a part that has loaded all it needs and waits to take over when the first ends.

What a control plane imports takes most of its start, some seconds where the machine is at work, and meanwhile nobody is answered.
A stand-by has that behind it. It holds no connection, no lease and no port, and costs memory only. When the part ends it is told
that its turn has come, and goes on as any start of the part would. Where there is none, or it has died, the part is started as
usual: nothing depends on it.

It is made a while after the part began, so that neither a fleet's start nor a goal that one is started for pays for it.
"""

import asyncio
import os
from contextlib import suppress
from typing import NamedTuple

from amas.errors import AmasError
from amas.observe import events
from amas.observe.logging import process_log
from amas.platforms.local.program import Launched, Process, Program
from amas.platforms.local.ready import TURN_FD, TURN_LINE

LOOK_S = 20.0
"""Between two looks at whether one stands by, and before the first is made."""


class StandBy(NamedTuple):
    """A process that waits, and the pipe over which it is told."""

    launched: Launched
    turn: int

    def go(self) -> bool:
        """Tell it that its turn has come; return whether it can still hear that."""
        try:
            return self.launched.process.returncode is None and os.write(self.turn, TURN_LINE) == len(TURN_LINE)
        except BrokenPipeError:
            return False
        finally:
            os.close(self.turn)

    async def dismiss(self) -> None:
        """End it."""
        os.close(self.turn)
        self.launched.heard.close()
        with suppress(ProcessLookupError):
            self.launched.process.kill()
        await self.launched.process.wait()


class Relieved(Program):
    """A program whose next process stands by while one works."""

    _next: StandBy | None = None

    async def spawn(self) -> Process:
        """Return the process that stood by, or a new one where none does."""
        relief, self._next = self._next, None
        if relief is None or not self._hand_over(relief):
            return await super().spawn()
        return relief.launched.process

    async def keep_relief(self) -> None:
        """Have a process stand by, until cancelled."""
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                if self._next is not None and self._next.launched.process.returncode is not None:
                    await self._dismiss()
                if self._next is None:
                    await self._prepare()
        finally:
            await self._dismiss()

    async def _dismiss(self) -> None:
        gone, self._next = self._next, None
        if gone is not None:
            await gone.dismiss()

    def _hand_over(self, relief: StandBy) -> bool:
        self._mark_log()
        self._take(relief.launched)
        return relief.go()

    async def _prepare(self) -> None:
        try:
            self._next = await self._stand_by()
        except (AmasError, OSError) as error:  # as many processes as there may be, say: without one, the next start takes longer
            process_log().warning("no process can stand by", event=events.STANDBY_MISSING, part=self.name, reason=str(error))

    async def _stand_by(self) -> StandBy:
        read_end, turn = os.pipe()
        try:
            return StandBy(await self._launch({TURN_FD: str(read_end)}, handles=(read_end,)), turn)
        except BaseException:
            os.close(turn)
            raise
        finally:
            os.close(read_end)
