"""axe, the accessibility checker, in a page."""

import json
from pathlib import Path
from typing import Final

from playwright.async_api import Page

SCRIPT: Final = Path(__file__).parents[3] / "web" / "node_modules" / "axe-core" / "axe.min.js"


async def find_violations(page: Page) -> list[str]:
    """Return what axe has against the page as it is: rule, element, and how to mend it."""
    # The page's policy allows no foreign script; the debugger's protocol is not subject to it.
    await page.evaluate(SCRIPT.read_text())
    found = await page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [
        f"{rule['id']}: {json.dumps(node['target'])}: {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]
