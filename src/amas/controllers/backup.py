"""Back-ups of the running fleet: by itself as the fleet file says, and when somebody asks the control plane for one.

When the next is due, and which have had their time, is read from the repository itself, so a new leader goes on where the last
one was. One that fails is told loudly, in the log and in the metrics, and tried again; it never stops the other duties.
"""

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from amas.backup.key import read_secret
from amas.backup.make import Sources, make
from amas.backup.repository import Listing, Repository
from amas.clock import now_ms
from amas.controllers.figures import Figures
from amas.core.backups import next_due_ms, next_kind, outlived
from amas.engine.desired import DesiredState
from amas.errors import AmasError, ArtifactError, BackupBusy, BackupError, BackupUnknown, EngineError, RecordsError
from amas.model.backup import BackupSpec, Kind, Manifest
from amas.model.fleet import FleetSpec
from amas.observe import events
from amas.observe.logging import process_log
from amas.settings import BackupSettings, EngineSettings

if TYPE_CHECKING:
    from amas.backup.check import Verdict

LOOK_EVERY_S = 60.0
"""How soon a changed fleet file is noticed."""
RETRY_S = 60.0
FAILURES = (BackupError, EngineError, RecordsError, ArtifactError)


class Now(NamedTuple):
    """What this control plane does and did last."""

    running: bool
    failed: str
    """Why the last one failed; empty when it didn't."""


class FleetBackups:
    """The back-ups of one fleet, for the duty and the API of one control plane: one is made at a time."""

    def __init__(self, sources: Sources, fleet: FleetSpec, figures: Figures) -> None:
        self._sources, self._fleet, self._figures = sources, fleet, figures
        self._desired = DesiredState(sources.engine)
        self._making = asyncio.Lock()
        self._asked: asyncio.Task[None] | None = None
        self._beginning = False
        self._failed = ""
        self._opened: Repository | None = None

    @property
    def now(self) -> Now:
        """What goes on."""
        return Now(self._making.locked() or self._is_asked, self._failed)

    @property
    def _is_asked(self) -> bool:
        return self._asked is not None and not self._asked.done()

    async def spec(self) -> BackupSpec | None:
        """Return what is declared now, with an address; None when the fleet isn't to be backed up by itself."""
        spec = ((await self._desired.read()).fleet or self._fleet).backup
        if spec is None or spec.to:
            return spec
        return msgspec.structs.replace(spec, to=BackupSettings.read().url)

    async def url(self) -> str:
        """Return where back-ups go; BackupUnknown when nobody said."""
        spec = await self.spec()
        url = (spec.to if spec else "") or BackupSettings.read().url
        if not url:
            raise BackupUnknown("nobody said where back-ups go: declare backup: in the fleet file, or set AMAS_BACKUP_URL")
        return url

    async def listing(self) -> tuple[str, Listing]:
        """Return where the back-ups are, and all of them."""
        url = await self.url()
        try:
            repository = await self._repository(url, create=False)
        except BackupUnknown:
            return url, Listing([], [])
        return url, await asyncio.to_thread(repository.list)

    async def start(self, *, full: bool) -> None:
        """Begin a back-up and return at once; BackupBusy while one is being made here, BackupError when it can't begin."""
        if self.now.running or self._beginning:  # of two who ask at once, one is refused
            raise BackupBusy("a back-up is being made already: try again when that is over")
        self._beginning = True
        try:
            await self._repository(await self.url(), create=True)
            self._asked = asyncio.create_task(self._make_and_tell(full=full), name="back-up")
        finally:
            self._beginning = False

    async def make(self, kind: Kind) -> Manifest:
        """Make one and return it."""
        async with self._making:
            repository = await self._repository(await self.url(), create=True)
            made = await make(repository, self._sources, full=kind == "full")
        self._failed = ""
        self._figures.backups_made += 1
        self._figures.backup_at_ms = made.at_ms
        process_log().info(
            "backed the fleet up",
            event=events.BACKUP_MADE,
            backup=made.id,
            kind=made.kind,
            stored=made.stored,
            took_s=made.took_s,
        )
        return made

    async def verify(self) -> "Verdict":
        """Try the newest back-up out and return what was found; BackupDamaged says what is wrong with it."""
        from amas.backup.check import complain, verify  # with an engine of its own, which nobody else here needs

        repository = await self._repository(await self.url(), create=False)
        newest = await asyncio.to_thread(repository.find, "latest")
        verdict = await verify(repository, newest, binary=EngineSettings.read().binary)
        complain(verdict)
        return verdict

    def tell(self, error: AmasError) -> None:
        """Say loudly that back-ups fail, each time."""
        self._failed = str(error)
        self._figures.backups_failed += 1
        process_log().error("the fleet can't be backed up", event=events.BACKUP_FAILED, error=error.code, why=str(error))

    async def remove(self, backup_ids: list[str]) -> None:
        """Remove back-ups whose time is over, and what only they needed."""
        repository = await self._repository(await self.url(), create=False)
        chunks, size = await asyncio.to_thread(repository.remove, backup_ids)
        process_log().info("removed old back-ups", event=events.BACKUPS_REMOVED, backups=backup_ids, chunks=chunks, bytes=size)

    def saw(self, listing: Listing) -> None:
        """Note how old the newest is, for the metrics."""
        self._figures.backup_at_ms = max((each.at_ms for each in listing.whole), default=0)

    async def _make_and_tell(self, *, full: bool) -> None:
        try:
            await self.make("full" if full else "incremental")
        except FAILURES as error:
            self.tell(error)

    async def _repository(self, url: str, *, create: bool) -> Repository:
        if create or self._opened is None or self._opened.url != url:  # what is written is written with the key that is there
            self._opened = await asyncio.to_thread(Repository.open, url, read_secret(), create=create)
        return self._opened


class Backups:
    """The duty."""

    name = "backups"

    def __init__(self, backups: FleetBackups) -> None:
        self._backups = backups
        self._listing: Listing | None = None

    async def run_once(self) -> float:
        """Make a back-up when one is due and remove those whose time is over; return the seconds until the next look."""
        spec = await self._backups.spec()
        if spec is None:
            return LOOK_EVERY_S
        try:
            due_ms = await self._when_due(spec)
            if now_ms() < due_ms:
                return min(LOOK_EVERY_S, max(0.0, (due_ms - now_ms()) / 1000))
            await self._tend(spec)
        except BackupBusy:
            return RETRY_S
        except FAILURES as error:
            self._backups.tell(error)
            return RETRY_S
        return min(LOOK_EVERY_S, spec.every_s)

    async def _when_due(self, spec: BackupSpec) -> int:
        if self._listing is None:
            self._listing = (await self._backups.listing())[1]
            self._backups.saw(self._listing)
        return next_due_ms(self._listing.whole, spec)

    async def _tend(self, spec: BackupSpec) -> None:
        self._listing = None  # until all of this has worked
        whole = (await self._backups.listing())[1].whole
        if next_due_ms(whole, spec) <= now_ms():  # nobody else has made one meanwhile
            whole = [*whole, await self._backups.make(next_kind(whole, spec, now_ms=now_ms()))]
        if old := outlived(whole, spec, now_ms=now_ms()):
            await self._backups.remove(old)
