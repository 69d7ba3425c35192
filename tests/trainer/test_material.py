"""What is left to learn from, and what is said when it is nothing."""

import pytest

from trainer.data.groups import TOO_LONG, Edge, Exclusions, Group
from trainer.loop.material import Reader, material_read
from trainer.runs import InputError

TIED = Group(1, [5], [[6], [7]], [Edge(0, 1, "=", 1.0)], 1.0)


def reader(groups: list[Group], **causes: int) -> Reader:
    """Reads these groups of any split, and leaves out some more."""

    def read(split: str) -> tuple[list[Group], Exclusions]:
        exclusions = Exclusions(found=len(groups) + sum(causes.values()), kept=len(groups))
        for cause, number in causes.items():
            exclusions.add(cause, number)
        return groups, exclusions

    return read


def test_when_nothing_fits_the_message_says_so_and_how_to_mend_it() -> None:
    with pytest.raises(InputError) as raised:
        material_read(reader([], **{TOO_LONG: 227}), unit="comparisons", ties_policy="drop")
    assert str(raised.value) == (
        "Nothing is left to learn from in the train split: 227 left out: a completion and the least of its prompt "
        "do not fit. Freeze more, raise max_length, or choose a model that reads more tokens."
    )


def test_when_all_is_tied_the_message_says_so() -> None:
    with pytest.raises(InputError, match=r"in the train split: 2 groups are all ties\. "):
        material_read(reader([TIED, TIED]), unit="comparisons", ties_policy="drop")


def test_when_there_is_nothing_the_message_says_so() -> None:
    with pytest.raises(InputError, match=r"in the train split: it has no answers\. "):
        material_read(reader([]), unit="answers")


def test_ties_can_be_learned_from() -> None:
    material = material_read(reader([TIED]), unit="comparisons", ties_policy="soft")
    assert (material.train, material.held_out, material.split) == ([TIED], [TIED], "validation")


def test_what_is_held_out_and_cannot_be_used_is_counted() -> None:
    def read(split: str) -> tuple[list[Group], Exclusions]:
        return {"train": reader([TIED]), "validation": reader([]), "test": reader([], long=3)}[split](split)

    material = material_read(read, unit="comparisons", ties_policy="soft")
    assert (material.held_out, material.split) == ([], None)
    counts = material.counts["held_out"]
    assert (counts["split"], counts["groups"], counts["comparisons"]["left out: long"]) == ("test", 0, 3)


def test_where_nothing_is_held_out_nothing_is_counted() -> None:
    def read(split: str) -> tuple[list[Group], Exclusions]:
        return reader([TIED] if split == "train" else [])(split)

    assert material_read(read, unit="comparisons", ties_policy="soft").counts["held_out"] is None
