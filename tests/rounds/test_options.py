"""What a round may be told."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from labelapp.errors import DomainError
from labelapp.rounds.options import RoundOptions, round_options_read


def test_options_survive_being_stored() -> None:
    options = RoundOptions(prompts=7, sampling={"n": 3, "stop": ("END",)}, reward={"epochs": 2})
    read = round_options_read(json.loads(json.dumps(asdict(options))))
    assert read.trainer_options("sampling") == options.trainer_options("sampling")
    assert (read.prompts, read.completions, read.reward) == (7, 3, {"epochs": 2})


def test_the_trainers_defaults_hold_where_nothing_is_said() -> None:
    assert RoundOptions().trainer_options("preference")["label_smoothing"] == 0.1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"labels": "bought"}, "labels: choose from new, existing"),
        ({"prompts": 0}, "prompts: it must be from 1"),
        ({"overlap": 3, "shared_overlap": 2}, "shared_overlap: it must be from 3"),
        ({"sampling": {"n": 1}}, "completions per prompt"),
        ({"sampling": {"n": 10}}, "from 2 to 9"),
        ({"sampling": {"temperature": -1}}, "sampling, temperature: it must be at least 0"),
        ({"reward": {"colour": 3}}, "reward, colour: it is no option"),
        ({"preference": {"beta": "warm"}}, "preference, beta: it must be a number"),
        ({"split": "attic"}, "split: choose from train"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(given: dict[str, Any], said: str) -> None:
    with pytest.raises(DomainError, match=said):
        RoundOptions(**given)


def test_one_completion_is_enough_where_nothing_is_sampled() -> None:
    assert RoundOptions(labels="existing", sampling={"n": 1}).completions == 1


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(DomainError, match="no option colour"):
        round_options_read({"colour": "red"})


def test_what_the_trainer_no_longer_knows_is_left_out_of_an_old_round() -> None:
    old = {"reward": {"epochs": 2, "micro_batch": 16}, "sampling": {"n": 3}}
    assert round_options_read(old).reward == {"epochs": 2}
