"""How the operator's commands tell what they do: lines, tables, and what they are at right now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

QUIET_SECONDS = 10


class Teller:
    """A command that talks to a person; what inherits has a console, and a clock in seconds."""

    console: Console
    clock: Callable[[], float]

    def say(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style), soft_wrap=True)

    @contextmanager
    def working(self, what: str) -> Iterator[Callable[[str], None]]:
        """A spinner on a terminal, a line every ten seconds elsewhere."""
        if not self.console.is_terminal:
            self.say(f"… {what}")
            yield _Lines(self.say, self.clock)
            return
        with self.console.status(Text(what)) as status:
            yield lambda text: status.update(Text(text))

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
        """Cells may hold what others have written."""
        table = Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(shown(cell)) if isinstance(cell, str) else cell for cell in row))
        self.console.print(table)


class _Lines:
    """Tells what goes on, but not too often."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say, self._clock, self._said = say, clock, clock()

    def __call__(self, text: str) -> None:
        if self._clock() - self._said > QUIET_SECONDS:
            self._say(f"  {text}")
            self._said = self._clock()


def shown(text: str) -> str:
    """A key of somebody else's, which may hold anything."""
    return "".join(character if character.isprintable() else "�" for character in text)
