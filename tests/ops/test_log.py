import io
import os

from labelapp.ops.log import LONGEST_LINE, LineBuffer, LogPrinter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_lines_are_whole_however_the_writes_were_split() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b"one\ntw") == ["one"]
    assert buffer.feed("o \u00e9".encode()[:-1]) == []
    assert buffer.feed("\u00e9".encode()[1:] + b"\r\n\nlast") == ["two \u00e9", ""]
    assert buffer.flush() == ["last"]
    assert buffer.flush() == []


def test_an_endless_line_is_cut() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b"x" * (LONGEST_LINE + 1)) == ["x" * (LONGEST_LINE + 1)]
    assert buffer.feed(b"y\n") == ["y"]


def test_each_line_names_its_writer() -> None:
    out = io.StringIO()
    LogPrinter(out).say("web", "started\tnow")
    assert out.getvalue() == "web       | started\tnow\n"


def test_a_line_cannot_steer_the_terminal() -> None:
    out = io.StringIO()
    LogPrinter(out).say("web", "\x1b[2Jgone\x07\x9b")
    assert out.getvalue() == "web       | \ufffd[2Jgone\ufffd\ufffd\n"


def test_names_are_coloured_on_a_terminal_each_in_its_own() -> None:
    out = Terminal()
    os.environ.pop("NO_COLOR", None)
    log = LogPrinter(out)
    for name in ("web", "beat", "web"):
        log.say(name, "x")
    first, second, third = out.getvalue().splitlines()
    assert first.startswith("\x1b[")
    assert first == third
    assert first[:5] != second[:5]


def test_it_notices_that_nobody_reads() -> None:
    log = LogPrinter(Gone())
    log.say("web", "x")
    assert log.broken
    log.say("web", "y")
