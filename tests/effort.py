"""How much work something is, told without a clock: the same on every machine, however much else it does."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")
COUNTED = {"call", "c_call"}


def effort(work: Callable[[], Result]) -> tuple[Result, int]:
    """What the work returns, and how many calls it made, of Python's functions and of C's."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in COUNTED

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        result = work()
    finally:
        sys.setprofile(before)
    return result, calls
