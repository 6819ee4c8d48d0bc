"""AppImages of the API and those of files are one catalogue: who may change what, and whose name it is."""

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import appimage_pb2 as pb
from kusciajob._gen.kusciajob.v1 import app_images_pb2 as v1
from kusciajob.api.calls.app_image import MAX_BATCH_BYTES, AppImageCalls
from kusciajob.api.calls.refusals import noting
from kusciajob.api.calls.v1.app_images import AppImagesCalls
from kusciajob.contracts import JobStore
from kusciajob.images.catalog import AppImageCatalog
from kusciajob.images.definition import MAX_DEFINITION_BYTES
from kusciajob.model.errors import AppImageNotFound, InvalidJob, StoreFailed, UnknownAppImage
from kusciajob.model.history import Notes
from kusciajob.store.memory import MemoryStore
from kusciajob.usecases import app_images
from kusciajob.usecases.app_images import AppImageService
from kusciajob.usecases.callers import MASTER, Caller
from kusciajob.usecases.refusals import MAX_SUBJECT_CHARACTERS, RefusalLog
from kusciajob.wire.status import Code
from kusciajob.wire.v1.pages import MAX_PAGE_BYTES, PageScope
from tests.support.app_images import create_request, shell_request
from tests.support.clock import ManualClock
from tests.support.images import write_image
from tests.support.polling import give_way

ALICE = Caller("alice")


class House:
    """The catalogue and all calls, on a store in memory."""

    def __init__(self, directory: Path | None = None, store: JobStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.catalog = AppImageCatalog(directory)
        service = AppImageService(store=self.store, catalog=self.catalog, clock=ManualClock())
        log = RefusalLog(store=self.store, clock=ManualClock())
        calls = AppImageCalls(service)
        methods = pb.DESCRIPTOR.services_by_name["AppImageService"].methods
        self.calls: Any = SimpleNamespace(
            **{method.name: noting(method, getattr(calls, method.name), log) for method in methods}
        )
        self.v1 = AppImagesCalls(service)

    async def create(self, name: str, script: str = "true", caller: Caller = MASTER) -> tuple[int, str]:
        answer = await self.calls.CreateAppImage(shell_request(name, script), caller)
        return answer.status.code, answer.status.message

    async def update(self, name: str, caller: Caller = MASTER, **parts: Any) -> tuple[int, str]:
        answer = await self.calls.UpdateAppImage(pb.UpdateAppImageRequest(name=name, **parts), caller)
        return answer.status.code, answer.status.message

    async def delete(self, name: str, caller: Caller = MASTER) -> tuple[int, str]:
        answer = await self.calls.DeleteAppImage(pb.DeleteAppImageRequest(name=name), caller)
        return answer.status.code, answer.status.message

    async def query(self, name: str, caller: Caller = MASTER) -> pb.QueryAppImageResponse:
        answer: pb.QueryAppImageResponse = await self.calls.QueryAppImage(pb.QueryAppImageRequest(name=name), caller)
        return answer

    async def list(self, caller: Caller = MASTER, **fields: Any) -> v1.ListAppImagesResponse:
        return await self.v1.ListAppImages(v1.ListAppImagesRequest(**fields), caller)

    def command(self, name: str) -> tuple[str, ...]:
        return self.catalog.get(name).deploy_templates[0].containers[0].command


async def test_a_created_image_is_in_force_stored_and_told() -> None:
    house = House()
    assert await house.create("a", "echo 1") == (0, "success")
    assert house.command("a") == ("sh", "-c", "echo 1")
    assert (await house.query("a")).data.deploy_templates[0].containers[0].command == ["sh", "-c", "echo 1"]
    again = House(store=house.store)
    again.catalog.restore(await house.store.app_images())
    assert again.catalog.get("a") == house.catalog.get("a")


async def test_a_name_that_exists_is_not_created_again_not_even_with_the_same_content() -> None:
    house = House()
    await house.create("a", "echo 1")
    code, text = await house.create("a", "echo 1")
    assert (code, text) == (Code.APP_IMAGE_EXISTS, 'AppImage "a" already exists: update it, or delete it first')


async def test_an_update_replaces_the_parts_that_it_has_and_leaves_the_others() -> None:
    house = House()
    whole = create_request("a")
    await house.calls.CreateAppImage(whole, MASTER)
    assert await house.update("a", image=pb.AppImageInfo(name="other", tag="2")) == (0, "success")
    data = (await house.query("a")).data
    assert data.image == pb.AppImageInfo(name="other", tag="2")
    assert data.deploy_templates == whole.deploy_templates
    assert data.config_templates == whole.config_templates
    assert await house.update("a", config_templates={"task.json": "new"}) == (0, "success")
    assert (await house.query("a")).data.config_templates == {"task.json": "new"}
    assert house.catalog.get("a").config_templates == {"task.json": "new"}
    await house.update("a")
    assert (await house.query("a")).data.image.name == "other"


async def test_an_update_that_breaks_a_rule_changes_nothing() -> None:
    house = House()
    await house.calls.CreateAppImage(create_request("a"), MASTER)
    before = (await house.query("a")).data
    code, text = await house.update("a", config_templates={"other": ""})
    assert code == Code.INVALID_REQUEST
    assert 'subPath "task.json" is not a key of spec.configTemplates; there are: other' in text
    assert (await house.query("a")).data == before


async def test_a_deleted_image_is_gone_and_its_name_is_free() -> None:
    house = House()
    await house.create("a")
    assert await house.delete("a") == (0, "success")
    with pytest.raises(UnknownAppImage):
        house.catalog.get("a")
    assert await house.store.app_images() == {}
    assert await house.create("a") == (0, "success")


async def test_unknown_names_are_told_with_the_code_of_kuscia() -> None:
    house = House()
    await house.create("known")
    text = 'AppImage "no" is unknown; there are: known'
    answer = await house.query("no")
    assert (answer.status.code, answer.status.message) == (Code.APP_IMAGE_NOT_FOUND, text)
    assert not answer.HasField("data")
    assert await house.update("no") == (Code.APP_IMAGE_NOT_FOUND, text)
    assert await house.delete("no") == (Code.DELETE_APP_IMAGE_FAILED, text)


async def test_a_batch_names_all_that_are_unknown_or_tells_all_in_the_order_asked() -> None:
    house = House()
    for name in ("a", "b"):
        await house.create(name)
    ask = house.calls.BatchQueryAppImage
    answer = await ask(pb.BatchQueryAppImageRequest(names=["a", "no", "b", "nor", "no"]), MASTER)
    assert (answer.status.code, answer.status.message) == (
        Code.APP_IMAGE_NOT_FOUND,
        'AppImages "no", "nor" not found',
    )
    assert not answer.data
    answer = await ask(pb.BatchQueryAppImageRequest(names=["b", "a", "b"]), MASTER)
    assert [data.name for data in answer.data] == ["b", "a", "b"]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], "names is empty: at least one name is required"),
        (["a", ""], "names[1] is empty: it must name an AppImage"),
        (["a"] * 1001, "names has 1,001 entries: at most 1,000 are possible"),
    ],
)
async def test_a_batch_without_a_name_or_with_too_many_is_refused(names: list[str], text: str) -> None:
    answer = await House().calls.BatchQueryAppImage(pb.BatchQueryAppImageRequest(names=names), MASTER)
    assert (answer.status.code, answer.status.message) == (Code.INVALID_REQUEST, text)


async def test_calls_without_a_name_are_refused() -> None:
    house = House()
    refusal = (Code.INVALID_REQUEST, "name is empty: it must name an AppImage")
    assert await house.create("") == await house.update("") == await house.delete("") == refusal
    answer = await house.query("")
    assert (answer.status.code, answer.status.message) == refusal


async def test_an_image_of_a_file_is_refused_for_change_and_the_text_names_the_file(tmp_path: Path) -> None:
    write_image(tmp_path, "mine", ["a"])
    house = House(tmp_path)
    assert await house.create("mine") == (
        Code.APP_IMAGE_EXISTS,
        'AppImage "mine" already exists, in the file mine.yaml: change or remove that file',
    )
    refusal = 'AppImage "mine" comes from the file mine.yaml: change or remove that file'
    assert await house.update("mine") == (Code.UPDATE_APP_IMAGE_FAILED, refusal)
    assert await house.delete("mine") == (Code.DELETE_APP_IMAGE_FAILED, refusal)
    assert (await house.query("mine")).data.deploy_templates[0].containers[0].command == ["a"]


async def test_a_file_that_comes_later_with_the_name_wins_as_long_as_it_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    house = House(tmp_path)
    await house.create("a", "of the API")
    write_image(tmp_path, "a", ["of", "the", "file"])
    assert house.command("a") == ("of", "the", "file")
    hidden = 'AppImage "a" was created through the API and is hidden now: a.yaml declares that name'
    assert [record.message for record in caplog.records] == [hidden]
    house.catalog.names()
    assert len(caplog.records) == 1
    code, text = await house.delete("a")
    assert (code, "comes from the file a.yaml" in text) == (Code.DELETE_APP_IMAGE_FAILED, True)
    (tmp_path / "a.yaml").unlink()
    assert house.command("a") == ("sh", "-c", "of the API")
    assert "in force again" in caplog.records[-1].message


async def test_a_file_whose_document_is_refused_keeps_its_name(tmp_path: Path) -> None:
    """Else a slip in a file would silently run another program."""
    house = House(tmp_path)
    await house.create("a")
    broken = "apiVersion: kuscia.secretflow/v1alpha1\nkind: AppImage\nmetadata: {name: a}\nspec: {}\n"
    (tmp_path / "b.yaml").write_text(broken)
    with pytest.raises(UnknownAppImage, match=r"is refused: b\.yaml: spec\.deployTemplates is empty"):
        house.catalog.get("a")
    code, text = await house.update("a")
    assert (code, "comes from the file b.yaml" in text) == (Code.UPDATE_APP_IMAGE_FAILED, True)


async def test_a_stored_image_that_cannot_be_used_is_logged_told_and_can_be_deleted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House()
    await house.create("good")
    await house.store.put_app_image("bad", b"\xff\x00")
    await house.store.put_app_image("other", (await house.store.app_images())["good"])
    house = House(store=house.store)
    house.catalog.restore(await house.store.app_images())
    assert "the stored AppImage" in caplog.text
    assert house.catalog.names() == ("good",)
    answer = await house.query("bad")
    assert answer.status.code == Code.APP_IMAGE_NOT_FOUND
    assert answer.status.message.startswith('AppImage "bad" is refused: it was created through the API, and what is')
    assert (await house.create("bad"))[0] == Code.APP_IMAGE_EXISTS
    assert await house.delete("bad") == (0, "success")
    assert await house.delete("other") == (0, "success")
    assert set(await house.store.app_images()) == {"good"}


async def test_a_stored_image_that_cannot_be_used_is_mended_by_an_update() -> None:
    house = House()
    await house.store.put_app_image("bad", b"{}")
    house.catalog.restore(await house.store.app_images())
    parts = shell_request("bad", "true").deploy_templates
    assert await house.update("bad", deploy_templates=parts) == (0, "success")
    assert (await house.query("bad")).status.code == 0


async def test_only_the_master_may_change_and_every_domain_may_query() -> None:
    house = House()
    await house.calls.CreateAppImage(create_request("a"), MASTER)
    refusal = (Code.NOT_ALLOWED, 'domain "alice" may not change AppImage "a": only the master may')
    assert await house.create("a", caller=ALICE) == refusal
    assert await house.update("a", ALICE) == refusal
    assert await house.delete("a", ALICE) == refusal
    told = [
        (await house.query("a", ALICE)).data,
        (await house.calls.BatchQueryAppImage(pb.BatchQueryAppImageRequest(names=["a"]), ALICE)).data[0],
        (await house.list(ALICE)).app_images[0].definition,
        (await house.v1.GetAppImage(v1.GetAppImageRequest(name="a"), ALICE)).app_image.definition,
    ]
    for data in told:
        assert data.deploy_templates[0].containers[0].command == ["engine", "--verbose"]
        assert "of-env" not in str(data)
        assert "of-header" not in str(data)
    assert "of-env" in str((await house.list()).app_images[0])


async def test_every_change_is_in_the_audit_accepted_or_refused() -> None:
    house = House()
    await house.create("a")
    await house.update("a")
    await house.create("a")
    await house.delete("a", ALICE)
    await house.delete("a")
    await house.delete("x" * 5000)
    entries = list(reversed(await house.store.audit(limit=10)))
    assert [(entry.caller, entry.method, entry.subject, entry.code) for entry in entries[:-1]] == [
        ("master", "CreateAppImage", "a", 0),
        ("master", "UpdateAppImage", "a", 0),
        ("master", "CreateAppImage", "a", Code.APP_IMAGE_EXISTS),
        ("alice", "DeleteAppImage", "a", Code.NOT_ALLOWED),
        ("master", "DeleteAppImage", "a", 0),
    ]
    assert entries[3].reason == 'domain "alice" may not change AppImage "a": only the master may'
    assert len(entries[-1].subject) <= MAX_SUBJECT_CHARACTERS


async def test_too_many_images_are_refused_and_replacing_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_images, "MAX_APP_IMAGES", 2)
    house = House()
    await house.create("a")
    await house.create("b")
    assert await house.create("c") == (
        Code.CREATE_APP_IMAGE_FAILED,
        "2 AppImages were created through the API, and no more are possible: delete some first",
    )
    assert (await house.update("b"))[0] == 0


async def test_too_much_in_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_images, "MAX_APP_IMAGES_BYTES", 1000)
    house = House()
    await house.create("a", "x" * 400)
    code, text = await house.create("b", "x" * 400)
    assert (code, "at most 1,000 are possible in all" in text) == (Code.CREATE_APP_IMAGE_FAILED, True)
    assert (await house.update("a"))[0] == 0


@pytest.mark.parametrize("character", ["x", "\1"], ids=["plain", "longer-as-json"])
async def test_a_definition_that_is_too_large_is_refused(character: str) -> None:
    house = House()
    request = create_request("a")
    for index in range(3):
        request.config_templates[f"c{index}"] = character * (MAX_DEFINITION_BYTES // (2 if character == "x" else 12))
    answer = await house.calls.CreateAppImage(request, MASTER)
    assert answer.status.code == Code.INVALID_REQUEST
    assert "at most 2,097,152 are possible through the API" in answer.status.message
    assert await house.store.app_images() == {}


async def test_a_large_definition_is_taken_and_told() -> None:
    house = House()
    request = create_request("a")
    request.config_templates["big"] = "x" * (1 << 20)
    assert (await house.calls.CreateAppImage(request, MASTER)).status.code == 0
    assert (await house.query("a")).data.config_templates["big"] == "x" * (1 << 20)


async def test_a_batch_that_is_too_large_says_how_many_fit() -> None:
    house = House()
    request = create_request("a")
    request.config_templates["big"] = "x" * (1 << 20)
    await house.calls.CreateAppImage(request, MASTER)
    answer = await house.calls.BatchQueryAppImage(pb.BatchQueryAppImageRequest(names=["a"] * 70), MASTER)
    assert answer.status.code == Code.BATCH_QUERY_APP_IMAGE_FAILED
    assert f"of 70 names the first 63 fit into {MAX_BATCH_BYTES >> 20} MiB" in answer.status.message
    assert not answer.data


async def test_what_the_store_refuses_is_not_in_force() -> None:
    class Failing(MemoryStore):
        async def put_app_image(self, name: str, definition: bytes | None, *, notes: Notes = Notes()) -> None:  # noqa: B008
            raise StoreFailed("the disk is full")

    house = House(store=Failing())
    assert await house.create("a") == (Code.CREATE_APP_IMAGE_FAILED, "the disk is full")
    assert house.catalog.names() == ()


async def test_a_change_whose_caller_leaves_while_it_is_committed_is_in_force() -> None:
    class Slow(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.began, self.may_end = asyncio.Event(), asyncio.Event()

        async def put_app_image(self, name: str, definition: bytes | None, *, notes: Notes = Notes()) -> None:  # noqa: B008
            await super().put_app_image(name, definition, notes=notes)
            self.began.set()
            await self.may_end.wait()

    store = Slow()
    house = House(store=store)
    call = asyncio.create_task(house.create("a"))
    await store.began.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    store.may_end.set()
    assert (await house.create("a"))[0] == Code.APP_IMAGE_EXISTS
    assert house.catalog.names() == ("a",)


async def test_of_calls_at_once_that_create_one_name_a_single_one_succeeds() -> None:
    class Turns(MemoryStore):
        async def put_app_image(self, name: str, definition: bytes | None, *, notes: Notes = Notes()) -> None:  # noqa: B008
            await give_way(3)  # others have their turn
            await super().put_app_image(name, definition, notes=notes)

    house = House(store=Turns())
    answers = await asyncio.gather(*(house.create("a", str(index)) for index in range(5)))
    assert sorted(code for code, _ in answers) == [0, *[Code.APP_IMAGE_EXISTS] * 4]
    assert house.command("a") == ("sh", "-c", str([code for code, _ in answers].index(0)))
    (stored,) = (await house.store.app_images()).values()
    assert stored == house.catalog.definition("a").stored


async def test_a_list_has_files_and_the_api_by_name_in_pages_without_hole_or_repeat(tmp_path: Path) -> None:
    for name in ("b", "d"):
        write_image(tmp_path, name, ["x"], ports=["peer"])
    house = House(tmp_path)
    for name in ("a", "c", "e"):
        await house.create(name)
    names: list[tuple[str, str]] = []
    token, pages = "", 0
    while True:
        page = await house.list(page_size=2, page_token=token)
        names += [(image.name, image.file) for image in page.app_images]
        pages += 1
        if pages == 1:  # what comes and goes meanwhile moves nothing else
            await house.delete("a")
            await house.create("aa")
        token = page.next_page_token
        if not token:
            break
    assert names == [("a", ""), ("b", "b.yaml"), ("c", ""), ("d", "d.yaml"), ("e", "")]
    assert pages == 3
    (told,) = (await house.list(page_size=1, page_token=PageScope("ListAppImages").token("aa"))).app_images
    assert told.image == "b:1"
    assert told.roles == [v1.Role(replicas=1, ports=[v1.Port(name="peer", protocol="TCP", scope="Cluster")])]


async def test_an_image_tells_each_role_that_it_serves() -> None:
    house = House()
    await house.calls.CreateAppImage(create_request("a"), MASTER)
    image = (await house.v1.GetAppImage(v1.GetAppImageRequest(name="a"), MASTER)).app_image
    port = v1.Port(name="peer", protocol="GRPC", scope="Cluster")
    assert image.roles == [v1.Role(role=role, replicas=2, ports=[port]) for role in ("client", "server")]
    assert (image.image, image.file) == ("engine:1.0", "")
    with pytest.raises(AppImageNotFound, match='AppImage "no" is unknown; there are: a'):
        await house.v1.GetAppImage(v1.GetAppImageRequest(name="no"), MASTER)


async def test_a_page_of_large_images_is_short_and_goes_on() -> None:
    house = House()
    for name in ("a", "b", "c"):
        request = create_request(name)
        request.config_templates["big"] = "x" * (MAX_PAGE_BYTES // 3)
        await house.calls.CreateAppImage(request, MASTER)
    page = await house.list()
    assert [image.name for image in page.app_images] == ["a", "b"]
    rest = await house.list(page_token=page.next_page_token)
    assert [image.name for image in rest.app_images] == ["c"]
    assert not rest.next_page_token


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"page_size": 1001}, "page_size 1001 is out of range: 1 to 1000"),
        ({"page_size": -1}, "page_size -1 is out of range"),
        ({"page_token": "%%%"}, "is no token of this server"),
        ({"page_token": "A"}, "is no token of this server"),
        ({"page_token": "\u00e9"}, "is no token of this server"),
        ({"page_token": "x" * 100_000}, "is no token of this server"),
        ({"page_token": PageScope("ListJobs").token("a")}, "is of another list"),
        ({"page_token": PageScope("ListAppImages").token(5)}, "is no token of this server"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidJob, match=text) as caught:
        await House().list(**fields)
    (problem,) = caught.value.problems
    assert problem.field == next(iter(fields))
