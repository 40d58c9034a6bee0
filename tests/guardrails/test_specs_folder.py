"""A followed folder: real files, a real engine, and nothing half-written is ever taken."""

import logging
import os
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event

import httpx
import pytest

from experiments.errors import StaleWriteError
from guardrails.following import Following
from guardrails.spec_paths import LARGEST_SPEC, spec_paths
from guardrails.specs_folder import RETRY_LOOKS, SpecsFolder
from tests.running import SPEC, running

BROKEN = "experiment: two\nguardrials: []\n"


def spec(key, **changes):
    text = SPEC.replace("cancel-page", key)
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


LAYER = "layer: {name: narrow, share: 60%}\n"
HEAVY = spec("one").replace("control: {weight: 50%", "control: {weight: 40%")
HEAVY = HEAVY.replace("treatment: {weight: 50%", "treatment: {weight: 60%")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "specs"
    made.mkdir()
    return made


@pytest.fixture
def followed(folder):
    """A service whose folder is looked at when a test says so."""
    with running(specs=folder, specs_seconds=3600) as it:
        yield it


def look(service, times=2):
    for _ in range(times):
        view = service.services.guarding.specs.look()
    return view


def experiments(service):
    return {view.key: view for view in service.services.engine.experiments()}


def results(view):
    return {Path(f.file).name: f.result for f in view.files}


def valid(service):
    return "turnback_config_valid 1.0" in service.http.get("/metrics").text


def test_what_is_there_at_the_start_is_applied_before_the_first_answer(folder):
    (folder / "one.yaml").write_text(spec("one"))
    (folder / "team").mkdir()
    (folder / "team" / "two.yml").write_text(spec("two"))
    with running(specs=folder) as it:
        assert it.evaluate("u1", key="one").status_code == 200
        assert set(experiments(it)) == {"one", "two"}
        assert valid(it)
        (transition,) = experiments(it)["one"].transitions
        assert transition.actor == "specs folder"
        assert str(folder / "one.yaml") in transition.reason


def test_a_broken_file_keeps_the_good_set_until_it_is_mended(followed, folder):
    (folder / "one.yaml").write_text(spec("one"))
    assert look(followed).valid
    (folder / "one.yaml").write_text(spec("one", **{"Cancel page": "The page"}))
    (folder / "two.yaml").write_text(BROKEN)
    view = look(followed)
    assert not view.valid
    assert not valid(followed)
    assert "guardrials" in {p.path for p in view.problems}
    assert experiments(followed)["one"].title == "Cancel page", "nothing of the set is applied"
    assert followed.evaluate("u1", key="one").json()["variant"]
    assert followed.http.get("/readyz").status_code == 200
    body = followed.http.get("/api/v1/specs").json()
    assert (body["dir"], body["valid"]) == (str(folder), False)
    assert body["problems"][0]["file"] == str(folder / "two.yaml")
    assert results(view) == {"one.yaml": "waiting", "two.yaml": "waiting"}
    page = followed.http.get("/").text
    assert "holds 4 problems; what was applied before stays in force" in page
    (folder / "two.yaml").write_text(spec("two"))
    assert look(followed).valid
    assert valid(followed)
    assert {k: v.title for k, v in experiments(followed).items()} == {
        "one": "The page",
        "two": "Cancel page",
    }


def test_a_change_is_taken_when_two_looks_saw_the_same(followed, folder):
    whole = spec("one")
    for end in (40, 90, 200, len(whole)):
        (folder / "one.yaml").write_text(whole[:end])
        view = look(followed, 1)
        assert view.valid
        assert experiments(followed) == {}, "half a file was read"
    assert results(look(followed, 1)) == {"one.yaml": "created"}


def test_replaced_files_links_and_drafts_of_editors_are_harmless(followed, folder):
    def mount(version, text):
        (folder / f"..{version}").mkdir()
        (folder / f"..{version}" / "one.yaml").write_text(text)
        (folder / "..next").symlink_to(f"..{version}")
        (folder / "..next").replace(folder / "..data")

    mount("v1", spec("one"))
    (folder / "one.yaml").symlink_to("..data/one.yaml")
    (folder / ".#one.yaml").symlink_to("nobody@nowhere")
    (folder / ".one.yaml.swp.yaml").write_text("half: [")
    assert results(look(followed)) == {"one.yaml": "created"}
    mount("v2", spec("one", **{"Cancel page": "The page"}))
    assert results(look(followed)) == {"one.yaml": "updated"}
    assert experiments(followed)["one"].revision == 2


def test_a_circle_of_links_ends(folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "deep" / "one.yaml").write_text("")
    assert spec_paths(folder) == (folder / "deep" / "one.yaml",)


def test_files_that_stay_are_applied_once(followed, folder, monkeypatch):
    (folder / "one.yaml").write_text(spec("one"))
    look(followed)
    asked = []
    monkeypatch.setattr(followed.services.engine, "apply", lambda *a, **k: asked.append(a))
    (folder / "one.yaml").touch()
    assert results(look(followed, 4)) == {"one.yaml": "created"}
    assert asked == []


def test_a_rollback_outlasts_whatever_is_written_and_a_stop_too(followed, folder):
    (folder / "one.yaml").write_text(spec("one"))
    look(followed)
    followed.act("roll_back", key="one", variant="treatment")
    (folder / "one.yaml").write_text(spec("one", **{"Cancel page": "The page"}))
    assert results(look(followed)) == {"one.yaml": "updated"}
    states = {v.name: v.state for v in experiments(followed)["one"].variants}
    assert states["treatment"] == "rolled_back"
    followed.act("stop", key="one")
    (folder / "one.yaml").write_text(spec("one", **{"Cancel page": "Another page"}))
    view = look(followed)
    assert results(view) == {"one.yaml": "refused"}
    assert "raise `seed`" in view.files[0].conflict
    assert experiments(followed)["one"].state == "stopped"


def test_a_refused_file_is_told_and_the_others_are_applied(followed, folder):
    (folder / "one.yaml").write_text(spec("one"))
    look(followed)
    (folder / "one.yaml").write_text(HEAVY)
    (folder / "two.yaml").write_text(spec("two"))
    view = look(followed)
    assert results(view) == {"one.yaml": "refused", "two.yaml": "created"}
    assert not valid(followed)
    assert "weight of " in followed.http.get("/").text
    (folder / "one.yaml").write_text(HEAVY.replace("unit:", "seed: 2\nunit:"))
    assert results(look(followed)) == {"one.yaml": "updated", "two.yaml": "unchanged"}
    assert valid(followed)


def test_what_stood_in_the_way_may_be_over_so_a_refused_file_is_tried_again(followed, folder):
    assert followed.apply(spec("elsewhere") + LAYER).status_code == 201
    (folder / "one.yaml").write_text(spec("one") + LAYER)
    assert results(look(followed)) == {"one.yaml": "refused"}
    followed.act("stop", key="elsewhere")
    assert results(look(followed, RETRY_LOOKS - 1)) == {"one.yaml": "refused"}
    assert results(look(followed, 1)) == {"one.yaml": "created"}
    assert valid(followed)


@pytest.mark.parametrize("error", [StaleWriteError("changed"), RuntimeError("disk")])
def test_what_fails_for_a_moment_is_tried_at_the_next_look(followed, folder, monkeypatch, error):
    real, left = followed.services.engine.apply, [error]

    def once(text, *, dry_run=False, **given):
        if left and not dry_run:
            raise left.pop()
        return real(text, dry_run=dry_run, **given)

    monkeypatch.setattr(followed.services.engine, "apply", once)
    (folder / "one.yaml").write_text(spec("one"))
    view = look(followed)
    assert (results(view), view.valid) == ({"one.yaml": "failed"}, False)
    view = look(followed, 1)
    assert (results(view), view.valid) == ({"one.yaml": "created"}, True)


def test_a_file_that_goes_away_changes_nothing_and_is_told(followed, folder, caplog):
    (folder / "one.yaml").write_text(spec("one"))
    look(followed)
    (folder / "one.yaml").rename(folder / "renamed.yaml")
    assert results(look(followed)) == {"renamed.yaml": "unchanged"}, "a new name is no new file"
    (folder / "renamed.yaml").unlink()
    with caplog.at_level(logging.WARNING, "turnback.specs"):
        view = look(followed, 6)
    assert (results(view), view.valid) == ({"renamed.yaml": "gone"}, True)
    assert experiments(followed)["one"].state == "running"
    (said,) = caplog.messages
    assert "its experiment one goes on. Stop it with `turnback stop one`" in said
    followed.act("stop", key="one")
    (folder / "two.yaml").write_text(spec("two"))
    assert results(look(followed)) == {"two.yaml": "created"}, "an ended experiment needs no file"


def by_hand(service, text, actor="ada"):
    headers = {"X-Turnback-Actor": actor}
    assert service.apply(text, headers=headers).json()["result"] == "updated"


def test_a_text_applied_over_a_file_is_told_and_stays_until_the_file_changes(
    followed, folder, caplog
):
    file = folder / "one.yaml"
    file.write_text(spec("one"))
    (folder / "two.yaml").write_text(spec("two"))
    look(followed)
    by_hand(followed, spec("one", **{"Cancel page": "By hand"}))
    with caplog.at_level(logging.WARNING, "turnback.specs"):
        view = look(followed, RETRY_LOOKS + 3)
    assert (results(view), view.valid) == ({"one.yaml": "replaced", "two.yaml": "created"}, True)
    assert (experiments(followed)["one"].title, experiments(followed)["one"].revision) == (
        "By hand",
        2,
    )
    (told,) = view.attention
    assert told.startswith(f"{file}: one does not run this file: ada applied revision 2 over it")
    assert f"`turnback revisions one --show 2 > {file}`" in told
    assert f"`turnback apply {file}`" in told
    assert caplog.messages == [told], "it is logged once"
    assert f"turnback apply {file}" in followed.http.get("/").text
    (shown, _) = followed.http.get("/api/v1/specs").json()["files"]
    assert (shown["result"], shown["revision"]) == ("replaced", None)
    assert told.endswith(shown["drift"])
    # another file of the folder changes: that is no reason to touch this one
    (folder / "two.yaml").write_text(spec("two", **{"Cancel page": "The page"}))
    assert results(look(followed)) == {"one.yaml": "replaced", "two.yaml": "updated"}
    file.write_text(spec("one", **{"Cancel page": "Changed"}))
    assert results(look(followed))["one.yaml"] == "updated"
    assert experiments(followed)["one"].title == "Changed"
    assert look(followed, 1).attention == ()


@pytest.mark.parametrize("way", ["the file is applied", "the text is taken over", "it is stopped"])
def test_drift_ends_when_somebody_decides(followed, folder, way):
    first, second = spec("one"), spec("one", **{"Cancel page": "By hand"})
    (folder / "one.yaml").write_text(first)
    look(followed)
    by_hand(followed, second)
    assert results(look(followed, 1)) == {"one.yaml": "replaced"}
    if way == "the file is applied":
        by_hand(followed, first)
    elif way == "the text is taken over":
        (folder / "one.yaml").write_text(second)
    else:
        followed.act("stop", key="one")
    view = look(followed)
    assert (results(view), view.attention) == ({"one.yaml": "unchanged"}, ())
    assert experiments(followed)["one"].revision == (3 if way == "the file is applied" else 2)


def test_drift_outlasts_a_new_start_and_a_new_name(folder):
    data = folder.parent / "data"
    (folder / "one.yaml").write_text(spec("one"))
    with running(specs=folder, data=data) as it:
        by_hand(it, spec("one", **{"Cancel page": "By hand"}))
    with running(specs=folder, data=data) as it:
        assert results(look(it, 1)) == {"one.yaml": "replaced"}
        (folder / "one.yaml").rename(folder / "new.yaml")
        assert results(look(it)) == {"new.yaml": "replaced"}
        assert experiments(it)["one"].title == "By hand"
    (folder / "new.yaml").write_text(spec("one", **{"Cancel page": "Changed"}))
    with running(specs=folder, data=data) as it:
        look(it, 1)
        assert experiments(it)["one"].title == "Changed", "the file changed while nobody looked"


def test_a_file_that_goes_back_to_an_older_text_is_a_change_of_the_folder(folder):
    data = folder.parent / "data"
    first, second = spec("one"), spec("one", **{"Cancel page": "By hand"})
    (folder / "one.yaml").write_text(first)
    with running(specs=folder, data=data) as it:
        by_hand(it, second)
        (folder / "one.yaml").write_text(second)
        assert results(look(it)) == {"one.yaml": "unchanged"}
        (folder / "one.yaml").write_text(first)
        assert results(look(it)) == {"one.yaml": "updated"}
        (folder / "one.yaml").write_text(second)
        look(it)
    (folder / "one.yaml").write_text(first)
    with running(specs=folder, data=data) as it:
        look(it, 1)
        assert experiments(it)["one"].revision == 5


@pytest.mark.parametrize("inside", [False, True])
def test_a_folder_that_may_not_be_read_is_told_and_nothing_of_it_seems_gone(
    followed, folder, monkeypatch, inside
):
    (folder / "team").mkdir()
    (folder / "lost+found").mkdir()
    (folder / "team" / "one.yaml").write_text(spec("one"))
    assert look(followed).valid
    shut, real = folder / "team" if inside else folder, os.scandir

    def scandir(path):
        if Path(path) in {shut, folder / "lost+found"}:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    view = look(followed)
    where = f"{shut} in it " if inside else ""
    (told,) = view.attention
    assert told.startswith(f"{folder}: {where}cannot be read: permission denied; the experiments")
    assert not valid(followed)
    assert "gone" not in results(view).values()
    assert experiments(followed)["one"].state == "running"
    shut = folder / "nothing"
    assert look(followed).valid


def test_a_file_in_the_place_of_the_folder_is_told(folder):
    folder.rmdir()
    folder.write_text(spec("one"))
    with running(specs=folder) as it:
        (told,) = look(it).attention
        assert told.startswith(f"{folder}: is a file, and no folder; ")
        assert not valid(it)


def test_the_file_of_an_ended_experiment_may_stay_and_claims_nothing(followed, folder):
    (folder / "one.yaml").write_text(spec("one") + LAYER)
    look(followed)
    followed.act("stop", key="one")
    (folder / "two.yaml").write_text(spec("two") + LAYER)
    view = look(followed)
    assert (results(view), view.valid) == ({"one.yaml": "unchanged", "two.yaml": "created"}, True)


def test_files_that_do_not_fit_together_are_refused_together(followed, folder):
    (folder / "one.yaml").write_text(spec("same"))
    (folder / "two.yaml").write_text(spec("same"))
    view = look(followed)
    assert not view.valid
    assert "is the experiment of" in view.problems[0].message
    assert experiments(followed) == {}


def test_what_did_not_fit_together_is_taken_when_the_other_has_ended(followed, folder):
    (folder / "one.yaml").write_text(spec("one") + LAYER)
    look(followed)
    (folder / "two.yaml").write_text(spec("two") + LAYER)
    assert not look(followed).valid
    followed.services.engine.stop("one", reason="it is over", actor="ann")
    view = look(followed, times=RETRY_LOOKS + 1)
    assert view.valid
    assert "two" in experiments(followed)


def test_problems_are_logged_once_and_that_all_is_well_again(followed, folder, caplog):
    with caplog.at_level(logging.WARNING, "turnback.specs"):
        (folder / "two.yaml").write_text(BROKEN)
        look(followed, 5)
        first = list(caplog.messages)
        assert sum("guardrials: unknown key" in line for line in first) == 1
        assert first[-1] == f"{folder}: nothing of it is applied; what was before goes on"
        (folder / "two.yaml").write_text(spec("two"))
        look(followed, 5)
    assert caplog.messages[len(first) :] == [f"{folder}: all of it is good and applied"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"experiment: \xff\n", "this is not UTF-8 text"),
        (b"#" * (LARGEST_SPEC + 1), "is larger than 1,000,000 bytes"),
    ],
)
def test_what_is_no_text_is_a_problem_of_its_file(followed, folder, content, words):
    (folder / "one.yaml").write_bytes(content)
    (problem,) = look(followed).problems
    assert problem.file == str(folder / "one.yaml")
    assert words in problem.message


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_in_the_folder_is_a_problem_and_holds_nothing_up(followed, folder, linked):
    (folder / "one.yaml").write_text(spec("one"))
    pipe = folder.parent / "pipe" if linked else folder / "pipe.yaml"
    os.mkfifo(pipe)
    if linked:
        (folder / "pipe.yaml").symlink_to(pipe)
    view = look(followed)
    assert list(map(str, view.problems)) == [f"{folder / 'pipe.yaml'}: is no regular file"]
    assert not valid(followed)
    (folder / "pipe.yaml").unlink()
    assert results(look(followed)) == {"one.yaml": "created"}


def test_a_folder_that_is_not_looked_through_any_more_is_told(folder):
    passed = [0.0]
    with running(specs=folder) as it:
        engine, clock = it.services.engine, it.services.clock
        specs = SpecsFolder.of(folder, engine, clock, late_after=timedelta(seconds=30))
        specs._elapsed = lambda: specs._looked_at + passed[0]
        it.services.guarding.specs = specs
        specs.look()
        passed[0] = 30.0
        assert specs.view.valid
        passed[0] = 31.0
        assert not valid(it)
        body = it.http.get("/api/v1/specs").json()
        assert not body["valid"]
        assert body["problems"][0]["message"].startswith("has not been looked through since 2026-")
        assert "is it on a mount that hangs?" in it.http.get("/").text
        passed[0] = 0.0
        assert valid(it)


def test_a_look_that_hangs_keeps_a_service_neither_from_starting_nor_from_ending(caplog):
    hangs, looks = Event(), []

    def look():
        looks.append(1)
        if len(looks) == 1:
            raise OSError("stale handle")
        hangs.wait(60)

    following = Following(look, timedelta(0))
    assert following.start()
    wait_for(lambda: len(looks) == 2)
    following.close(wait=0.01)
    hangs.set()
    following.close()
    assert len(looks) == 2
    assert "looking at the spec files failed; it is tried again" in caplog.text
    stuck = Following(lambda: hangs.clear() or hangs.wait(60), timedelta(0))
    assert not stuck.start(wait=0.01)
    stuck.close(wait=0.01)
    hangs.set()
    stuck.close()


def test_a_name_that_is_no_utf8_is_shown_escaped(followed, folder):
    Path(os.fsdecode(os.fsencode(folder) + b"/one\xff.yaml")).write_text(spec("one"))
    look(followed)
    (file,) = followed.http.get("/api/v1/specs").json()["files"]
    assert (file["file"], file["result"]) == (f"{folder}/one\\xff.yaml", "created")
    Path(os.fsdecode(os.fsencode(folder) + b"/two\xfe.yaml")).write_text(BROKEN)
    look(followed)
    body = followed.http.get("/api/v1/specs").json()
    assert {problem["file"] for problem in body["problems"]} == {f"{folder}/two\\xfe.yaml"}
    assert "two\\xfe.yaml" in followed.http.get("/").text


def test_a_folder_that_does_not_exist_is_told_and_the_service_serves_what_it_has(folder):
    data = folder.parent / "data"
    with running(specs=folder, data=data) as it:
        it.apply(spec("one"))
    folder.rmdir()
    with running(specs=folder, data=data) as it:
        assert it.evaluate("u1", key="one").status_code == 200
        assert not valid(it)
        (problem,) = it.http.get("/api/v1/specs").json()["problems"]
        assert problem["message"] == "there is no such folder"
        told = (
            f"{folder}: there is no such folder; the experiments known so far go on without it; "
            "mend it, or start the service with another `--specs`"
        )
        assert it.services.guarding.specs.view.attention == (told,)
        shown = told.replace("`--specs`", "<code>--specs</code>")
        assert shown in it.http.get("/").text
        folder.mkdir()
        assert look(it).valid


def test_a_broken_folder_at_the_start_leaves_what_was_good(folder):
    data = folder.parent / "data"
    (folder / "one.yaml").write_text(spec("one"))
    with running(specs=folder, data=data) as it:
        assert it.evaluate("u1", key="one").status_code == 200
    (folder / "two.yaml").write_text(BROKEN)
    with running(specs=folder, data=data) as it:
        assert it.evaluate("u1", key="one").status_code == 200
        assert not valid(it)
        (folder / "two.yaml").unlink()
        assert results(look(it)) == {"one.yaml": "unchanged"}
        assert valid(it)


def test_a_query_that_only_the_service_knows_is_a_problem_of_the_set(followed, folder):
    rule = "  - {rule: promql, query: refund_p99, max: 0.8, hold: 5m}\nends"
    (folder / "one.yaml").write_text(spec("one", ends=rule))
    (folder / "two.yaml").write_text(spec("two"))
    view = look(followed)
    assert "the service has no query `refund_p99`" in str(view.problems[0])
    assert experiments(followed) == {}


def test_a_faulty_file_sent_and_a_faulty_folder_both_make_the_series_0(followed, folder):
    followed.apply(BROKEN)
    look(followed)
    assert not valid(followed)
    followed.apply(spec("sent"))
    assert valid(followed)
    (folder / "two.yaml").write_text(BROKEN)
    look(followed)
    assert not valid(followed)
    followed.apply(spec("sent"))
    assert not valid(followed), "a good file sent does not mend the folder"


def test_without_a_folder_the_view_is_empty():
    with running() as it:
        view = it.http.get("/api/v1/specs").json()
        assert (view["dir"], view["valid"], view["files"]) == (None, True, [])


def test_a_running_service_follows_its_folder_by_itself(folder):
    with running(specs=folder, specs_seconds=0.02, demo=False, checks=False) as it:
        part = folder / "part"
        part.write_text(spec("one"))
        part.rename(folder / "one.yaml")
        wait_for(lambda: "one" in experiments(it))
        (folder / "one.yaml").write_text(BROKEN)
        wait_for(lambda: not valid(it))
        os.unlink(folder / "one.yaml")  # noqa: PTH108 - as a shell does
        wait_for(lambda: valid(it))
        assert it.evaluate("u1", key="one", timeout=httpx.Timeout(5)).status_code == 200


def wait_for(what):
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_look_says_when_it_was(followed, folder):
    view = look(followed, 1)
    clock = followed.services.clock
    assert view.checked_at == clock.now()
    clock.move_to(clock.now() + timedelta(hours=1))
    assert look(followed, 1) == replace(view, checked_at=clock.now())
    assert isinstance(followed.services.guarding.specs, SpecsFolder)
