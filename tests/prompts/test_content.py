"""What a prompt says, its identity, and its split."""

from collections import Counter

import pytest

from labelapp.prompts.content import content_hash, split_of


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_the_hash_is_of_canonical_json() -> None:
    """Worked out with `printf '[["user","Why?"]]' | sha256sum`."""
    assert content_hash([user("Why?")]) == "8ebc0118da86957eeed740ad2fdfb7dd0624c37132560b772bbf4ad34c7d852d"
    assert content_hash([{"content": "Why?", "role": "user"}]) == content_hash([user("Why?")])


@pytest.mark.parametrize("text", ["Why? ", "Why?\n\t\n", "Why?\r\n"])
def test_trailing_white_space_does_not_count(text: str) -> None:
    assert content_hash([user(text)]) == content_hash([user("Why?")])


def test_composed_and_decomposed_letters_are_the_same() -> None:
    assert content_hash([user("caf\u00e9")]) == content_hash([user("cafe\u0301")])


@pytest.mark.parametrize("text", [" Why?", "why?", "Why", "Why??", "Ｗhy?"])
def test_all_else_counts(text: str) -> None:
    assert content_hash([user(text)]) != content_hash([user("Why?")])


def test_roles_and_turns_count() -> None:
    hashes = {
        content_hash([user("a"), user("b")]),
        content_hash([user("ab")]),
        content_hash([user("b"), user("a")]),
        content_hash([{"role": "system", "content": "a"}, user("b")]),
    }
    assert len(hashes) == 4


def test_splits_come_in_the_promised_shares() -> None:
    shares = Counter(split_of("salt", str(number)) for number in range(20_000))
    assert shares["train"] == pytest.approx(18_000, rel=0.02)
    assert shares["validation"] == pytest.approx(1_000, rel=0.15)
    assert shares["test"] == pytest.approx(1_000, rel=0.15)


@pytest.mark.parametrize(("key", "split"), [("a", "train"), ("y", "validation"), ("z", "validation"), ("53", "test")])
def test_splits_are_for_ever(key: str, split: str) -> None:
    """Worked out with `printf 'salt:y' | sha256sum`: from e666… on it is validation, from f333… on test."""
    assert split_of("salt:", key) == split


def test_another_salt_is_another_split() -> None:
    differing = sum(split_of("one", str(number)) != split_of("two", str(number)) for number in range(1_000))
    assert differing > 100
