"""The fleet of the day and what is done to it, by the commands that an operator has; processes are killed by their ids."""

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.day.plan import ROLLED, Event

FLEET = Path(__file__).with_name("fleet.yaml")
INSIST_S = 120.0
"""How long a command is tried again that finds the fleet's parts away, as an operator would."""
PAUSE_S = 1.0
OVER = {"promoted", "rolled_back"}
"""A roll-out's last phases."""


class CommandFailed(Exception):
    """A command of `amas` didn't do what it should, however often it was tried."""


class Site:
    """A folder with a fleet's home, its back-ups and their key."""

    def __init__(self, folder: Path) -> None:
        self.home, self.restored = folder / "home", folder / "restored"
        key = folder / "backup.key"
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32))
        own = {name: value for name, value in os.environ.items() if not name.startswith("AMAS_")}
        self._environ = {**own, "AMAS_BACKUP_URL": str(folder / "backups"), "AMAS_BACKUP_KEY": f"file:{key}", "COLUMNS": "200"}
        self.done: list[str] = []
        self.missed = 0
        """Kills that found their victim dead already."""
        self.backup_id = ""

    async def amas(self, *arguments: str, home: Path | None = None) -> str:
        """Run a command and return what it prints; CommandFailed with what it complains of."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "amas", *arguments),
            env={**self._environ, "AMAS_HOME": str(home or self.home)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complaint = await process.communicate()
        if process.returncode:
            raise CommandFailed(f"amas {' '.join(arguments)} ended with {process.returncode}: {complaint.decode().strip()}")
        return said.decode()

    async def insist(self, *arguments: str, home: Path | None = None) -> str:
        """Run a command, again while it fails, for `INSIST_S` at most."""
        until = time.monotonic() + INSIST_S
        while True:
            try:
                return await self.amas(*arguments, home=home)
            except CommandFailed:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(PAUSE_S)

    async def said(self, *arguments: str, home: Path | None = None) -> Any:
        """Return what a command says to programs."""
        return json.loads(await self.insist(*arguments, "--json", home=home))

    async def up(self, home: Path | None = None) -> None:
        """Start the fleet."""
        await self.amas("up", "--fleet", str(FLEET), "--port", "0", "--metrics-port", "0", home=home)

    async def do(self, event: Event) -> None:
        """Do one thing of the plan."""
        match event.what:
            case "kill":
                await self._kill(event.part)
            case "roll-out":
                await self._roll_out()
            case "back-up":
                self.backup_id = (await self.said("backup"))["id"]
            case "drain":
                await self.insist("drain", event.part, "--why", "maintenance")
            case "uncordon":
                await self.insist("uncordon", event.part)
        self.done.append(event.words)

    async def rollout(self) -> dict[str, Any]:
        """Return the roll-out as it stands; empty before it begins."""
        items = (await self.said("rollout", "status"))["items"]
        return dict(items[0]) if items else {}

    async def settled(self, home: Path) -> dict[str, Any]:
        """Wait until nothing is open and return the report of that fleet."""
        until = time.monotonic() + INSIST_S
        while True:
            report: dict[str, Any] = await self.said("report", "--since", "1d", home=home)
            if not report["tasks"]["open"] or time.monotonic() > until:
                return report
            await asyncio.sleep(PAUSE_S)

    async def _kill(self, part: str) -> None:
        parts = (await self.said("status"))["fleet"]["parts"]
        pid = next((each["pid"] for each in parts if each["name"] == part), 0)
        if not pid:  # its supervisor starts it again just now
            self.missed += 1
        else:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def _roll_out(self) -> None:
        until = time.monotonic() + INSIST_S
        while not await self.rollout():
            try:
                await self.amas("rollout", "start", ROLLED, "--version", "2", "--agent", "day_agents:Careless")
            except CommandFailed:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(PAUSE_S)
