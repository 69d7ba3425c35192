"""The pages of runs with a hand on the keyboard: suggestions that follow the model, and ticks that stay."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from labelapp.models import Job, ModelVersion, Project, User
from tests.factories import reward_make, run_make
from tests.training.weights import weights_write

OpenAs = Callable[[User], Page]
pytestmark = pytest.mark.django_db(transaction=True)
RUNS = "/projects/garden-helper/runs/"


def model_make(project: Project, folder: Path, parameters: int) -> ModelVersion:
    """A model of that size, of which only the header is there."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    weights_write(folder / "model.safetensors", {"w": (parameters,)}, whole=False)
    return ModelVersion.objects.create(
        project=project, name=folder.name, kind="base", state="ready", location=str(folder)
    )


def test_suggestions_follow_the_model_and_leave_what_was_written(
    open_as: OpenAs, omar: User, project: Project, live_server: Any, tmp_path: Path
) -> None:
    run_make(project)
    large = model_make(project, tmp_path / "large", 2_000_000_000)
    small = model_make(project, tmp_path / "small", 1_500_000)
    page = open_as(omar)
    page.goto(f"{live_server.url}{RUNS}new/?kind=sft&start={small.pk}")
    rate = page.get_by_label("Learning rate")
    expect(page.get_by_text("Suggested for 1.5 million parameters")).to_be_visible()
    first = rate.input_value()
    page.locator("summary", has_text="Memory and speed").click()
    page.get_by_label("Gradient checkpointing").select_option("yes")
    page.get_by_label("Epochs").fill("7")
    page.get_by_label("Starting model").select_option(str(large.pk))
    expect(page.get_by_text("Suggested for 2 billion parameters")).to_be_visible()
    expect(rate).not_to_have_value(first)
    expect(page.get_by_label("Epochs")).to_have_value("7")
    expect(page.locator("details.option-group[open]")).to_have_count(1)
    rate.fill("0.123")
    page.get_by_label("Starting model").select_option(str(small.pk))
    expect(page.get_by_text("Suggested for 1.5 million parameters")).to_be_visible()
    expect(rate).to_have_value("0.123")


def test_a_rank_of_adapters_brings_its_own_rate(
    open_as: OpenAs, omar: User, project: Project, live_server: Any, tmp_path: Path
) -> None:
    run_make(project)
    small = model_make(project, tmp_path / "small", 1_500_000)
    page = open_as(omar)
    page.goto(f"{live_server.url}{RUNS}new/?kind=sft&start={small.pk}")
    first = float(page.get_by_label("Learning rate").input_value())
    page.get_by_label("LoRA rank").fill("8")
    page.get_by_label("LoRA rank").press("Tab")
    expect(page.get_by_text("parameters and LoRA")).to_be_visible()
    assert float(page.get_by_label("Learning rate").input_value()) == pytest.approx(10 * first)


def test_models_are_combined_from_the_page_of_one(
    open_as: OpenAs, omar: User, project: Project, live_server: Any
) -> None:
    helpful, safe, short = (reward_make(project, name) for name in ("Helpful", "Safe", "Short"))
    page = open_as(omar)
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{live_server.url}/projects/garden-helper/models/{helpful.pk}/")
    page.get_by_role("link", name="Combine").click()
    page.get_by_label("Name").fill("All three")
    expect(page.get_by_label("Model 1")).to_have_value(str(helpful.pk))
    page.get_by_label("Model 2").select_option(str(helpful.pk))
    page.locator("summary", has_text="More models").click()
    page.get_by_label("Model 3").select_option(str(short.pk))
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_text("“Helpful” is chosen twice.")).to_be_visible()
    expect(page.get_by_label("Model 3")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_label("Model 2").select_option(str(safe.pk))
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("ol.members li")).to_have_text(["Helpful", "Safe", "Short"])
    expect(page.get_by_text("Waiting")).to_be_visible()


def test_runs_are_ticked_and_compared_by_the_keyboard(
    open_as: OpenAs, omar: User, project: Project, live_server: Any
) -> None:
    names = ["One", "Two", "Three"]
    for name in names:
        run_make(project, name)
    page = open_as(omar)
    page.goto(live_server.url + RUNS)
    for name in ("One", "Three"):
        page.get_by_label(f"Compare {name}").focus()
        page.keyboard.press("Space")
    page.get_by_role("button", name="Compare what is ticked").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="What differs")).to_be_visible()
    heads = page.locator("table.compare").first.locator("thead a")
    assert sorted(heads.all_inner_texts()) == ["One", "Three"]


def test_a_tick_stays_while_the_list_is_asked_again(
    open_as: OpenAs, omar: User, project: Project, live_server: Any
) -> None:
    run = run_make(project, "Live")
    run_make(project, "Other")
    page = open_as(omar)
    page.clock.install()
    page.goto(live_server.url + RUNS)
    page.get_by_label("Compare Live").check()
    Job.objects.filter(pk=run.job_id).update(message="Step 3 of 9")
    page.clock.run_for(6_000)
    expect(page.get_by_text("Step 3 of 9")).to_be_visible()
    expect(page.get_by_label("Compare Live")).to_be_checked()


def test_a_wide_comparison_scrolls_in_its_own_box(
    open_as: OpenAs, omar: User, project: Project, live_server: Any
) -> None:
    runs = [run_make(project, f"A run with a long name, number {number}") for number in range(6)]
    page = open_as(omar)
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{live_server.url}{RUNS}compare/?{'&'.join(f'run={run.pk}' for run in runs)}")
    box = page.locator(".scroll").first
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(400)
    assert box.evaluate("box => box.scrollLeft") > 0
