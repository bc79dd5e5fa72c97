"""Lessons and the challenge by mouse."""

import pytest

from pages.ui.learn.lessons import LESSONS
from pages.ui.session import routes
from tests.browser.screenshots import keep
from tests.browser.test_by_mouse import wait_for_pixels
from tests.browser.visits import follow, press

pytestmark = pytest.mark.browser


def test_a_lesson_opens_its_pictures_and_leads_back_to_the_challenge(page, address):
    page.goto(f"{address}/learn")
    page.get_by_text("Why filtered").first.click()
    page.get_by_role("button", name="Compare with and without the filter").click()
    page.get_by_role("heading", level=1, name="Compare").wait_for()
    wait_for_pixels(page)
    page.get_by_text("FBP (no filter)").first.wait_for()
    keep(page, "lesson-compared")
    follow(
        page.get_by_role("link", name="Back to the lesson"), page.get_by_role("heading", name="Why filtered")
    )
    page.get_by_text("Answer", exact=True).click()
    page.get_by_text("the ramp multiplies by |f|").wait_for()
    keep(page, "lesson")
    page.get_by_text("Challenge: find the lesion").click()
    page.get_by_role("radio", name="FBP").click()
    page.get_by_role("button", name="Scan", exact=True).click()
    wait_for_pixels(page)
    guess = page.get_by_role("button", name="It is here")
    press(guess)
    place = guess.bounding_box()
    page.get_by_text("Wrong. Look again").wait_for()
    assert guess.bounding_box() == place  # one button, where it was: the answer had its place before
    keep(page, "challenge")
    page.wait_for_function("() => decodeURIComponent(location.search).includes('\"wrong\":1')", polling=100)
    page.reload()  # the search is in the address
    page.get_by_role("button", name="It is here").wait_for()
    assert page.get_by_test_id("stMetric").filter(has_text="Wrong guesses").inner_text().split()[-1] == "1"


def test_the_cone_lesson_shows_the_discs_from_the_side(page, address):
    def pressed(name):
        return page.locator(f"button[data-value={name}][aria-pressed=true]")

    page.goto(f"{address}/learn?lesson=cone")
    page.get_by_role("button", name="Compare FDK with the reference").click()
    pressed("coronal").wait_for()
    wait_for_pixels(page)
    keep(page, "lesson-cone")
    page.get_by_role("button", name="axial").click()  # by hand, and it stays
    page.wait_for_function("() => !location.search.includes('plane')", polling=100)
    pressed("axial").wait_for()
    again = page.get_by_role("button", name="Compare FDK with the reference")
    follow(page.get_by_role("link", name="Back to the lesson"), again)
    again.click()
    pressed("coronal").wait_for()  # the lesson shows what it is about once more
    page.reload()
    pressed("coronal").wait_for()


def test_one_step_leads_to_the_next(page, address):
    _, second = LESSONS["projections"].steps
    page.goto(f"{address}/acquire?lesson=projections&step=1")
    following = page.get_by_test_id("stSidebar").get_by_role("button", name="Next step")
    following.click()
    page.get_by_text("step 2 of 2").first.wait_for()  # the other one is for phones
    page.get_by_role("heading", level=1, name=routes.TITLES[second.page]).wait_for()
    page.wait_for_function("() => location.search.includes('step=2')", polling=100)
    following.wait_for(state="detached")  # it was the last step


def test_on_a_phone_a_step_is_followed_by_its_pictures(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.set_default_timeout(120_000)  # patient: the machine may be busy

    def top(locator):
        locator.wait_for()
        return locator.bounding_box()["y"]

    page.goto(f"{address}/acquire?lesson=projections&step=1")
    picture = page.locator(".sv canvas").first
    picture.wait_for()
    text, form = page.get_by_text("A large ball").last, page.get_by_role("radio", name="Phantom")
    assert top(text) < top(picture) < top(form)
    assert page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
    page.goto(f"{address}/learn?lesson=contrast")  # the long list of lessons does not hide the chosen one
    assert top(page.get_by_role("heading", name="Keep the contrast")) < 844
    context.close()
