from tests.browser.test_guidelines import *  # noqa
from tests.browser.test_guidelines import changed, worked, protocol
import json
def test_shots(axe_page, lena, omar, annotator, changed, worked, live_server):
    example_create(project=changed.project, protocol_name=changed.name, title="A poem instead of prose", text="The prompt asks for prose, and an answer rhymes.\n\n- It **misses the task**.\n- Rank it last.", actor=omar)
    page = axe_page(lena)
    batch_with_tasks(changed.project, changed, tasks=1)
    v1 = changed.project.protocols.get(version=1).pk
    paths = {"guide": f"/guidelines/?protocol={changed.pk}&compare={v1}&q=answer", "practice": "/practice/", "one": f"/practice/{worked[1].pk}/", "keys": None}
    for name, path in paths.items():
        for scheme, width in [("light", 1440), ("dark", 390)]:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(live_server.url + (HOME + path if path else "/me/shortcuts/"))
            if name == "guide" and width == 390:
                print(page.evaluate("""[...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > 391).map(e => e.tagName + '.' + e.className + ' ' + e.textContent.trim().slice(0,40) + ' ' + e.getBoundingClientRect().right)"""))
            if name == "one":
                page.locator("#ranking").fill("A B=C D"); page.locator("#ranking").press("Enter")
                page.wait_for_selector("#answer-head"); page.wait_for_timeout(300)
            page.screenshot(path=f"/tmp/shot-{name}-{width}.png", full_page=True)
    page.emulate_media(color_scheme="light"); page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(live_server.url + HOME + "/label/"); page.keyboard.press("?"); page.wait_for_selector(".guidelines-panel"); page.wait_for_timeout(500)
    page.screenshot(path="/tmp/shot-panel-1440.png")
    page.emulate_media(color_scheme="dark"); page.set_viewport_size({"width": 390, "height": 900}); page.wait_for_timeout(300)
    page.screenshot(path="/tmp/shot-panel-390.png")
    page = axe_page(omar)
    page.set_viewport_size({"width": 1440, "height": 900})
    for name, path in {"admin-examples": "/guidelines/examples/", "admin-form": f"/practice/{worked[1].pk}/edit/"}.items():
        page.goto(live_server.url + HOME + path)
        page.screenshot(path=f"/tmp/shot-{name}.png", full_page=True)
