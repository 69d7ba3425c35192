"""The demo's gold reward, by hand."""

import pytest

from labelapp.demo.gold import COLD_WORDS, GOLD_IN_A_SENTENCE, WARM_WORDS, gold_parts, gold_reward
from labelapp.demo.language import COLD, GOODBYES, PLAIN, WARM, WORDINGS

PROMPT = "Write to Ada about the kite, the river and the lamp."
BEST = "Dear Ada,\n\nI loved the kite. What a joy the river was! Thank you for the lamp.\n\nSee you soon!"


def parts(completion: str, *, finished: bool = True) -> tuple[float, ...]:
    """Greeting, mentions, warmth, goodbye, variety."""
    return tuple(gold_parts(PROMPT, completion, finished=finished).values())


def test_the_parts_have_names() -> None:
    assert list(gold_parts(PROMPT, BEST)) == ["greeting", "mentions", "warmth", "goodbye", "variety"]


def test_the_best_note_earns_six() -> None:
    assert parts(BEST) == (1.0, 3.0, 1.0, 1.0, 0.0)
    assert gold_reward(PROMPT, BEST) == 6.0


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("", (0, 0, 0, 0, 0)),
        ("Dear Ben,\n\nI saw the kite.", (0, 1, 0, 0, 0)),
        ("Hi Ada,\n\nI saw the kite. I saw the kite.", (1, 1, 0, 0, -1.0)),
        ("Hi Ada,\n\nI loved the kite.", (1, 1, 0.5, 0, 0)),
        ("Hi Ada,\n\nThe lamp was boring. I found the kite ugly.\n\nThat is all.", (1, 2, -1.0, 0, 0)),
        ("Hi Ada,\n\nI loved the lamp. The kite was boring.", (1, 2, 0, 0, 0)),
        ("Hi Ada,\n\nThe cake looked the same.\n\nA big hug!", (1, 0, 0, 1, 0)),
        ("A big hug! Hi Ada,\n\nI saw the lamp.", (1, 1, 0, 0, 0)),
    ],
)
def test_each_part_by_hand(completion: str, expected: tuple[float, ...]) -> None:
    assert parts(completion) == expected


def test_a_note_that_did_not_end_by_itself_has_no_goodbye() -> None:
    assert parts(BEST, finished=False) == (1.0, 3.0, 1.0, 0.0, 0.0)
    assert gold_reward(PROMPT, BEST, finished=False) == 5.0


def test_naming_the_person_later_is_no_greeting() -> None:
    assert parts("Hello Ben,\n\nI saw Ada and the kite.")[0] == 0.0


def test_a_thing_counts_once_however_often_it_is_mentioned() -> None:
    assert parts("Hi Ada,\n\nI loved the kite. The kite made me happy.")[1] == 1.0


def test_part_of_a_word_is_no_mention() -> None:
    assert parts("Hi Ada,\n\nI saw the kitesurfer and the lamppost.")[1] == 0.0


def test_more_warm_words_than_two_earn_nothing_more() -> None:
    two = "Hi Ada,\n\nI loved the kite. The river made me happy."
    three = two + " Thank you for the lamp."
    assert parts(two)[2] == parts(three)[2] == 1.0


def test_the_same_warm_word_again_earns_nothing_more() -> None:
    assert parts("Hi Ada,\n\nI loved the kite. I loved the lamp.")[2] == 0.5


def test_repeating_costs_two_at_most() -> None:
    assert parts("Hi Ada,\n\n" + "I saw the kite. " * 9)[4] == -2.0


def test_a_goodbye_must_come_last() -> None:
    assert parts("Hi Ada,\n\nSee you soon! I saw the kite.")[3] == 0.0


@pytest.mark.parametrize("goodbye", GOODBYES)
def test_every_goodbye_counts(goodbye: str) -> None:
    assert parts(f"Hi Ada,\n\nI saw the kite.\n\n{goodbye}")[3] == 1.0


def test_a_prompt_of_another_language_is_refused() -> None:
    with pytest.raises(ValueError, match="none of the demo's: 'Why is the sky blue"):
        gold_parts("Why is the sky blue?", BEST)


@pytest.mark.parametrize("wording", WORDINGS)
def test_every_wording_is_judged_alike(wording: str) -> None:
    prompt = wording.format(name="Ada", first="the lamp", second="the kite", third="the river")
    assert gold_reward(prompt, BEST) == 6.0


@pytest.mark.parametrize(("templates", "warmth"), [(WARM, 0.5), (PLAIN, 0.0), (COLD, -0.5)])
def test_every_sentence_has_the_warmth_of_its_kind(templates: tuple[str, ...], warmth: float) -> None:
    for template in templates:
        sentence = template.format(thing="the bridge", Thing="The bridge", when="last night")
        assert parts(f"Hi Ada,\n\n{sentence}")[2] == warmth, sentence


def test_no_word_is_both_warm_and_cold() -> None:
    assert not WARM_WORDS & COLD_WORDS


def test_the_sentence_names_every_part() -> None:
    for word in ("greets", "mentions", "warm", "goodbye", "twice"):
        assert word in GOLD_IN_A_SENTENCE
