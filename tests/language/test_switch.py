"""Choosing a language: by the browser's wish, by the switch, and for as long as the reader likes."""

from collections.abc import Callable

from django.conf import settings
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.views.defaults import server_error

from labelapp.models import User

COOKIE = settings.LANGUAGE_COOKIE_NAME


def test_pages_are_in_english_unless_somebody_wishes_otherwise(client: Client) -> None:
    page = client.get(reverse("account_login")).text
    assert '<html lang="en" dir="ltr">' in page
    assert ">Sign in</h1>" in page


def test_the_browsers_language_is_the_first_guess(client: Client) -> None:
    page = client.get(reverse("account_login"), headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}).text
    assert '<html lang="zh-hans" dir="ltr">' in page
    assert ">登录</h1>" in page


def test_the_switch_works_signed_out_keeps_the_page_and_is_remembered() -> None:
    browser = Client(enforce_csrf_checks=True)
    page = browser.get(reverse("account_login")).text
    assert (
        '<button type="submit" class="btn-quiet" name="language" value="zh-hans" lang="zh-hans">简体中文</button>'
        in page
    )
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    where = "http://testserver" + reverse("account_login") + "?next=/projects/"
    answer = browser.post(
        reverse("set_language"), {"language": "zh-hans", "csrfmiddlewaretoken": token}, headers={"Referer": where}
    )
    assert (answer.status_code, answer.headers["Location"]) == (302, where)
    cookie = answer.cookies[COOKIE]
    assert (cookie.value, cookie["httponly"], cookie["samesite"]) == ("zh-hans", True, "Lax")
    assert cookie["max-age"] > 300 * 24 * 3600
    page = browser.get(reverse("account_login"), headers={"Accept-Language": "en"}).text
    assert '<html lang="zh-hans"' in page
    assert '<button type="submit" class="btn-quiet" name="language" value="en" lang="en">English</button>' in page


def test_the_switch_sends_nobody_to_another_site(client: Client) -> None:
    answer = client.post(reverse("set_language"), {"language": "zh-hans"}, headers={"Referer": "https://evil.example/"})
    assert answer.headers["Location"] == "/"


def test_a_language_that_we_do_not_speak_changes_nothing(client: Client) -> None:
    assert COOKIE not in client.post(reverse("set_language"), {"language": "tlh"}).cookies
    client.cookies[COOKIE] = "tlh"
    assert '<html lang="en"' in client.get(reverse("account_login")).text


def test_signed_in_people_have_the_switch_too(client_of: Callable[[User], Client], lena: User) -> None:
    browser = client_of(lena)
    assert 'value="zh-hans"' in browser.get(reverse("home")).text
    browser.cookies[COOKIE] = "zh-hans"
    assert 'value="en"' in browser.get(reverse("home")).text


def test_sign_in_and_its_complaints_are_in_chinese(client: Client, lena: User) -> None:
    client.cookies[COOKIE] = "zh-hans"
    page = client.post(reverse("account_login"), {"login": lena.email, "password": "wrong"}).text
    for english in ("Password", "Email", "Sign in", "Remember"):
        assert english not in page
    assert "密码" in page


def test_the_page_for_faults_has_no_switch_but_a_language() -> None:
    with translation.override("zh-hans"):
        page = server_error(RequestFactory().get("/")).content.decode()
    assert '<html lang="zh-hans"' in page
    assert 'name="language"' not in page


def test_dates_are_written_as_the_language_writes_them() -> None:
    day = timezone.datetime(2026, 3, 9, 14, 5)
    assert date_format(day, "DATETIME_FORMAT") == "9 March 2026, 14:05"
    with translation.override("zh-hans"):
        assert date_format(day, "DATETIME_FORMAT") == "2026年3月9日 14:05"
        assert date_format(day, "DATE_FORMAT") == "2026年3月9日"
