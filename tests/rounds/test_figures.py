"""What reports say in words."""

from typing import Any

from labelapp.rounds.figures import material_in_words

TRAIN = {"split": "train", "groups": 1_180, "groups_all_tied": 20}


def counts(**causes: int) -> dict[str, int]:
    return {"found": 1_300, "kept": 1_200, "shortened": 0, **{f"left out: {name}": n for name, n in causes.items()}}


def said(train: dict[str, Any], held_out: dict[str, Any] | None = None) -> list[str]:
    return material_in_words({"counts": {"train": train, "held_out": held_out}}).split("\n")


def test_a_line_says_what_remains_of_each_split() -> None:
    train = {"groups": 1_200, "comparisons": counts()}
    held_out = {"groups": 3, "comparisons": {"found": 4, "kept": 4, "shortened": 0}}
    assert said(train, held_out) == [
        "1,200 of 1,300 comparisons to learn from (1,200 groups), 4 of 4 comparisons held out (3 groups)"
    ]


def test_more_lines_say_what_does_not_and_why() -> None:
    comparisons = counts(long=1_060, empty=40) | {"shortened": 7}
    assert said(TRAIN | {"comparisons": comparisons}) == [
        "1,200 of 1,300 comparisons to learn from (1,180 groups)",
        "to learn from: 40 left out, empty",
        "to learn from: 1,060 left out, long",
        "to learn from: 20 more groups are all ties",
        "to learn from: 7 prompts lost the oldest turns, to fit",
    ]


def test_one_is_not_many() -> None:
    comparisons = counts() | {"shortened": 1}
    assert said({"groups": 1, "groups_all_tied": 1, "comparisons": comparisons})[1:] == [
        "to learn from: 1 more group is all ties",
        "to learn from: 1 prompt lost the oldest turns, to fit",
    ]


def test_causes_of_held_out_comparisons_are_named_apart() -> None:
    held_out = {"groups": 0, "comparisons": {"found": 2, "kept": 0, "shortened": 0, "left out: long": 2}}
    assert said({"groups": 1, "comparisons": counts()}, held_out)[1:] == ["held out: 2 left out, long"]


def test_nothing_is_said_without_a_report() -> None:
    assert material_in_words({}) == ""


def test_groups_that_a_loss_has_no_use_for_are_counted() -> None:
    assert said({"groups": 1, "groups_left_out": 2, "comparisons": counts()})[1:] == [
        "to learn from: 2 more groups have nothing that the loss learns from"
    ]
