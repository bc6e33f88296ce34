"""The page as people use it: with mouse, finger or keyboard, on wide, narrow and dark screens."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from seqocr.data.folder import LineFolder
from seqocr.demo import page as module
from seqocr.demo.race import Race
from tests.demo.test_race import LANES

EXAMPLES = sorted((module.HERE / "examples").glob("*.png"))
GRID = next(path for path in EXAMPLES if path.name == "grid-77253.png")
SEVEN = ((0.40, 0.25), (0.48, 0.25), (0.43, 0.80))
ONE = ((0.56, 0.25), (0.56, 0.80))
Opened = Callable[..., Page]
OF_GRADIO = ("aria-prohibited-attr",)  # its table names columns that cannot be edited by a label on a <div>


@pytest.fixture
def races(monkeypatch: pytest.MonkeyPatch) -> list[Race]:
    """Every race that the server runs during the test."""
    found: list[Race] = []
    run = module.race

    def noted(*given: Any) -> Race:
        found.append(run(*given))
        return found[-1]

    monkeypatch.setattr(module, "race", noted)
    return found


def draw(page: Page, *strokes: tuple[tuple[float, float], ...]) -> None:
    """With the mouse; points are shares of the pad."""
    box = page.locator("#pad canvas").bounding_box()
    assert box is not None
    for points in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=10)
        page.mouse.up()


def touch(page: Page, *strokes: tuple[tuple[float, float], ...]) -> None:
    """With a finger."""
    page.locator("#pad canvas").scroll_into_view_if_needed()
    box = page.locator("#pad canvas").bounding_box()
    assert box is not None
    send = page.context.new_cdp_session(page).send
    for points in strokes:
        for i, (x, y) in enumerate(points):
            place = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
            kind = "touchMove" if i else "touchStart"
            send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [place]})
        send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def choose_image(page: Page) -> None:
    page.get_by_role("tab", name="Image").click()


def choose_example(page: Page, name: str) -> None:
    page.get_by_role("tab", name="Examples").click()
    page.locator("#examples button", has_text=name).click()
    expect(page.locator(".winner")).to_contain_text(name.split(": ")[1])


def changed(page: Page, act: Callable[[], Any]) -> None:
    """Do what begins another race, and wait for its end."""
    before = page.locator("#lanes").inner_html()
    act()
    page.wait_for_function("before => document.querySelector('#lanes').innerHTML !== before", arg=before)


def texts(page: Page) -> dict[str, str]:
    """What each lane has read."""
    page.wait_for_selector(".lane")
    found = page.eval_on_selector_all("output[data-lane]", "all => all.map(x => [x.dataset.lane, x.textContent])")
    return dict(found)


def expect_texts(page: Page, text: str) -> None:
    """In every lane, once the race is over."""
    for name in LANES:
        expect(page.locator(f"output[data-lane={name}]")).to_have_text(text)


def check_race(page: Page, race: Race) -> None:
    """The page shows this race: its texts, its passes, its times, and every lane comes to its end."""
    slower = float(page.locator("#slower input[type=number]").input_value())
    shown = page.eval_on_selector_all(
        "article.lane",
        """all => all.map(lane => ({
            name: lane.dataset.lane,
            took: lane.querySelector(".took").textContent,
            text: [...lane.querySelectorAll("[aria-label=text] li")].map(x => x.textContent).join(""),
            ends: Math.max(...lane.getAnimations({subtree: true}).map(x => x.effect.getComputedTiming().endTime)),
        }))""",
    )
    lanes = sorted(race.lanes, key=lambda lane: lane.seconds)
    assert [each["name"] for each in shown] == [lane.name for lane in lanes]
    for each, lane in zip(shown, lanes, strict=True):
        assert each["text"] == lane.text
        assert f": {lane.passes} pass" in each["took"], "passes"
        assert each["took"].endswith(f" {1e3 * lane.seconds:.2f} ms after the encoder"), (
            f"{lane.name} took {lane.seconds} s"
        )
        ends = 1e3 * slower * (race.encoded + lane.seconds)
        assert each["ends"] == pytest.approx(ends, abs=20), f"{lane.name} ends at another time"
    longest = race.seconds
    page.wait_for_timeout(1e3 * slower * longest + 100)
    waiting = page.evaluate(
        """() => [...document.querySelectorAll(".lane")].filter(lane =>
            lane.getAnimations({subtree: true}).some(x => x.playState !== "finished")
            || [...lane.querySelectorAll("li, .note")].some(x => getComputedStyle(x).opacity === "0")
        ).map(lane => lane.dataset.lane)"""
    )
    assert waiting == [], "lanes that never finish"


def set_slower(page: Page, value: int) -> None:
    def fill() -> None:
        page.locator("#slower input[type=number]").fill(str(value))
        page.locator("#slower input[type=number]").press("Enter")

    changed(page, fill)


def test_a_drawn_seven_is_read_in_every_lane(opened: Opened, races: list[Race]) -> None:
    page = opened()
    set_slower(page, 50)
    draw(page, SEVEN)
    changed(page, lambda: page.click("#go"))
    expect_texts(page, "7")
    check_race(page, races[-1])


def test_what_is_drawn_can_be_cleared_and_nothing_is_said_to_be_nothing(opened: Opened) -> None:
    page = opened()
    draw(page, SEVEN)
    page.get_by_role("button", name="Clear").click()
    page.locator("#go").click()
    expect(page.get_by_text("Nothing is drawn yet")).to_be_visible()
    draw(page, ONE)
    changed(page, lambda: page.click("#go"))
    expect_texts(page, "1")


def test_a_race_is_shown_again_at_another_speed_without_another_race(opened: Opened, races: list[Race]) -> None:
    page = opened()
    draw(page, SEVEN, ONE)
    changed(page, lambda: page.click("#go"))
    expect_texts(page, "71")
    set_slower(page, 20)
    page.click("#again")
    page.wait_for_timeout(1000)
    check_race(page, races[-1])
    assert len(races) == 2  # the first one when the page was opened


def test_all_of_a_second_race_starts_with_it(opened: Opened) -> None:
    page = opened()
    page.wait_for_timeout(1000)
    choose_example(page, "jitter: 3820901120")
    moving = (
        "[...document.querySelectorAll('.race *')].flatMap(one => one.getAnimations()).map(each => each.currentTime)"
    )
    times = page.evaluate(moving)
    assert len(times) > 40  # symbols of four lanes, and their bars
    assert max(times) - min(times) < 500  # milliseconds


@pytest.mark.parametrize("fault", ["a lane that never finishes", "a wrong time", "a wrong pass"])
def test_a_planted_fault_is_noticed(
    opened: Opened, races: list[Race], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    html = module.race_html

    def faulty(*given: Any) -> str:
        text, lane = html(*given), races[-1].lanes[1]
        of_lane = f'data-lane="{lane.name}"'
        before, found, after = text.partition(f'<article class="lane" {of_lane}')
        if fault == "a lane that never finishes":
            return before + found + after.replace("animation-delay:", "animation-delay:1", 3)
        if fault == "a wrong time":
            return before + found + after.replace(f"{1e3 * lane.seconds:.2f} ms", f"{1e3 * lane.seconds + 1:.2f} ms", 1)
        return before + found + after.replace(f"{lane.passes} pass", f"{lane.passes + 1} pass", 1)

    monkeypatch.setattr(module, "race_html", faulty)
    page = opened()
    set_slower(page, 20)
    draw(page, SEVEN)
    changed(page, lambda: page.click("#go"))
    texts(page)
    with pytest.raises(AssertionError):
        check_race(page, races[-1])


def test_an_image_is_dropped(opened: Opened, races: list[Race]) -> None:
    page = opened()
    set_slower(page, 20)
    choose_image(page)
    data = page.evaluate_handle(
        """data => {
            const bytes = Uint8Array.from(atob(data), x => x.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "line.png", {type: "image/png"}));
            return transfer;
        }""",
        base64.b64encode(GRID.read_bytes()).decode(),
    )
    place = "#image button:has(input[type=file]), #image [aria-dropeffect]"
    changed(page, lambda: page.dispatch_event(place, "drop", {"dataTransfer": data}))
    expect(page.locator(".winner")).not_to_contain_text("The line says")  # it is no example
    assert texts(page)["parallel"] == "77253"
    check_race(page, races[-1])


@pytest.mark.parametrize(("name", "said"), [("broken.png", "cannot be read"), ("text.png", "is not an image")])
def test_a_broken_image_is_one_error_and_the_next_is_read(opened: Opened, tmp_path: Path, name: str, said: str) -> None:
    broken = tmp_path / name
    broken.write_bytes(GRID.read_bytes()[:400] if name == "broken.png" else b"no image at all")
    page = opened()
    choose_image(page)
    page.set_input_files("#image input[type=file]", broken)
    expect(page.locator(".toast-body")).to_contain_text(f"{name} {said}")
    page.reload()
    page.wait_for_selector("#pad canvas")
    choose_image(page)
    changed(page, lambda: page.set_input_files("#image input[type=file]", GRID))
    assert texts(page)["ctc"] == "77253"


def test_damage_changes_what_is_read(opened: Opened) -> None:
    page = opened()
    choose_example(page, "grid: 77253")
    assert texts(page)["parallel"] == "77253"
    page.get_by_role("button", name="Damage").click()
    page.locator("#cover input[type=number]").fill("1")  # all of it
    page.locator("#cover input[type=number]").press("Enter")
    expect(page.locator("output[data-lane=parallel]")).not_to_have_text("77253")


def test_what_n_symbols_cost_is_drawn(opened: Opened) -> None:
    page = opened()
    page.get_by_role("tab", name="Cost against length").click()
    page.locator("#longest input[type=number]").fill("12")
    page.locator("#longest input[type=number]").press("Enter")
    page.click("#measure")
    # Until all lanes of the longest n are there.
    page.wait_for_function(
        """lanes => [...document.querySelectorAll("#costs .virtual-row")].filter(
            row => row.querySelectorAll("[role=gridcell]")[1]?.innerText.trim() === "12").length === lanes""",
        arg=len(LANES),
        timeout=60_000,
    )
    rows = page.locator("#costs .virtual-row").all_inner_texts()
    last = {row.split()[0]: row.split()[1:] for row in rows if row.split()[:1] and row.split()[0] in LANES}
    assert {lane: (row[0], row[-1]) for lane, row in last.items()} == {
        lane: ("12", "13" if lane == "ar" else "1") for lane in LANES
    }
    expect(page.locator("#plot svg, #plot canvas").first).to_be_visible()


def test_many_lines_are_read_mended_and_taken_away(opened: Opened, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(GRID.read_bytes()[:400])
    folder = tmp_path / "lines.zip"
    with zipfile.ZipFile(folder, "w") as archive:
        for path in EXAMPLES:
            archive.write(path, f"lines/{path.name}")
    page = opened()
    page.get_by_role("tab", name="Many lines").click()
    page.set_input_files("#files-files, [data-testid^='Read images']", [folder, broken])
    expect(page.locator("#table")).to_contain_text("77253")
    table = taken(page, "#csv", lambda data: pd.read_csv(io.BytesIO(data), dtype={"text": str}, keep_default_na=False))
    assert table["file_name"][0] == "broken.png"
    assert "broken.png cannot be read" in table["problem"][0]
    assert list(table["confidence"]) == sorted(table["confidence"])
    first = table["file_name"][1]
    row = page.locator("#table .virtual-row")
    cell = row.filter(has_text=first).get_by_role("gridcell").nth(1)
    cell.dblclick()
    page.keyboard.press("Control+A")
    page.keyboard.type("4711")
    page.keyboard.press("Enter")
    row.filter(has_text="lines_grid-77253.png").get_by_role("gridcell").nth(2).dblclick()
    page.keyboard.type("x")
    page.keyboard.press("Enter")
    page.wait_for_timeout(1500)

    def learned_from(data: bytes) -> LineFolder:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(tmp_path / "taken")
        return LineFolder(tmp_path / "taken" / "corrections")

    lines = {line.path.name: line.text for line in taken(page, "#corrections", learned_from).lines}
    assert lines == {first: "4711", "lines_grid-77253.png": "77253"}  # what was reviewed, and nothing else


def taken(page: Page, button: str, use: Callable[[bytes], Any]) -> Any:
    with page.expect_download() as download:
        page.click(button)
    return use(Path(download.value.path()).read_bytes())


def test_a_zip_that_is_none_is_one_error(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK nothing")
    page = opened()
    page.get_by_role("tab", name="Many lines").click()
    page.set_input_files("[data-testid^='Read images']", tmp_path / "broken.zip")
    expect(page.get_by_text("broken.zip cannot be unpacked")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 390, 412, 480, 768, 1280])
def test_lanes_are_wide_enough_on_every_screen_and_the_winner_is_the_first(
    opened: Opened, races: list[Race], width: int, scheme: Any
) -> None:
    """An example races when the page is opened."""
    page = opened(viewport={"width": width, "height": 800}, color_scheme=scheme)
    expect_texts(page, "77253")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    widths = page.eval_on_selector_all(".lane", "all => all.map(lane => lane.getBoundingClientRect().width)")
    assert min(widths) > min(240, 0.7 * width)
    rows = (
        "all => all.map(lane => new Set([...lane.querySelectorAll('[aria-label=text] li')].map(x => x.offsetTop)).size)"
    )
    lines = page.eval_on_selector_all(".lane", rows)
    assert lines == [1] * len(LANES)  # five digits beside each other
    fastest = min(races[-1].lanes, key=lambda lane: lane.seconds).name
    first = page.locator(".lane").first
    assert first.get_attribute("data-lane") == fastest
    expect(first.locator(".place")).to_have_text("1.")
    expect(page.locator(".right")).to_have_count(len(LANES))


def test_a_narrow_screen_a_finger_and_nothing_beside_the_screen(opened: Opened, races: list[Race]) -> None:
    page = opened(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    set_slower(page, 20)
    touch(page, SEVEN, ONE)
    # The first tap after touches that are simulated is no click for Chromium.
    changed(page, lambda: page.locator("#go").click())
    expect_texts(page, "71")
    check_race(page, races[-1])
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    for tab in ("Cost against length", "Many lines"):
        if not page.get_by_role("tab", name=tab).is_visible():
            page.locator(".overflow-menu > button").first.click()
            page.locator(".overflow-dropdown button", has_text=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_keyboard_alone(opened: Opened) -> None:
    page = opened()

    def tab_to(what: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("what => document.activeElement.matches(what)", what):
                return
        raise AssertionError(f"{what} is not reached by Tab")

    tab_to("[role=tab]")
    for _ in range(60):
        if page.evaluate("document.activeElement.textContent.trim()") == "Examples":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    tab_to("#examples button")
    page.keyboard.press("Enter")
    expect(page.locator(".winner")).to_contain_text("3166835592")
    assert len(set(texts(page).values())) == 1
    before = page.locator("#lanes").inner_html()
    tab_to("#go")
    page.keyboard.press("Enter")
    page.wait_for_function("before => document.querySelector('#lanes').innerHTML !== before", arg=before)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened: Opened, scheme: Any) -> None:
    page = opened(color_scheme=scheme)
    set_slower(page, 1)
    choose_example(page, "wild: 017837")
    texts(page)
    found = []
    for tab in ("Race", "Cost against length", "Many lines"):
        page.get_by_role("tab", name=tab).click()
        if tab == "Many lines":
            page.set_input_files("[data-testid^='Read images']", EXAMPLES)
            expect(page.locator("#table")).to_contain_text("77253")
        page.wait_for_timeout(1000)  # colours fade in
        found += [
            (tab, each["id"], [node["html"] for node in each["nodes"]])
            for each in Axe().run(page).response["violations"]
            if each["impact"] in ("serious", "critical") and each["id"] not in OF_GRADIO
        ]
    assert found == []


def test_the_interface_is_described_and_its_example_works(opened: Opened) -> None:
    page = opened("/docs")
    page.locator(".opblock-post .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(page.locator(".live-responses-table")).to_contain_text('"text": "174"')
