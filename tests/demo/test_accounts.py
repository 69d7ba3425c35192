"""Who can sign in to the demo, and how anybody knows."""

import stat
from pathlib import Path

import pytest
from django.contrib.auth.password_validation import validate_password
from django.test import Client
from django.urls import reverse

from labelapp.accounts.services import membership_end, membership_grant
from labelapp.demo.accounts import Account, accounts_keep, accounts_kept, accounts_path, accounts_table, password_new
from labelapp.demo.seed import demo_seed
from labelapp.models import Membership, Project, Role, User

LENA = Account("Lena", "Labeler", "lena@demo.localhost", "abcd-efgh-jkmn-pqrs")


def test_the_file_is_for_its_owner_only(var: Path) -> None:
    accounts_keep([LENA])
    assert accounts_path() == var / "demo-accounts.json"
    assert stat.S_IMODE(accounts_path().stat().st_mode) == 0o600


def test_it_reads_back_what_it_wrote() -> None:
    accounts_keep([LENA])
    assert accounts_kept() == [LENA]


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"name": "Lena"}]', "3"])
def test_a_damaged_file_holds_no_accounts(content: str) -> None:
    accounts_keep([LENA])
    accounts_path().write_text(content)
    assert accounts_kept() == []


def test_passwords_are_long_and_each_is_another() -> None:
    passwords = {password_new() for _ in range(200)}
    assert len(passwords) == 200
    for password in passwords:
        validate_password(password)


@pytest.mark.django_db
def test_everybody_can_sign_in_with_the_password_of_the_file() -> None:
    demo_seed()
    for account in accounts_kept():
        answer = Client().post(reverse("account_login"), {"login": account.email, "password": account.password})
        assert (answer.status_code, answer.headers.get("Location")) == (302, "/"), account


@pytest.mark.django_db
def test_the_table_says_who_signs_in_how() -> None:
    accounts = demo_seed() or []
    heading, names, *rows = accounts_table().splitlines()
    assert heading == "Demo accounts:"
    assert names.split() == ["Name", "Role", "E-mail", "Password"]
    assert [row.split() for row in rows] == [[a.name, a.role, a.email, a.password] for a in accounts]
    assert [account.role for account in accounts] == ["Admin", "Reviewer", "Labeler", "Labeler"]


@pytest.mark.django_db
def test_the_table_says_where_a_password_was_changed() -> None:
    lena = _after_seeding("Lena")
    old = _password_of("Lena")
    lena.set_password("quite another one")
    lena.save()
    table = accounts_table()
    assert old not in table
    assert _password_of("Liam") in table
    assert f"no longer those in {accounts_path()}" in table


@pytest.mark.django_db
def test_the_table_shows_roles_as_they_are_now() -> None:
    lena, liam = _after_seeding("Lena"), User.objects.get(name="Liam")
    demo = Project.objects.get(slug="demo")
    membership_grant(project=demo, user=lena, role=Role.ADMIN, actor=None)
    membership_end(membership=Membership.objects.get(user=liam), actor=lena)
    rows = accounts_table().splitlines()
    assert "Admin " in _row_of("Lena", rows)
    assert "no member now" in _row_of("Liam", rows)


@pytest.mark.django_db
def test_the_table_leaves_out_who_cannot_sign_in() -> None:
    _after_seeding("Lena")
    User.objects.filter(name="Lena").update(is_active=False)
    assert "lena@" not in accounts_table()
    assert "liam@" in accounts_table()


@pytest.mark.django_db
def test_without_the_file_it_says_which_one_is_missing() -> None:
    demo_seed()
    accounts_path().unlink()
    assert f"not known: {accounts_path()}" in accounts_table()


@pytest.mark.django_db
def test_without_a_demo_it_shows_no_passwords() -> None:
    accounts_keep([LENA])
    assert accounts_table() == "There is no demo project here."


def _after_seeding(name: str) -> User:
    demo_seed()
    return User.objects.get(name=name)


def _password_of(name: str) -> str:
    return next(account.password for account in accounts_kept() if account.name == name)


def _row_of(name: str, rows: list[str]) -> str:
    return next(row for row in rows if row.strip().startswith(name))
