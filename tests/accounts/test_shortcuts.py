"""Keys of the labeling page: the usual ones, one's own, and none."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client

from labelapp.accounts.shortcuts import (
    ACTIONS,
    DEFAULTS,
    key_parse,
    key_shown,
    keys_of,
    shortcut_problems,
    shortcuts_of,
    shortcuts_reset,
    shortcuts_set,
)
from labelapp.errors import DomainError
from labelapp.models import User
from tests.query_counts import query_count

ClientOf = Callable[[User], Client]
URL = "/me/shortcuts/"


def form_of(user: User, **changed: str) -> dict[str, str]:
    """The form as the page shows it, with changes."""
    return {**keys_of(user), **changed}


def test_the_usual_keys_break_no_rule() -> None:
    assert shortcut_problems(DEFAULTS) == {}
    assert len(DEFAULTS) == len(ACTIONS) == 17
    assert (DEFAULTS["next_completion"], DEFAULTS["submit"], DEFAULTS["help"]) == ("j", "Control+Enter", "?")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("j", "j"),
        ("J", "j"),
        ("shift + n", "Shift+n"),
        ("Shift+N", "Shift+n"),
        ("ctrl+enter", "Control+Enter"),
        ("Cmd+Enter", "Control+Enter"),
        ("shift+ctrl+up", "Control+Shift+ArrowUp"),
        ("Shift+?", "?"),
        ("+", "+"),
        ("Alt++", "Alt++"),
        ("f9", "F9"),
        ("ж", "ж"),
        ("ctrl", None),
        ("shift+", None),
        ("hyper+x", None),
        ("word", None),
        (" ", None),
        ("\t", None),
        ("", None),
    ],
)
def test_keys_are_read_as_people_write_them(text: str, key: str | None) -> None:
    assert key_parse(text) == key
    if key:
        assert key_parse(key) == key


@pytest.mark.parametrize(
    ("key", "shown"),
    [("j", "J"), ("Shift+ArrowUp", "Shift + ↑"), ("Control+Enter", "Ctrl + Enter"), ("?", "?"), ("Alt++", "Alt + +")],
)
def test_keys_are_shown_as_keyboards_name_them(key: str, shown: str) -> None:
    assert key_shown(key) == shown


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("5", "Digits"),
        ("Alt+5", "Digits"),
        ("ArrowUp", "moves about"),
        ("Enter", "moves about"),
        ("Control+w", "browser"),
        ("Shift", "no key"),
        ("Tab", "no key"),
        ("N", "no key"),
        ("x" * 300, "no key"),
    ],
)
def test_keys_that_mean_something_else_are_refused(key: str, why: str) -> None:
    assert why in shortcut_problems({**DEFAULTS, "tie": key})["tie"]


def test_two_actions_never_share_a_key() -> None:
    problems = shortcut_problems({**DEFAULTS, "tie": "j"})
    assert problems.keys() == {"tie", "next_completion"}
    assert "next completion" in problems["tie"]


def test_only_what_differs_is_stored(lena: User) -> None:
    keys = shortcuts_set(user=lena, changes={"tie": "T", "skip": "s", "rank": ""})
    lena.refresh_from_db()
    assert lena.shortcuts == {"tie": "t"}
    assert keys == shortcuts_of(lena) == {**DEFAULTS, "tie": "t"}


def test_two_keys_can_change_places(lena: User) -> None:
    keys = shortcuts_set(user=lena, changes={"next_completion": "k", "previous_completion": "j"})
    assert (keys["next_completion"], keys["previous_completion"]) == ("k", "j")


@pytest.mark.parametrize("changes", [{"tie": "j"}, {"tie": "7"}, {"fly": "x"}])
def test_a_refused_change_changes_nothing(lena: User, changes: dict[str, str]) -> None:
    shortcuts_set(user=lena, changes={"rank": "o"})
    with pytest.raises(DomainError):
        shortcuts_set(user=lena, changes=changes)
    lena.refresh_from_db()
    assert lena.shortcuts == {"rank": "o"}


def test_switched_off_there_are_none_and_the_choice_is_kept(lena: User) -> None:
    assert shortcuts_set(user=lena, changes={"tie": "t"}, off=True) == {}
    assert shortcuts_set(user=lena, changes={}) == {}
    lena.refresh_from_db()
    assert shortcuts_of(lena) == {}
    assert shortcuts_set(user=lena, changes={}, off=False)["tie"] == "t"


def test_a_reset_gives_back_the_usual_keys(lena: User) -> None:
    shortcuts_set(user=lena, changes={"tie": "t"}, off=True)
    assert shortcuts_reset(user=lena) == DEFAULTS
    lena.refresh_from_db()
    assert lena.shortcuts == {}


def test_nobody_has_the_usual_keys() -> None:
    assert shortcuts_of(AnonymousUser()) == DEFAULTS


def test_the_page_saves_what_was_typed(lena: User, client_of: ClientOf) -> None:
    lenas = client_of(lena)
    page = lenas.get(URL).content.decode()
    assert 'value="Shift+ArrowUp"' in page
    assert "usually Ctrl + Enter" in page
    assert lenas.post(URL, form_of(lena, tie=" T ", rank="")).status_code == 302
    lena.refresh_from_db()
    assert lena.shortcuts == {"tie": "t"}
    assert 'value="t"' in lenas.get(URL).content.decode()


def test_the_page_says_what_is_wrong_beside_the_key(lena: User, client_of: ClientOf) -> None:
    response = client_of(lena).post(URL, form_of(lena, tie="j", skip="4"))
    assert response.status_code == 422
    page = response.content.decode()
    assert "J is also the key of “Go to the next completion”" in page
    assert "Digits are kept for ratings" in page
    lena.refresh_from_db()
    assert lena.shortcuts == {}


def test_the_page_switches_keys_off_and_on(lena: User, client_of: ClientOf) -> None:
    lenas = client_of(lena)
    lenas.post(URL, form_of(lena, off="on"))
    lena.refresh_from_db()
    assert shortcuts_of(lena) == {}
    assert " checked" in lenas.get(URL).content.decode()
    lenas.post(URL, form_of(lena))
    lena.refresh_from_db()
    assert shortcuts_of(lena) == DEFAULTS


def test_the_page_resets(lena: User, client_of: ClientOf) -> None:
    shortcuts_set(user=lena, changes={"tie": "t"}, off=True)
    assert client_of(lena).post(URL, form_of(lena, tie="j", reset="1")).status_code == 302
    lena.refresh_from_db()
    assert lena.shortcuts == {}


def test_the_menu_leads_there(lena: User, client_of: ClientOf) -> None:
    assert f'href="{URL}"' in client_of(lena).get("/").content.decode()


def test_the_page_costs_the_sign_in_alone(lena: User, client_of: ClientOf) -> None:
    assert query_count(client_of(lena), URL) == 2
