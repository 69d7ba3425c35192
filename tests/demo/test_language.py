"""The demo's small language: its instructions, its writers, and what it takes for English."""

from random import Random

import pytest

from labelapp.demo.gold import gold_reward
from labelapp.demo.language import (
    ASKED,
    COLD,
    NAMES,
    PLAIN,
    THINGS,
    WARM,
    WORDINGS,
    Instruction,
    answer_write,
    fluency,
    instruction_parse,
    instructions,
    reads_well,
    sentences_split,
)

WISH = Instruction("Ada", ("kite", "river", "lamp"), 0)
NOTE = "Dear Ada,\n\nI loved the kite. What a joy the river was!\n\nSee you soon!"


def test_an_instruction_reads_as_a_request() -> None:
    assert WISH.text == "Write to Ada about the kite, the river and the lamp."
    assert WISH.messages == [{"role": "user", "content": WISH.text}]


def test_every_instruction_can_be_read_back() -> None:
    for wish in instructions(1, 2000):
        assert instruction_parse(wish.text) == wish


def test_an_instruction_is_read_back_despite_space_around_it() -> None:
    assert instruction_parse(f"  {WISH.text}\n") == WISH


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Why is the sky blue?",
        WISH.text.replace("Ada", "Zebedee"),
        WISH.text.replace("kite", "submarine"),
        WISH.text + " Please.",
        WISH.text.lower(),
    ],
)
def test_other_text_is_no_instruction(text: str) -> None:
    assert instruction_parse(text) is None


def test_instructions_are_all_different() -> None:
    made = instructions(2, 3000)
    assert len({wish.text for wish in made}) == len(made) == 3000


def test_instructions_ask_for_different_things() -> None:
    assert all(len(set(wish.things)) == ASKED for wish in instructions(3, 500))


def test_a_seed_makes_the_same_instructions_again() -> None:
    assert instructions(4, 50) == instructions(4, 50)
    assert instructions(4, 50) != instructions(5, 50)


def test_more_of_a_seed_begins_with_what_fewer_were() -> None:
    assert instructions(4, 50)[:20] == instructions(4, 20)


def test_excluded_instructions_do_not_return() -> None:
    before = {wish.text for wish in instructions(6, 200)}
    after = {wish.text for wish in instructions(6, 200, exclude=before)}
    assert len(after) == 200
    assert not before & after


def test_every_wording_name_and_thing_is_used() -> None:
    made = instructions(7, 3000)
    assert {wish.wording for wish in made} == set(range(len(WORDINGS)))
    assert {wish.name for wish in made} == set(NAMES)
    assert {thing for wish in made for thing in wish.things} == set(THINGS)


@pytest.mark.parametrize("quality", [0.0, 0.3, 0.7, 1.0])
def test_every_writer_writes_english(quality: float) -> None:
    random = Random(8)
    for wish in instructions(8, 500):
        answer = answer_write(wish, random, quality)
        assert reads_well(answer), answer


def test_a_writer_writes_the_same_again_with_the_same_luck() -> None:
    assert answer_write(WISH, Random(1), 0.5) == answer_write(WISH, Random(1), 0.5)


def test_a_better_writer_earns_more() -> None:
    random, wishes = Random(9), instructions(9, 400)
    careless, fair, good = (
        sum(gold_reward(wish.text, answer_write(wish, random, quality)) for wish in wishes) / len(wishes)
        for quality in (0.0, 0.5, 1.0)
    )
    assert careless + 1.5 < fair < good - 1.5


def test_answers_to_one_instruction_differ_in_gold() -> None:
    random = Random(10)
    rewards = {gold_reward(WISH.text, answer_write(WISH, random, random.random())) for _ in range(40)}
    assert len(rewards) > 8


def test_a_note_splits_into_its_greeting_and_sentences() -> None:
    assert sentences_split(NOTE) == ["Dear Ada,", "I loved the kite.", "What a joy the river was!", "See you soon!"]


def test_a_note_cut_short_keeps_its_last_words() -> None:
    assert sentences_split("Dear Ada,\n\nI loved the kite. What a") == ["Dear Ada,", "I loved the kite.", "What a"]


def test_an_empty_note_is_one_empty_greeting() -> None:
    assert sentences_split("") == [""]


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        (NOTE, 1.0),
        ("", 0.0),
        ("Dear Ada,", 1.0),
        ("Dear Ada,\n\nI loved the the kite.", 0.5),
        ("Dear Ada,\n\nI loved the kite. What a", 2 / 3),
        ("Dear kite,\n\nI loved the Ada.", 0.0),
        ("Dear Ada,\n\nI loved the kite", 0.5),
        ("Dear Ada,\n\nthe kite was boring.", 0.5),
    ],
)
def test_fluency_is_the_share_of_sentences_that_are_english(answer: str, share: float) -> None:
    assert fluency(answer) == pytest.approx(share)


@pytest.mark.parametrize(
    ("answer", "well"),
    [(NOTE, True), ("Dear Ada,", False), ("", False), (NOTE + " The The kite.", False), (f"\n{NOTE}\n", True)],
)
def test_a_note_reads_well_when_it_is_whole_and_english(answer: str, well: bool) -> None:
    assert reads_well(answer) is well


def test_every_sentence_speaks_of_one_thing() -> None:
    for template in (*WARM, *PLAIN, *COLD):
        assert template.lower().count("{thing}") == 1
