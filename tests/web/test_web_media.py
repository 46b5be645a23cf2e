"""Media of samples in a browser."""

import pytest
from front_end_fixtures import FrontEnd
from job_states import start_job
from playwright.async_api import expect
from web_fixtures import Reader
from web_jobs import submit, write_answers
from web_media import make_picture, make_sound, store_media, write_media
from web_samples import list_samples, wait_for_picture

from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.store.objects import ObjectStore

pytestmark = [pytest.mark.web, pytest.mark.timeout(180)]


@pytest.fixture
async def answered(web_front_end: FrontEnd, client: Transport, web_store: ObjectStore) -> FrontEnd:
    """A front end with a run `answers`, whose documents have media of each kind, and some that lack.

    The list of its answers asks for those too, and the browser tells that they are not found.
    """

    async def keep(content: bytes) -> str:
        return await store_media(web_store, client.namespace, content)

    submit(web_front_end, "answers")
    await start_job(client, "answers")
    small, large = await keep(make_picture(64, 48)), await keep(make_picture(256, 192))
    other, lost = await keep(make_picture(192, 256, 3)), "ab" * 32
    image = {"kind": "image", "thumb": small, "display": large, "width": 512, "height": 384}
    script = await keep(b"<script>window.hit = 1</script>")
    await write_media(
        client,
        web_store,
        "answers",
        {
            0: [image],
            1: [image, {"kind": "image", "display": other, "thumb": other, "width": 192, "height": 256}],
            2: [{"kind": "audio", "display": await keep(make_sound()), "seconds": 1.0}],
            3: [{"kind": "video", "display": large, "thumb": small, "width": 256, "height": 192, "seconds": 3.5}],
            4: [{"kind": "image", "omitted": "TooLarge"}, {"kind": "image", "thumb": lost, "display": lost}],
            5: [{"kind": "image", "thumb": script, "display": script}],
        },
    )
    await write_answers(client, web_store, "answers", range(6))
    return web_front_end


async def test_pictures_stand_beside_answers_and_are_enlarged_by_a_key(reader: Reader, answered: FrontEnd) -> None:
    page = await reader.open("/runs/answers/samples/mme/1")
    await expect(list_samples(page)).to_have_count(6)
    await expect(list_samples(page).locator("img")).not_to_have_count(0)
    pictures = page.get_by_role("button", name="Enlarge Image")
    await expect(pictures).to_have_count(2)
    for place in (0, 1):
        await wait_for_picture(page.locator("article img").nth(place))
    # Its place was there before it was: 512 × 384 fit into 300 × 240 as 300 × 225.
    box = await page.locator("article img").first.bounding_box()
    assert box is not None and (round(box["width"]), round(box["height"])) == (300, 225)
    sources = await page.locator("main img").evaluate_all("pictures => pictures.map(one => one.src)")
    assert all(source.startswith(f"{reader.url}/jobs/answers/media/") for source in sources)
    await page.keyboard.press("m")
    enlarged = page.get_by_role("dialog", name="Media of sample 1")
    await expect(enlarged.get_by_role("img", name="Image 1 of 2, 512 × 384 pixels")).to_be_visible()
    await page.keyboard.press("ArrowRight")
    await expect(enlarged.get_by_role("img", name="Image 2 of 2, 192 × 256 pixels")).to_be_visible()
    await page.keyboard.press("j")
    await page.keyboard.press("Escape")
    await expect(enlarged).to_have_count(0)
    # Keys of the page did nothing while it was open.
    await expect(page.get_by_role("heading", name="Sample 1")).to_be_visible()
    await pictures.last.click()
    await expect(enlarged.get_by_role("img", name="Image 2 of 2")).to_be_visible()
    reader.forgive("404")


async def test_space_plays_what_sounds(reader: Reader, answered: FrontEnd) -> None:
    page = await reader.open("/runs/answers/samples/mme/2")
    sound = page.locator("article audio")
    await expect(sound).to_have_attribute("aria-label", "Audio, 1 s")
    await expect(page.locator("body")).to_be_focused()
    await page.keyboard.press(" ")
    await expect(sound).to_have_js_property("ended", True)
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog").get_by_text("Play, or pause")).to_be_visible()
    reader.forgive("404")


async def test_a_video_is_shown_by_a_picture_where_it_is_not_kept(reader: Reader, answered: FrontEnd) -> None:
    page = await reader.open("/runs/answers/samples/mme/3")
    await wait_for_picture(page.locator("article img"))
    await expect(page.get_by_text("Video, 256 × 192 pixels, 3.5 s. A picture of it")).to_be_visible()
    assert await page.locator("video").count() == 0
    reader.forgive("404")


async def test_the_reason_stands_in_place_of_what_is_missing(reader: Reader, answered: FrontEnd) -> None:
    page = await reader.open("/runs/answers/samples/mme/4")
    await expect(page.get_by_text("This image was not kept: it is larger than what a run keeps.")).to_be_visible()
    await expect(page.get_by_text("no longer kept")).to_be_visible()
    # What is no picture is none, whatever the run calls it.
    await reader.open("/runs/answers/samples/mme/5")
    await expect(page.get_by_text("is no image, video or sound of a kind that is shown")).to_be_visible()
    assert await page.evaluate("window.hit") is None
    reader.forgive("404")


async def test_answers_in_a_grid_show_their_pictures(reader: Reader, answered: FrontEnd) -> None:
    page = await reader.open("/runs/answers/samples/mme?view=grid")
    await expect(list_samples(page)).to_have_count(6)
    await expect(list_samples(page).first.locator("img")).to_have_js_property("complete", True)
    await expect(list_samples(page).nth(2)).to_contain_text("♪")
    await expect(list_samples(page).first).to_contain_text("not judged")
    reader.forgive("404")
