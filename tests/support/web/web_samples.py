"""What tests look for on the page of a run's samples."""

from playwright.async_api import Locator, Page, expect


def list_samples(page: Page) -> Locator:
    """Return the links of the list of samples."""
    return page.get_by_role("navigation", name="Samples", exact=True).get_by_role("link")


async def wait_for_picture(picture: Locator) -> None:
    """Wait until a picture is loaded; a lost one fails."""
    await expect(picture).to_have_js_property("complete", True)
    assert await picture.evaluate("picture => picture.naturalWidth") > 0
