"""A graph of many tasks stays readable: it is zoomed, folded, searched, and tells why a task waits."""

import re

from playwright.async_api import Page, expect

from tests.page.jobs import address, scripted
from tests.support.requests import create, ended, in_state, job_request
from tests.support.server import RunningServer

MIDDLE = 126


async def create_wide(server: RunningServer) -> None:
    """128 tasks: one, then 126 beside each other of which one fails, then one that never starts."""
    middle = [scripted(f"part-{number:03}", "split", exit_code=int(number == 7)) for number in range(MIDDLE)]
    last = scripted("join", *(task.alias for task in middle))
    await create(server.stub, job_request("wide", scripted("split"), *middle, last))
    await ended(server.stub, "wide")


async def scale(page: Page) -> float:
    """Pixels for a unit of the drawing."""
    told: float = await page.evaluate(
        "(e => e.clientWidth / e.viewBox.baseVal.width)(document.querySelector('.graph'))"
    )
    return told


async def test_tasks_alike_are_folded_and_what_differs_stands_out(server: RunningServer, page: Page) -> None:
    await create_wide(server)
    await page.goto(address(server, "?job=wide"))
    await expect(page.locator(".node .name")).to_have_text(["split", "125 tasks", "part-007", "join"])
    await expect(page.locator(".edge")).to_have_count(4)
    await expect(page.locator(".node", has_text="part-007")).to_be_in_viewport()
    await page.locator(".node", has_text="125 tasks").click()
    await expect(page.locator(".node")).to_have_count(MIDDLE + 2)
    await page.get_by_role("combobox", name="Fold").select_option("what succeeded")
    await expect(page.locator(".node .name")).to_have_text(["126 tasks", "part-007", "join"])
    assert page.url.endswith("fold=done")
    await page.reload()
    await expect(page.locator(".node")).to_have_count(3)
    await page.get_by_role("button", name="Unfold all").click()
    await expect(page.locator(".node")).to_have_count(MIDDLE + 2)


async def test_what_follows_a_task_is_folded_by_key_and_by_button(server: RunningServer, page: Page) -> None:
    tasks = [scripted(f"t{number}", *([f"t{(number - 1) // 2}"] if number else [])) for number in range(128)]
    await create(server.stub, job_request("tree", *tasks))
    await page.goto(address(server, "?job=tree"))
    await expect(page.locator(".node")).to_have_count(128)
    await page.locator('.node[data-alias="t1"]').focus()
    await page.keyboard.press("f")
    await expect(page.locator(".node")).to_have_count(128 - 63)
    await expect(page.locator('.node[data-alias="t1"]')).to_contain_text("+63")
    await page.get_by_placeholder("Find a task").fill("t127")
    await expect(page.locator(".node:not(.is-faint)")).to_have_count(1)
    await expect(page.locator(".node:not(.is-faint) .name")).to_have_text("t1")
    await page.locator('.node[data-alias="t1"]').click()
    await page.get_by_role("button", name="Unfold what follows").click()
    await expect(page.locator(".node")).to_have_count(128)
    await expect(page.locator(".node:not(.is-faint) .name")).to_have_text("t127")


async def test_one_finds_task_after_task_and_zooms(server: RunningServer, page: Page) -> None:
    await create_wide(server)
    await page.goto(address(server, "?job=wide&fold=none"))
    await page.get_by_placeholder("Find a task").fill("part-01")
    await expect(page.get_by_text("10 found")).to_be_visible()
    await expect(page.locator(".node", has_text="part-010")).to_be_in_viewport()
    await page.keyboard.press("Shift+Enter")
    await expect(page.locator(".node", has_text="part-019")).to_be_in_viewport()
    before = await scale(page)
    await page.get_by_role("button", name="Zoom in").click()
    assert await scale(page) > before
    await page.get_by_role("button", name="Show all").click()
    await page.mouse.wheel(0, 2000)
    for end in ("part-000", "part-125"):
        await expect(page.locator(".node", has_text=end)).to_be_in_viewport()


async def test_one_who_points_at_a_task_is_told_why_it_waits(server: RunningServer, page: Page) -> None:
    last = scripted("report", "first")
    last.tolerable = True
    await create(server.stub, job_request("flow", scripted("first", seconds=600), last))
    await in_state(server.stub, "flow", "Running")
    await page.goto(address(server, "?job=flow"))
    waiting = page.locator(".node", has_text="report")
    await expect(waiting).to_have_class(re.compile(r"\bis-tolerable\b"))
    dashes = "getComputedStyle(document.querySelector('.is-tolerable .box')).strokeDasharray"
    assert await page.evaluate(dashes) not in ("none", "")
    await waiting.hover()
    hint = page.get_by_role("tooltip")
    await expect(hint).to_contain_text('waiting for "first"')
    await page.mouse.move(0, 0)
    await expect(hint).to_have_count(0)
    await waiting.focus()
    await expect(hint).to_contain_text("may fail without failing the job")
    await page.keyboard.press("Escape")
    await expect(hint).to_have_count(0)


async def test_the_way_that_took_longest_is_marked(server: RunningServer, page: Page) -> None:
    tasks = (scripted("a"), scripted("short", "a"), scripted("long", "a", seconds=600), scripted("z", "short", "long"))
    await create(server.stub, job_request("ways", *tasks))
    await in_state(server.stub, "ways", "Running")
    await page.goto(address(server, "?job=ways"))
    await expect(page.locator(".node.is-critical .name")).to_have_text(["a", "long"])
    await expect(page.locator(".edge.is-critical")).to_have_count(1)


async def test_all_that_follows_is_folded_whatever_else_it_follows(server: RunningServer, page: Page) -> None:
    tasks = (
        scripted("a"),
        scripted("b"),
        scripted("both", "a", "b"),
        scripted("end", "both"),
        scripted("after-b", "b"),
    )
    await create(server.stub, job_request("joined", *tasks))
    await ended(server.stub, "joined")
    await page.goto(address(server, "?job=joined&task=a"))
    await page.get_by_role("button", name="Fold what follows").click()
    await expect(page.locator(".node")).to_have_count(3)
    folded = page.locator('.node[data-alias="a"]')
    await expect(folded.locator(".count")).to_have_text("+2 folded")
    await expect(page.locator(".edge")).to_have_count(2)  # from b to what is folded, and to after-b
    await page.locator('.node[data-alias="b"]').focus()
    await page.keyboard.press("f")
    await expect(page.locator(".node .name")).to_have_text(["a", "b"])
    await expect(page.locator('.node[data-alias="b"] .count')).to_have_text("+1 folded")
    await folded.focus()
    await page.keyboard.press("f")
    await expect(page.locator(".node .name")).to_have_text(["a", "b"])  # all of it follows b, too
    await expect(page.locator('.node[data-alias="b"] .count')).to_have_text("+3 folded")


async def test_arrow_keys_go_from_task_to_task_and_move_only_what_is_out_of_sight(
    server: RunningServer, page: Page
) -> None:
    await create(server.stub, job_request("small", scripted("a"), scripted("b", "a"), scripted("c", "a")))
    chain = [scripted(f"t{number}", *([f"t{number - 1}"] if number else [])) for number in range(12)]
    await create(server.stub, job_request("chain", *chain))
    await page.goto(address(server, "?job=small"))
    window = "document.querySelector('.graph').getAttribute('viewBox')"
    await page.locator('.node[data-alias="a"]').focus()
    before = await page.evaluate(window)
    for key, alias in (("ArrowRight", "b"), ("ArrowDown", "c"), ("ArrowUp", "b"), ("ArrowLeft", "a")):
        await page.keyboard.press(key)
        await expect(page.locator(f'.node[data-alias="{alias}"]')).to_be_focused()
    assert await page.evaluate(window) == before
    await page.goto(address(server, "?job=chain"))
    await page.locator('.node[data-alias="t0"]').focus()
    before = await page.evaluate(window)
    for number in range(1, 12):
        await page.keyboard.press("ArrowRight")
        await expect(page.locator(f'.node[data-alias="t{number}"]')).to_be_in_viewport(ratio=1)
    assert await page.evaluate(window) != before
