"""What every page is served with: vendored files as published, readable colours, nothing inline, nothing foreign."""

import gzip
import hashlib
import re
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "static"
STYLE = (STATIC / "prefloop.css").read_text()
VENDORED = re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", (STATIC / "vendor" / "README.md").read_text(), re.M)
TOKENS = {
    name: {"light": light, "dark": dark}
    for name, light, dark in re.findall(r"--([a-z-]+): light-dark\((#\w+), (#\w+)\)", STYLE)
}

GROUNDS = ("paper", "surface", "sunken")
TONES = ("accent", "good", "warn", "bad")
TEXT = [
    *product(("ink", "muted", "accent", "accent-strong", "good", "bad"), GROUNDS),
    *product(("code-word", "code-text", "code-name", "code-number"), ("sunken",)),
    *((tone, f"{tone}-soft") for tone in TONES),
    *(("ink", f"{tone}-soft") for tone in TONES),
    *(("warn", "surface"), ("accent-strong", "accent-soft"), ("on-accent", "accent"), ("on-accent", "accent-strong")),
    *(("on-bad", "bad"), ("surface", "good"), ("surface", "muted"), ("paper", "ink")),
]
SIGNS = [*product(("edge", "focus", "accent"), ("paper", "surface")), ("accent", "line"), ("focus", "sunken")]


def luminance(colour: str) -> float:
    """Relative luminance of #rgb or #rrggbb as WCAG 2.2 defines it, 0 to 1."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_signs_stand_out_from_their_ground(theme: str) -> None:
    for pairs, least in ((TEXT, 4.5), (SIGNS, 3.0)):
        for front, ground in pairs:
            found = contrast(TOKENS[front][theme], TOKENS[ground][theme])
            assert found >= least, f"{front} on {ground} in {theme}: {found:.2f}"


def test_black_on_white_has_the_contrast_of_the_standard() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)


def test_every_token_that_is_used_exists() -> None:
    used = set(re.findall(r"var\(--([a-z0-9-]+)", STYLE))
    assert used <= set(re.findall(r"--([a-z0-9-]+):", STYLE))


def test_vendored_files_are_those_that_were_published() -> None:
    scripts = {path.name for path in (STATIC / "vendor").glob("*.js")}
    assert scripts == {name for name, _ in VENDORED}
    for name, digest in VENDORED:
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest


def test_the_stylesheet_is_small_and_fetches_nothing() -> None:
    assert len(gzip.compress(STYLE.encode())) < 14_000
    assert "url(" not in STYLE
    assert "@import" not in STYLE


@pytest.mark.parametrize("template", sorted((ROOT / "templates").rglob("*.html")), ids=lambda path: path.name)
def test_templates_hold_no_inline_style_or_script(template: Path) -> None:
    source = template.read_text()
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|hx-on", source)
    assert not re.search(r"<script(?![^>]*\ssrc=)", source)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", source)


def test_every_icon_that_is_asked_for_is_drawn() -> None:
    drawn = set(re.findall(r'<symbol id="([a-z-]+)"', (STATIC / "icons.svg").read_text()))
    sources = "".join(path.read_text() for path in (ROOT / "templates").rglob("*.html"))
    assert set(re.findall(r'components/icon\.html" with name="([a-z-]+)"', sources)) <= drawn
