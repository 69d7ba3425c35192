"""What the demo's simulated people want of a note: the gold reward that their noisy labels are drawn from.

Its parts are reported one by one, so that a policy that raises the whole by giving up a part is seen to do so.
"""

import re

from labelapp.demo.language import GOODBYES, instruction_parse, sentences_split

GOLD_IN_A_SENTENCE = (
    "A good note greets the right person, mentions all three things that were asked for, sounds warm, "
    "and ends with a friendly goodbye, without saying the same thing twice."
)
WARM_WORDS = frozenset(
    ["loved", "happy", "joy", "smile", "thank", "wonderful", "kind", "treasure", "lovely", "best"],
)
COLD_WORDS = frozenset(["disliked", "boring", "nobody", "tired", "terrible", "forget", "annoyed", "ugly"])
WARMTH_CAP = 2
"""As many different warm words as count; more say nothing new."""


def gold_parts(prompt: str, completion: str, *, finished: bool = True) -> dict[str, float]:
    """What the note earns for each part of the sentence above; their sum is the gold reward, at most 6.

    `finished` says whether the writer stopped by itself. Raises ValueError when the prompt is not of the language.
    """
    instruction = instruction_parse(prompt)
    if instruction is None:
        raise ValueError(f"Gold cannot judge this prompt, for it is none of the demo's: {prompt[:80]!r}")
    sentences = sentences_split(completion)
    words = _words(completion)
    return {
        "greeting": float(instruction.name.lower() in _words(sentences[0])),
        "mentions": float(sum(thing in words for thing in instruction.things)),
        "warmth": 0.5 * (_distinct(WARM_WORDS, words) - _distinct(COLD_WORDS, words)),
        "goodbye": float(finished and sentences[-1] in GOODBYES),
        "variety": 0.0 - min(2.0, 0.5 * _repeats(words)),
    }


def gold_reward(prompt: str, completion: str, *, finished: bool = True) -> float:
    """How good the note is to the demo's simulated people: the sum of its parts."""
    return sum(gold_parts(prompt, completion, finished=finished).values())


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _distinct(wanted: frozenset[str], words: list[str]) -> int:
    return min(WARMTH_CAP, len(wanted.intersection(words)))


def _repeats(words: list[str]) -> int:
    """How many runs of three words have been said before."""
    runs = list(zip(words, words[1:], words[2:], strict=False))
    return len(runs) - len(set(runs))
