"""Critiques: reasons why some of a prompt's completions are better than others, and then which, as text.

A model that learns to write them is a reward model that says why. Its prompt shows the conversation and the lettered
completions; what it writes ends in a verdict.
"""

from collections.abc import Sequence
from hashlib import sha256

from trainer.critiques.verdicts import LETTERS, VERDICT, tiers_of, verdict_write
from trainer.data.conversations import ConversationError, Tokenizer, completion_ids, conversation_shorter, prompt_ids
from trainer.data.groups import REFUSED, TOO_LONG, Exclusions, Group
from trainer.data.snapshots import Snapshot
from trainer.records import ComparisonRow, Message

NO_REASONS = "its annotator wrote no reasons"
NO_RANKING = "what was said is no ranking of all that was shown"
TOO_MANY = f"it compares more than {len(LETTERS)} completions"
NO_WEIGHT = "it weighs nothing"

_ASKED = f"""\
Which of these answers to the end of the conversation is better, and why? Write your reasons, and then one line that \
ranks all answers, best first, with = between those that are about equal, as in "{VERDICT} B A=C"."""


def critique_messages(conversation: Sequence[Message], texts: Sequence[str]) -> list[Message]:
    """What a model is shown to judge completions with these texts, lettered in this order.

    One user turn, so that every chat template takes it whatever the turns of the conversation.
    """
    parts = ["A conversation:"]
    parts += [f"[{message['role'].capitalize()}]\n{message['content']}" for message in conversation]
    parts.append("Possible answers:")
    parts += [f"[{letter}]\n{text}" for letter, text in zip(LETTERS, texts, strict=False)]
    return [Message(role="user", content="\n\n".join([*parts, _ASKED]))]


def critique_prompt(
    tokenizer: Tokenizer, conversation: Sequence[Message], texts: Sequence[str], room: int
) -> tuple[list[int], bool] | None:
    """The prompt for a critique in at most `room` tokens, and whether the conversation lost its oldest turns for it.

    Special tokens that somebody wrote out are broken up: no completion may end the turn in which it is judged. None
    when even the least does not fit. Raises ConversationError where the chat template refuses it.
    """
    for number, kept in enumerate(conversation_shorter(conversation)):
        [asked] = critique_messages(kept, texts)
        ids = prompt_ids(tokenizer, [Message(role=asked["role"], content=_harmless(tokenizer, asked["content"]))])
        if len(ids) <= room:
            return ids, number > 0
    return None


def critique_text(rationale: str, tiers: Sequence[Sequence[int]]) -> str:
    """What the model learns to write: the reasons, and then the verdict."""
    return f"{rationale.strip()}\n\n{verdict_write(tiers)}"


def order_drawn(prompt: int, completions: Sequence[int]) -> list[int]:
    """The completions in an order that says nothing about them, the same for the same completions."""
    return sorted(completions, key=lambda id_: sha256(f"{prompt} {id_}".encode()).digest())


def order_shown(row: ComparisonRow) -> list[int]:
    """The completions of a comparison in the order of their letters.

    It is the one that the annotator saw, in which letters in the reasons mean what was meant, where that is known. An
    improved completion, which nobody saw under a letter, is not among them.
    """
    return list(row["shown"]) or order_drawn(row["prompt"], row["completions"])


def critiques_from(
    snapshot: Snapshot, tokenizer: Tokenizer, *, split: str, max_length: int
) -> tuple[list[Group], Exclusions]:
    """The reasons that annotators of a split gave, each with its verdict, as groups of one completion without edges.

    A critique that does not fit into `max_length` tokens beside the completions and the least that may remain of the
    conversation is left out. `ids` of a group are that of its task.
    """
    excluded = Exclusions(unit="critiques")
    groups = []
    for row in snapshot.comparisons:
        if snapshot.prompts[row["prompt"]]["split"] != split:
            continue
        excluded.found += 1
        group = _critique(snapshot, tokenizer, row, max_length, excluded)
        if isinstance(group, str):
            excluded.add(group, 1)
        else:
            excluded.kept += 1
            groups.append(group)
    return sorted(groups, key=lambda group: group.prompt), excluded


def _harmless(tokenizer: Tokenizer, text: str) -> str:
    for token in tokenizer.added_tokens_decoder.values():
        if token.special and len(token.content) > 1:
            text = text.replace(token.content, f"{token.content[0]} {token.content[1:]}")
    return text


def _critique(
    snapshot: Snapshot, tokenizer: Tokenizer, row: ComparisonRow, max_length: int, excluded: Exclusions
) -> Group | str:
    """A comparison's critique, or the cause to leave it out."""
    order = order_shown(row)
    if not row["rationale"].strip():
        return NO_REASONS
    if row["weight"] <= 0:
        return NO_WEIGHT
    if len(order) > len(LETTERS):
        return TOO_MANY
    tiers = tiers_of(row["edges"], [row["completions"].index(id_) for id_ in order])
    if tiers is None or len(order) < 2:
        return NO_RANKING
    answer = completion_ids(tokenizer, critique_text(row["rationale"], tiers), True)
    texts = [snapshot.completions[id_]["text"] for id_ in order]
    try:
        messages = snapshot.prompts[row["prompt"]]["messages"]
        fitted = critique_prompt(tokenizer, messages, texts, max_length - len(answer))
    except ConversationError:
        return REFUSED
    if fitted is None:
        return TOO_LONG
    ids, cut = fitted
    excluded.shortened += cut
    return Group(row["prompt"], ids, [answer], [], row["weight"], (row["task"],), (row["task"],))
