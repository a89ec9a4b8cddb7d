"""The screen of `amas top`. Two threads ask the fleet, for its figures and for the view's rows, and neither is waited for.

The only module of the command line that loads textual.
"""

import asyncio
import signal
import threading
from collections import deque
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.coordinate import Coordinate
from textual.events import Key, Resize
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Input, Sparkline, Static

from amas.cli.api import Api
from amas.cli.top_views import ROWS_MAX, VIEWS, Figures, Row, View, headline
from amas.errors import AmasError, FleetNotRunning

EVERY_S = 2.0
"""Between looks at the view's rows; the figures come once a second by themselves."""
AGAIN_S = 1.0
"""Between looks at the figures where they don't come by themselves."""
RATES = 60
"""Seconds of the curve."""


TERMINATED = 128 + signal.SIGTERM
"""The exit code of who was asked to end: the terminal is given back first, as it was."""
SHORT_ROWS = 16
"""Of a screen that needs its lines for the table."""
ASIDE_CELLS = 10

KEYS = (
    ("1 to 4", ", ".join(view.title for view in VIEWS).lower()),
    ("left right", "the view beside this one"),
    ("up down", "choose a line"),
    ("home end", "the first and the last one"),
    ("enter", "show what lies below it"),
    ("escape", "drop the filter, or go back up"),
    ("/", "show only lines with these words"),
    ("shift+left", "columns that have no room, and"),
    ("shift+right", "back"),
    ("?", "these keys; any key closes them"),
    ("q", "quit"),
)
"""What help says; docs/terminal.md says the same."""


class Figured(Message):
    """The fleet's figures are these."""

    def __init__(self, figures: Figures) -> None:
        super().__init__()
        self.figures = figures


class Looked(Message):
    """A view's rows are these."""

    def __init__(self, view: View, rows: list[Row]) -> None:
        super().__init__()
        self.view, self.rows = view, rows


class Troubled(Message):
    """Something can't be shown just now: the `figures` or the `rows`."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__()
        self.what, self.why = what, why


class Help(ModalScreen[None]):
    """The keys, until one of them is pressed."""

    CSS = """
    Help { align: center middle; }
    Help > VerticalScroll { width: 56; max-width: 100%; height: auto; max-height: 100%; background: $panel; padding: 0 1; }
    """

    def compose(self) -> ComposeResult:  # noqa: D102  textual's own
        with VerticalScroll():
            yield Static("\n".join(f"{key:>10}  {does}" for key, does in KEYS), id="keys", markup=False)

    def on_key(self, event: Key) -> None:
        """Close, but for the keys that scroll a screen which is too small for them."""
        if event.key not in ("up", "down", "pageup", "pagedown", "home", "end"):
            event.stop()
            self.dismiss()


class Top(App[None]):
    """Figures on top, one table below them."""

    CSS = """
    #figures { height: auto; max-height: 8; padding: 0 1; }
    #rate { height: 1; margin: 0 1; }
    #title { height: 1; padding: 0 1; text-style: bold; }
    #trouble { height: auto; padding: 0 1; color: $error; display: none; }
    #filter { height: 1; border: none; padding: 0 1; display: none; }
    DataTable { height: 1fr; }
    .short #figures { max-height: 2; }
    .short #rate { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "above", "Back"),
        Binding("1", "view(1)", "Views", key_display=f"1-{len(VIEWS)}"),
        *(Binding(str(number), f"view({number})", show=False) for number in range(2, len(VIEWS) + 1)),
        Binding("left", "turn(-1)", show=False, priority=True),
        Binding("right", "turn(1)", show=False, priority=True),
        Binding("home", "jump(False)", show=False, priority=True),
        Binding("end", "jump(True)", show=False, priority=True),
        Binding("shift+left", "aside(-1)", show=False, priority=True),
        Binding("shift+right", "aside(1)", show=False, priority=True),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, api: Api) -> None:
        super().__init__()
        self._api, self._trail, self._rows = api, [VIEWS[0]], list[Row]()
        self._figures: Figures | None = None
        self._troubles: dict[str, str] = {}
        self._shown: tuple[View, list[Row]] | None = None
        self._widths: list[int] = []
        self._known = False
        self._rates: deque[float] = deque([0.0] * RATES, maxlen=RATES)
        self._wake, self._over = threading.Event(), threading.Event()

    def compose(self) -> ComposeResult:  # noqa: D102  textual's own
        yield Static("asking the fleet ...", id="figures", markup=False)
        yield Sparkline(id="rate")
        yield Static("", id="trouble", markup=False)
        yield Static("", id="title", markup=False)
        yield DataTable[str](cursor_type="row")
        yield Input(placeholder="show only lines with these words", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to ask; the threads end with the process, whatever they wait for."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit, None, TERMINATED)
        self._show_view()
        for duty in (self._follow, self._look):
            threading.Thread(target=duty, name=duty.__name__, daemon=True).start()

    def on_unmount(self) -> None:
        """Let the threads end."""
        self._over.set()
        self._wake.set()

    def on_resize(self, event: Resize) -> None:
        """Leave a small screen to the table."""
        self._below.set_class(event.size.height < SHORT_ROWS, "short")

    @property
    def _below(self) -> Screen[None]:
        """The screen with the figures, whatever lies over it."""
        return self.screen_stack[0]

    @property
    def _stands(self) -> bool:
        """Whether the screen isn't being taken down: answers may come until the threads have seen it."""
        return bool(self.screen_stack) and bool(self._below.query(DataTable))

    def _follow(self) -> None:
        while not self._over.is_set():
            try:
                for _, told in self._api.events("/api/live"):
                    if self._over.is_set():
                        return
                    self.post_message(Troubled("figures", told["detail"]) if "detail" in told else Figured(told))
            except AmasError:  # a control plane without the stream, or too many who follow it
                pass
            try:
                self.post_message(Figured(self._api.get("/api/metrics")))
            except AmasError as error:
                self.post_message(Troubled("figures", str(error)))
            self._over.wait(AGAIN_S)

    def _look(self) -> None:
        while not self._over.is_set():
            self._wake.clear()
            view, figures = self._trail[-1], self._figures
            if figures is not None:
                self.post_message(self._looked(view, figures))
            self._wake.wait(EVERY_S)

    def _looked(self, view: View, figures: Figures) -> Looked | Troubled:
        """Return a view's rows, or why there are none; blocking."""
        lives = False
        try:
            self._api.get("/health")  # figures that don't change don't come: is there still somebody who would send them?
            lives = True
            return Looked(view, view.rows(self._api, figures))
        except FleetNotRunning as error:
            why = "the control plane lives, but has no answer in time: its engine may be away (amas diagnose)"
            return Troubled("rows", why if lives else str(error))
        except AmasError as error:
            return Troubled("rows", str(error))

    def on_figured(self, message: Figured) -> None:
        """Show the figures."""
        if not self._stands:
            return
        first, self._figures = self._figures is None, message.figures
        self._rates.append(message.figures["tasks_per_second"] or 0.0)
        self._below.query_one("#figures", Static).update("\n".join(headline(message.figures)))
        self._below.query_one(Sparkline).data = list(self._rates)
        self._say("figures", "")
        if first:
            self._wake.set()

    def on_looked(self, message: Looked) -> None:
        """Show the rows, unless another view was chosen meanwhile."""
        if not self._stands:
            return
        self._say("rows", "")
        if message.view is self._trail[-1] and not (self._known and message.rows == self._rows):
            self._rows, self._known = message.rows, True
            self._fill()

    def on_troubled(self, message: Troubled) -> None:
        """Say what is wrong; the last figures stay."""
        if self._stands:
            self._say(message.what, message.why)

    def _say(self, what: str, why: str) -> None:
        """Say what is wrong with the figures or the rows, "" for nothing."""
        if self._troubles.get(what, "") != why:
            self._troubles[what] = why
            trouble = self._below.query_one("#trouble", Static)
            trouble.update("\n".join(dict.fromkeys(filter(None, self._troubles.values()))))
            trouble.display = any(self._troubles.values())

    def on_input_changed(self) -> None:
        """Show only what the words are in."""
        self._fill()

    def on_input_submitted(self) -> None:
        """Go back to the table, which stays filtered."""
        self._below.query_one(DataTable).focus()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show what lies below a row."""
        below, key = self._trail[-1].below, event.row_key.value
        if below is not None and key is not None:
            self._trail.append(below(key))
            self._show_view()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the arrows to whoever writes a filter."""
        del parameters
        if isinstance(self.screen, Help):
            return action == "quit"
        return action not in ("turn", "aside", "jump") or not self._below.query_one(Input).has_focus

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    def action_jump(self, to_last: bool) -> None:
        """Choose the first line, or the last one."""
        table: DataTable[Text] = self._below.query_one(DataTable)
        table.move_cursor(row=table.row_count - 1 if to_last else 0)

    def action_aside(self, by: int) -> None:
        """Show columns that have no room."""
        self._below.query_one(DataTable).scroll_relative(x=by * ASIDE_CELLS, animate=False)

    def action_filter(self) -> None:
        """Let the user write words."""
        field = self._below.query_one(Input)
        field.display = True
        field.focus()

    def action_above(self) -> None:
        """Drop the filter, or else go back to the view above."""
        if self._below.query_one(Input).display:
            self._drop_filter()
            self._fill()
        elif len(self._trail) > 1:
            self._trail.pop()
            self._show_view()

    def action_view(self, number: int) -> None:
        """Show one of the views that have a number."""
        self._trail = [VIEWS[number - 1]]
        self._show_view()

    def action_turn(self, by: int) -> None:
        """Show the view beside this one."""
        self.action_view((VIEWS.index(self._trail[0]) + by) % len(VIEWS) + 1)

    def _show_view(self) -> None:
        self._rows, self._known = [], False
        self._drop_filter()
        self._fill()
        self._wake.set()

    def _drop_filter(self) -> None:
        field = self._below.query_one(Input)
        with field.prevent(Input.Changed):
            field.value = ""
        field.display = False
        self._below.query_one(DataTable).focus()

    def _fill(self) -> None:
        """Show the rows that the words leave; what is the same stays as it is, and so does where the user is."""
        view, words = self._trail[-1], self._below.query_one(Input).value.lower().split()
        rows = [row for row in self._rows if all(word in " ".join(row.cells).lower() for word in words)]
        before = self._shown[1] if self._shown and self._shown[0] is view else None
        widths = [max(map(cell_len, column)) for column in zip(view.columns, *(row.cells for row in rows), strict=True)]
        if before is not None:  # columns grow, and don't jump
            widths = list(map(max, widths, self._widths))
        if before is None or widths != self._widths or [row.key for row in rows] != [row.key for row in before]:
            self._lay_out(view, rows, widths, before)
        else:
            self._change(rows, before)
        self._shown, self._widths = (view, rows), widths
        self._below.query_one("#title", Static).update(self._title(len(rows), filtered=bool(words)))

    def _lay_out(self, view: View, rows: list[Row], widths: list[int], before: list[Row] | None) -> None:
        """Show a table anew; `before`: the rows that it had, None for another view's.

        Each column's width is said: what textual would measure comes after a first drawing, which it keeps.
        """
        table: DataTable[Text] = self._below.query_one(DataTable)
        at, aside, down = table.cursor_row, table.scroll_x, table.scroll_y
        chosen = before[at].key if before and at < len(before) else ""
        table.clear(columns=True)
        for name, width in zip(view.columns, widths, strict=True):
            table.add_column(name, width=width)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row.cells), key=row.key)
        keys = [row.key for row in rows]
        if chosen in keys:
            table.move_cursor(row=keys.index(chosen), scroll=False)
            self.call_after_refresh(table.scroll_to, aside, down, animate=False)

    def _change(self, rows: list[Row], before: list[Row]) -> None:
        """Change the cells that are others now."""
        table: DataTable[Text] = self._below.query_one(DataTable)
        for number, (row, old) in enumerate(zip(rows, before, strict=True)):
            for column, (cell, was) in enumerate(zip(row.cells, old.cells, strict=True)):
                if cell != was:
                    table.update_cell_at(Coordinate(number, column), Text(cell))

    def _title(self, shown: int, *, filtered: bool) -> str:
        place = " > ".join(each.title for each in self._trail)
        if filtered:
            return f"{place}  ({shown} of {len(self._rows)})"
        if self._known and not self._rows:
            return f"{place}: {self._trail[-1].none}"
        return f"{place}  (the first {ROWS_MAX})" if len(self._rows) == ROWS_MAX else place
