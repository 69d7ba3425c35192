"""What one person is shown of one task. Pure functions of ids, so a reload, another device or a late submit agree."""

import random
import string

from labelapp.models import Marks, Protocol

LETTERS = string.ascii_uppercase
CONTROL_SHARE = 0.2
"""Share of tasks in which contradictions are not marked, so that what the marks do can be measured."""


def order_shown(*, salt: str, task_id: int, annotator_id: int, k: int) -> list[int]:
    """The task's slots in the order of their letters, shuffled for this person."""
    order = list(range(k))
    _random(salt, task_id, annotator_id, "order").shuffle(order)
    return order


def questioned_slots(*, protocol: Protocol, salt: str, task_id: int, annotator_id: int, k: int) -> set[int]:
    """The slots about which completion questions are asked: all of a small task, a random few of a large one."""
    if k <= protocol.questions_all_up_to:
        return set(range(k))
    return set(_random(salt, task_id, annotator_id, "questions").sample(range(k), protocol.questions_sample))


def marks_group(*, salt: str, task_id: int) -> str:
    """Whether contradictions are marked in this task: the same for everybody who gets it."""
    chance = random.Random(f"{salt}:{task_id}:marks").random()  # noqa: S311 (a group, not a secret)
    return Marks.CONTROL if chance < CONTROL_SHARE else Marks.SHOWN


def _random(salt: str, task_id: int, annotator_id: int, use: str) -> random.Random:
    return random.Random(f"{salt}:{task_id}:{annotator_id}:{use}")  # noqa: S311 (a shuffle, not a secret)
