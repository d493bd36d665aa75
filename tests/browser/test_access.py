"""What axe-core finds on the page, in the state in which a person meets it: no serious fault on a control of ours."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

SERIOUS = {"serious", "critical"}


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1440), ("light", 390)])
def test_axe_finds_nothing_serious(opened: Any, scheme: str, width: int) -> None:
    page = opened.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 1000})
    page.locator(".ld-load .ld-item").first.click()
    page.wait_for_selector("button.ld-tile")
    page.locator(".ld-view canvas").first.focus()
    for key in ("l", "k"):  # a mark, so that its fields and its row are there
        page.keyboard.press(key)
    page.wait_for_function("document.querySelector('.ld-view').dataset.marks !== '0'")
    # The map is plotly's own; its bar of buttons is not ours to mend.
    found = Axe().run(page, context={"include": [[".ld-page"]], "exclude": [[".js-plotly-plot"]]})
    serious = [
        f"{each['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for each in found.response["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"][:4]
    ]
    assert serious == []
