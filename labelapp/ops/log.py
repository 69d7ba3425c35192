"""The one log of several programs: whole lines, each with the name of its writer, coloured on a terminal."""

import os
from typing import TextIO

COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92")
LONGEST_LINE = 16384
NAME_WIDTH = 10
CONTROL = {code: "�" for code in (*range(32), 127, *range(128, 160)) if chr(code) != "\t"}


class LineBuffer:
    """Cuts what a program writes into lines, however its writes are split."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        """Return the lines that are whole now; one that is overlong is cut."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            whole.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace").rstrip("\r") for line in whole]

    def flush(self) -> list[str]:
        """Return what came after the last line end."""
        return self.feed(b"\n") if self._rest else []


class LogPrinter:
    """Prints lines of named programs. `broken` turns true when nobody reads them any more."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._coloured = out.isatty() and not os.environ.get("NO_COLOR")
        self._colours: dict[str, str] = {}
        self.broken = False

    def say(self, name: str, line: str) -> None:
        """Print a line of a program. Control characters are replaced: a log line never steers the terminal."""
        label = f"{name:<{NAME_WIDTH}}|"
        if self._coloured:
            colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
            label = f"\x1b[{colour}m{label}\x1b[0m"
        self.print(f"{label} {line.translate(CONTROL)}")

    def print(self, text: str) -> None:
        """Print text as it is."""
        if self.broken:
            return
        try:
            print(text, file=self._out, flush=True)
        except (BrokenPipeError, OSError):
            self.broken = True
