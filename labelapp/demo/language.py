"""A small language of our own: people ask for a note to a friend about three things, and somebody writes it.

All its text is made here, so a tiny model can learn it in a minute, and what it writes can be checked by rule. A writer
of low quality forgets things, mixes them up, sounds cold and stops without a goodbye, but still writes English.
"""

import re
from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from random import Random

NAMES = (
    *["Ada", "Alma", "Ben", "Carl", "Clara", "David", "Dora", "Eli", "Ella", "Emma", "Eva", "Felix"],
    *["Frank", "George", "Grace", "Hana", "Hugo", "Ida", "Iris", "Ivan", "Jack", "Jonas", "Julia"],
    *["Karim", "Laura", "Leo", "Lily", "Lucy", "Maria", "Mark", "Mina", "Nina", "Noah", "Nora", "Oscar"],
    *["Paul", "Rosa", "Ruth", "Sam", "Sara", "Simon", "Sofia", "Theo", "Tim", "Tom", "Vera", "Yusuf"],
    *["Zoe"],
)
THINGS = (
    *["bakery", "basket", "bicycle", "blanket", "boat", "bridge", "cake", "campfire", "castle", "clock"],
    *["concert", "cottage", "dog", "drum", "farm", "flute", "forest", "fountain", "garden", "harbor"],
    *["hat", "island", "kite", "kitten", "lake", "lamp", "lantern", "letter", "library", "lighthouse"],
    *["market", "meadow", "mountain", "museum", "orchard", "painting", "parade", "parrot", "piano"],
    *["picnic", "pie", "pony", "quilt", "rainbow", "ring", "river", "scarf", "snowman", "song", "soup"],
    *["story", "sunset", "teapot", "telescope", "tent", "tower", "train", "violin", "waterfall", "window"],
)
ASKED = 3
"""Things that an instruction asks for."""

WORDINGS = (
    "Write to {name} about {first}, {second} and {third}.",
    "Send {name} a note about {first}, {second} and {third}.",
    "Thank {name} for {first}, {second} and {third}.",
    "Tell {name} of {first}, {second} and {third}, please.",
)

GREETINGS = ("Dear {name},", "My dear {name},", "Hello {name},", "Hi {name},")
WARM = (
    "I loved {thing}.",
    "{Thing} made me happy.",
    "What a joy {thing} was!",
    "I smile when I think of {thing}.",
    "Thank you for {thing}.",
    "It was wonderful to see {thing} {when}.",
    "You were kind to show me {thing}.",
    "I will treasure {thing}.",
    "How lovely {thing} was {when}!",
    "{Thing} was the best of all.",
)
PLAIN = (
    "I saw {thing} {when}.",
    "We talked about {thing}.",
    "Someone asked me about {thing}.",
    "There is little news of {thing}.",
    "I have a picture of {thing}.",
    "My sister found {thing} {when}.",
    "{Thing} looked the same {when}.",
)
COLD = (
    "I disliked {thing}.",
    "{Thing} was boring.",
    "Nobody cared about {thing}.",
    "I was tired of {thing} {when}.",
    "{Thing} was a terrible mistake.",
    "I would rather forget {thing}.",
    "{Thing} annoyed me {when}.",
    "I found {thing} ugly.",
)
TIMES = ("on Monday", "on Friday", "last night", "this morning", "after lunch", "last summer")
GOODBYES = ("See you soon!", "Lots of love!", "Warm wishes!", "Please write back!", "A big hug!")
CURT = ("That is all.", "I have to go.", "No need to answer.")


@dataclass(frozen=True)
class Instruction:
    """Somebody's wish for a note: to whom, about which things, and in which wording it is put."""

    name: str
    things: tuple[str, str, str]
    wording: int

    @property
    def text(self) -> str:
        first, second, third = (f"the {thing}" for thing in self.things)
        return WORDINGS[self.wording].format(name=self.name, first=first, second=second, third=third)

    @property
    def messages(self) -> list[dict[str, str]]:
        return [{"role": "user", "content": self.text}]


def instruction_parse(text: str) -> Instruction | None:
    """The instruction whose text this is; None where it is none of this language."""
    for wording, pattern in enumerate(_wording_patterns()):
        if found := pattern.fullmatch(text.strip()):
            return Instruction(found["name"], (found["first"], found["second"], found["third"]), wording)
    return None


def instructions(seed: int, count: int, *, exclude: Container[str] = ()) -> list[Instruction]:
    """As many different instructions as asked, the same for a seed, and none whose text is in `exclude`."""
    random = Random(seed)  # noqa: S311 (made-up text, no secret)
    made: dict[str, Instruction] = {}
    while len(made) < count:
        first, second, third = random.sample(THINGS, ASKED)
        instruction = Instruction(random.choice(NAMES), (first, second, third), random.randrange(len(WORDINGS)))
        if instruction.text not in exclude:
            made[instruction.text] = instruction
    return list(made.values())


def answer_write(instruction: Instruction, random: Random, quality: float) -> str:
    """A note for the instruction by a writer of this quality, from 0 (careless and cold) to 1 (thoughtful and warm)."""
    greeting = random.choice(GREETINGS).format(name=_addressee(instruction, random, quality))
    sentences = _sentences_write(_subjects(instruction, random, quality), random, quality)
    if random.random() < 0.6 * (1 - quality):
        sentences.append(random.choice(sentences))
    goodbye = _goodbye(random, quality)
    return "\n\n".join([greeting, " ".join(sentences), *([goodbye] if goodbye else [])])


def sentences_split(answer: str) -> list[str]:
    """The greeting (the first line), then every sentence, each with its closing mark."""
    greeting, _, rest = answer.strip().partition("\n")
    return [greeting, *re.findall(r"\S[^.!?]*[.!?]?", rest)]


def fluency(answer: str) -> float:
    """The share of the answer's sentences, its greeting included, that a writer of this language could have written."""
    greeting, *sentences = sentences_split(answer)
    good = [bool(_sentence_pattern().fullmatch(sentence)) for sentence in sentences]
    good.append(bool(_greeting_pattern().fullmatch(greeting)))
    return sum(good) / len(good)


def reads_well(answer: str) -> bool:
    """Whether this is a whole note: a greeting, at least one sentence, and each as the language has it."""
    return len(sentences_split(answer)) > 1 and fluency(answer) == 1.0


def _addressee(instruction: Instruction, random: Random, quality: float) -> str:
    return instruction.name if random.random() < 0.6 + 0.4 * quality else random.choice(NAMES)


def _subjects(instruction: Instruction, random: Random, quality: float) -> list[str]:
    """What the note speaks of, in the order asked: some things forgotten, some mixed up."""
    subjects = []
    for thing in instruction.things:
        if random.random() < 0.3 + 0.6 * quality:
            subjects.append(thing)
        elif random.random() < 0.9:
            subjects.append(random.choice(THINGS))
    return subjects or [random.choice(THINGS)]


def _sentences_write(subjects: list[str], random: Random, quality: float) -> list[str]:
    """One sentence about each thing, no two made alike."""
    used: list[str] = []
    for _ in subjects:
        [templates] = random.choices((WARM, PLAIN, COLD), (quality, 0.4, 1 - quality))
        used.append(random.choice([template for template in templates if template not in used]))
    pairs = zip(used, subjects, strict=True)
    return [
        template.format(thing=f"the {thing}", Thing=f"The {thing}", when=random.choice(TIMES))
        for template, thing in pairs
    ]


def _goodbye(random: Random, quality: float) -> str:
    friendly, other = 0.2 + 0.7 * quality, 0.4 * (1 - quality)
    [goodbyes] = random.choices((GOODBYES, CURT, ("",)), (friendly, other, other))
    return random.choice(goodbyes)


def _any_of(words: tuple[str, ...]) -> str:
    return "(?:" + "|".join(map(re.escape, words)) + ")"


def _pattern(template: str, **slots: str) -> str:
    """The template as a regular expression, with one for each of its slots."""
    parts = re.split(r"\{(\w+)\}", template)
    return "".join(slots[part] if index % 2 else re.escape(part) for index, part in enumerate(parts))


@cache
def _wording_patterns() -> list[re.Pattern[str]]:
    slots = {"name": f"(?P<name>{_any_of(NAMES)})"}
    slots |= {slot: f"the (?P<{slot}>{_any_of(THINGS)})" for slot in ("first", "second", "third")}
    return [re.compile(_pattern(wording, **slots)) for wording in WORDINGS]


@cache
def _greeting_pattern() -> re.Pattern[str]:
    return re.compile("|".join(_pattern(greeting, name=_any_of(NAMES)) for greeting in GREETINGS))


@cache
def _sentence_pattern() -> re.Pattern[str]:
    thing = _any_of(THINGS)
    slots = {"thing": f"the {thing}", "Thing": f"The {thing}", "when": _any_of(TIMES)}
    return re.compile("|".join(_pattern(template, **slots) for template in (*WARM, *PLAIN, *COLD, *GOODBYES, *CURT)))
