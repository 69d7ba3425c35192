import pytest
from tests.factories import *
pytestmark = pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("k", [2, 4])
def test_shots(open_as, lena, project, live_server, k):
    batch_with_tasks(project, protocol_make(project, guidelines="Be kind. **Help** first.", strength_steps=9, asks_rationale=True, asks_confidence=True), tasks=1, k=k)
    page = open_as(lena)
    page.goto(live_server.url + "/projects/garden-helper/label/")
    for w in (390, 1440):
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": w, "height": 900})
            page.wait_for_timeout(400)
            page.screenshot(path=f"/tmp/shots/label-{k}-{w}-{scheme}.png", full_page=True)
