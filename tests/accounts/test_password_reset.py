"""A forgotten password: from the sign-in page to a new one."""

import re

from django.core import mail
from django.test import Client
from django.urls import reverse

from labelapp.models import User
from tests.conftest import PASSWORD

NEW = "a longer horse battery"


def test_who_forgot_their_password_chooses_a_new_one(lena: User, client: Client) -> None:
    reset = reverse("account_reset_password")
    assert f'href="{reset}"' in client.get(reverse("account_login")).text
    sent = client.post(reset, {"email": lena.email}, follow=True)
    assert sent.status_code == 200
    (letter,) = mail.outbox
    assert letter.to == [lena.email]
    found = re.search(r"http://testserver(/\S+)", letter.body)
    assert found is not None
    page = client.get(found[1], follow=True)
    form_at = page.redirect_chain[-1][0]
    assert client.post(form_at, {"password1": NEW, "password2": NEW}, follow=True).status_code == 200
    lena.refresh_from_db()
    assert lena.check_password(NEW)
    assert not lena.check_password(PASSWORD)


def test_a_reset_does_not_tell_whether_an_account_exists(lena: User, client: Client) -> None:
    answers = [
        client.post(reverse("account_reset_password"), {"email": email}, follow=True)
        for email in (lena.email, "nobody@example.com")
    ]
    assert answers[0].redirect_chain == answers[1].redirect_chain
    assert answers[0].status_code == answers[1].status_code == 200
