"""Lines of files of all sorts."""

import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelapp.datasets.lines import (
    DAMAGED,
    FOREIGN,
    KEPT_OF_TOO_LONG,
    LINE_LIMIT,
    TOO_LONG,
    Line,
    LineReader,
    UnreadableFileError,
)


def read(path: Path, content: bytes) -> list[Line]:
    path.write_bytes(content)
    with LineReader(path) as reader:
        return list(reader)


def texts(lines: list[Line]) -> list[tuple[int, bytes]]:
    assert not any(line.problem for line in lines)
    return [(line.number, line.content) for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_lines_are_numbered_from_one(path: Path, end: bytes) -> None:
    assert texts(read(path, b"a\nb" + end)) == [(1, b"a"), (2, b"b")]


def test_blank_lines_count_but_do_not_come(path: Path) -> None:
    assert texts(read(path, b"\n a\n \t\n\nb\n\n")) == [(2, b" a"), (5, b"b")]


def test_an_empty_file_has_no_lines(path: Path) -> None:
    assert read(path, b"") == []
    assert read(path, gzip.compress(b"")) == []


def test_a_byte_order_mark_is_dropped(path: Path) -> None:
    assert texts(read(path, b"\xef\xbb\xbfa\nb")) == [(1, b"a"), (2, b"b")]


def test_gzip_is_known_by_its_content(path: Path) -> None:
    assert texts(read(path, gzip.compress(b"a\nb\n"))) == [(1, b"a"), (2, b"b")]


def test_gzip_may_come_in_several_parts(path: Path) -> None:
    assert texts(read(path, gzip.compress(b"a\nb") + gzip.compress(b"c\nd"))) == [(1, b"a"), (2, b"bc"), (3, b"d")]


def test_unicode_line_separators_do_not_split(path: Path) -> None:
    line = "a\u2028b\x0bc\x85d".encode()
    assert texts(read(path, line)) == [(1, line)]


@pytest.mark.parametrize("magic", list(FOREIGN))
def test_other_formats_are_named(path: Path, magic: bytes) -> None:
    with pytest.raises(UnreadableFileError, match=r"This file is not JSON lines, it is .*: "):
        read(path, magic + b"0123456789")


def test_a_truncated_gzip_gives_what_it_has_and_says_so(path: Path) -> None:
    whole = gzip.compress("\n".join(f"row {number} {number**7}" for number in range(20_000)).encode())
    *good, last = read(path, whole[: len(whole) // 2])
    assert 8_000 < len(good) < 12_000
    assert good[0].content == b"row 0 0"
    assert (last.number, last.problem) == (good[-1].number + 1, DAMAGED)


def test_a_damaged_gzip_says_so(path: Path) -> None:
    packed = bytearray(gzip.compress(b"a\nb\n"))
    packed[-5] ^= 0xFF
    assert read(path, bytes(packed))[-1].problem == DAMAGED


def test_rubbish_behind_gzip_says_so(path: Path) -> None:
    assert read(path, gzip.compress(b"a\n") + b"rubbish")[-1].problem == DAMAGED


def test_a_line_at_the_limit_is_whole(path: Path) -> None:
    line = b"x" * LINE_LIMIT
    assert [line.problem for line in read(path, line + b"\n" + line)] == ["", ""]


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_over_the_limit_is_stepped_over(path: Path, packed: bool) -> None:
    content = b"a\n" + b"x" * (3 * LINE_LIMIT) + b"\nb"
    first, long, last = read(path, gzip.compress(content, 1) if packed else content)
    assert (first.content, last) == (b"a", Line(3, b"b"))
    assert (long.number, long.problem, long.content) == (2, TOO_LONG, b"x" * KEPT_OF_TOO_LONG)


def test_memory_does_not_grow_with_the_line(path: Path) -> None:
    path.write_bytes(gzip.compress(b"x" * (8 * LINE_LIMIT), 1))
    tracemalloc.start()
    try:
        with LineReader(path) as reader:
            assert [line.problem for line in reader] == [TOO_LONG]
        assert tracemalloc.get_traced_memory()[1] < 3 * LINE_LIMIT
    finally:
        tracemalloc.stop()


def test_it_knows_how_far_it_is(path: Path) -> None:
    path.write_bytes(b"a\n" * 50_000)
    with LineReader(path) as reader:
        lines = iter(reader)
        next(lines)
        assert 0 < reader.done < reader.size
        list(lines)
        assert reader.done == reader.size == 100_000


@given(st.binary(max_size=300), st.booleans())
def test_no_content_breaks_it(tmp_path_factory: pytest.TempPathFactory, content: bytes, packed: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    try:
        lines = read(path, gzip.compress(content) if packed else content)
    except UnreadableFileError:
        assert not packed
        return
    assert [line.number for line in lines] == sorted({line.number for line in lines})
