"""Acting from pages: a reason, the consequence in words, forms no other site can send, keys."""

from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from console.dashboard.sessions import LASTS, Sessions
from console.views.acting import SHOWN, Typed, action_links, action_page
from experiments.lifecycle import ACTIONS
from guardrails.views import VariantView
from metrics.access import Keys
from metrics.keyring import KeyRing
from tests.browsing import chromium, visit
from tests.pages import filled, send, token_of
from tests.running import KEY, SPEC, running
from tests.views import view

BASE = f"/experiments/{KEY}/actions"
ADMIN = "tb_admin_of_this_test"
WHO = {"reason": "people complain", "actor": "ann"}
RAMP = SPEC.replace(
    "guardrails:", "ramp: [{traffic: 20%, hold: 1h, approval: true}, {traffic: 100%}]\nguardrails:"
)


@pytest.fixture(scope="module")
def it():
    with running() as service:
        service.apply(RAMP)
        yield service


@pytest.fixture(scope="module")
def locked():
    with running(admin_key=ADMIN) as service:
        service.http.headers["Authorization"] = f"Bearer {ADMIN}"
        service.apply()
        del service.http.headers["Authorization"]
        yield service


@pytest.fixture(scope="module")
def plain():
    with running() as service:
        service.apply()
        yield service


def newest(service):
    return service.services.engine.transitions(KEY)[-1]


@pytest.mark.parametrize(
    ("path", "after", "words"),
    [
        ("approve", "step 1 approved", "The ramp goes from 20% to 100% of the traffic"),
        ("pause", "paused", "From the next answer on everybody gets control."),
        ("continue", "running", "everybody gets the variant they had"),
        ("roll_back/treatment", "rolled_back", "everybody who has treatment gets control"),
        ("resume/treatment", "live", "at a fresh level"),
        ("stop", "stopped", "harm that shows later is not seen any more"),
    ],
)
def test_an_action_says_its_consequence_takes_a_reason_and_leads_back(it, path, after, words):
    page = it.http.get(f"{BASE}/{path}")
    assert words in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "same-origin", "else browsers hide the origin"
    answer = filled(it.http, f"{BASE}/{path}", **WHO)
    done = newest(it)
    assert (done.after, done.actor, done.reason) == (after, "ann", "people complain")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/experiments/{KEY}?done=t{done.id}"
    call = it.services.admission.calls(1)[0]
    assert (call.method, call.path, call.status) == ("POST", f"{BASE}/{path}", 303)
    assert (call.actor, call.key) == ("ann", "")


def test_extending_from_a_page_moves_the_end_by_a_length_or_to_an_instant():
    with running() as it:
        it.apply()
        before = it.services.engine.experiment(KEY).ends_at
        filled(it.http, f"{BASE}/extend", by="7d", **WHO)
        assert it.services.engine.experiment(KEY).ends_at == before + timedelta(days=7)
        filled(it.http, f"{BASE}/extend", until="2026-03-01T12:00", **WHO)
        ends = it.services.engine.experiment(KEY).ends_at
        assert ends == datetime(2026, 3, 1, 12, tzinfo=UTC)
        answer = filled(it.http, f"{BASE}/extend", by="soon", **WHO)
        assert answer.status_code == 400
        assert "&#39;soon&#39; is no length of time" in answer.text
        assert 'value="soon"' in answer.text
        assert 'aria-invalid="true"' in answer.text
        assert "people complain</textarea>" in answer.text
        answer = filled(it.http, f"{BASE}/extend", until="tomorrow", **WHO)
        assert "this is no date and time" in answer.text
        every = it.services.engine.experiment(KEY).ends_at
        assert every == ends


def test_every_treatment_can_be_turned_back_at_once():
    three = SPEC.replace(
        "treatment: {weight: 50%", "other: {weight: 25%, flow: {}}\n  treatment: {weight: 25%"
    )
    with running() as it:
        it.apply(three)
        page = unescape(it.http.get(f"{BASE}/roll_back/*").text)
        assert f'turnback roll-back {KEY} --all --reason "..."' in page
        filled(it.http, f"{BASE}/roll_back/*", **WHO)
        states = {v.name: v.state for v in it.services.engine.experiment(KEY).variants}
        assert states == {"control": "control", "other": "rolled_back", "treatment": "rolled_back"}


def test_what_is_refused_is_said_in_its_place_and_what_was_typed_is_kept():
    with running() as one:
        one.apply()
        blank = filled(one.http, f"{BASE}/pause", reason="  ", actor="ann")
        assert blank.status_code == 400
        assert "a reason is needed" in blank.text
        assert 'value="ann"' in blank.text
        nobody = filled(one.http, f"{BASE}/pause", reason="<b>why</b>", actor="")
        assert "your name is missing" in nobody.text
        assert "&lt;b&gt;why&lt;/b&gt;</textarea>" in nobody.text
        long = filled(one.http, f"{BASE}/pause", reason="x" * 2_001, actor="ann")
        assert long.status_code == 400
        page = one.http.get(f"{BASE}/pause").text
        one.act("stop")  # somebody else meanwhile
        late = send(one.http, f"{BASE}/pause", csrf=token_of(page), **WHO)
        assert late.status_code == 409
        assert "Nothing was done" in late.text
        assert one.http.get(f"{BASE}/pause").status_code == 200, "it says that it is not possible"
        assert "This is not possible now" in one.http.get(f"{BASE}/pause").text
        assert one.http.get(f"{BASE}/dance").status_code == 404
        assert one.http.get("/experiments/none/actions/pause").status_code == 404
        assert one.http.get(f"{BASE}/pause?why=x").status_code == 400


FORGED = [
    pytest.param({"Origin": "https://evil.example"}, {}, id="another origin"),
    pytest.param({"Origin": "null"}, {}, id="a hidden origin"),
    pytest.param({"Sec-Fetch-Site": "cross-site"}, {}, id="another site"),
    pytest.param({"Sec-Fetch-Site": "same-site"}, {}, id="a neighbour"),
    pytest.param({}, {"csrf": "0" * 64}, id="another token"),
    pytest.param({}, {"csrf": ""}, id="no token"),
    pytest.param({"Cookie": "turnback_session=other"}, {}, id="another session"),
    pytest.param({"Cookie": ""}, {}, id="no session"),
    pytest.param({"Content-Type": "text/plain"}, {}, id="no form"),
]


@pytest.mark.parametrize(("headers", "fields"), FORGED)
def test_a_form_that_this_page_did_not_give_is_refused_and_changes_nothing(plain, headers, fields):
    plain.http.cookies.clear()
    page = plain.http.get(f"{BASE}/pause")
    given = {"csrf": token_of(page.text), **WHO, **fields}
    answer = send(plain.http, f"{BASE}/pause", headers=headers, **given)
    assert answer.status_code == 403
    assert plain.services.engine.experiment(KEY).state == "running"
    if "Content-Type" not in headers:
        assert "people complain</textarea>" in answer.text, "what was typed is kept"


def test_an_admin_key_is_entered_once_and_kept_nowhere(locked):
    http = locked.http
    page = http.get(f"{BASE}/pause")
    assert 'type="password"' in page.text
    none = filled(http, f"{BASE}/pause", **WHO)
    assert none.status_code == 401
    assert "this wants an admin key" in none.text
    assert "people complain</textarea>" in none.text
    wrong = filled(http, f"{BASE}/pause", admin_key="tb_admin_wrong", **WHO)
    assert wrong.status_code == 401
    assert "tb_admin_wrong" not in wrong.text
    before = http.cookies["turnback_session"]
    done = filled(http, f"{BASE}/pause", admin_key=ADMIN, **WHO)
    assert done.status_code == 303
    cookie = done.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert ADMIN not in cookie
    assert http.cookies["turnback_session"] != before, "an id from before is worth nothing"
    assert newest(locked).actor == "ann"
    assert locked.services.admission.calls(1)[0].key == "TURNBACK_ADMIN_KEY"
    again = http.get(f"{BASE}/continue").text
    assert 'type="password"' not in again
    assert "Signed in with the key TURNBACK_ADMIN_KEY." in again
    assert filled(http, f"{BASE}/continue", **WHO).status_code == 303
    out = filled(http, "/session", out="yes")
    assert out.status_code == 303
    assert 'type="password"' in http.get(f"{BASE}/pause").text
    stolen = send(http, f"{BASE}/pause", headers={"Cookie": f"turnback_session={before}"}, **WHO)
    assert stolen.status_code == 403


def test_what_was_refused_stays_on_the_page_whatever_happens_meanwhile(locked):
    with chromium() as browser, visit(browser, locked) as page:
        page.goto(f"{locked.url}{BASE}/pause")
        page.get_by_label("Reason").fill("people complain")
        page.get_by_label("Your name").fill("ann")
        page.get_by_label("Admin key").fill("tb_admin_wrong")
        page.get_by_role("button", name="Pause").click()
        page.get_by_text("this is no admin key of this service").wait_for()
        note = {"text": "something new"}
        headers = {"Authorization": f"Bearer {ADMIN}"}
        path = f"/api/v1/experiments/{KEY}/notes"
        assert locked.http.post(path, json=note, headers=headers).status_code in {200, 201}
        page.wait_for_timeout(1_000)  # a page that keeps itself current would be another by now
        assert page.get_by_text("this is no admin key of this service").is_visible()
        assert page.get_by_label("Reason").input_value() == "people complain"
        assert page.locator("#live").inner_text() == ""


def test_signing_in_has_a_page_of_its_own(locked):
    http = locked.http
    http.cookies.clear()
    assert "Sign in to act" in http.get("/session").text
    assert filled(http, "/session", admin_key="").status_code == 401
    wrong = filled(http, "/session", admin_key="no such key")
    assert "this is no admin key of this service" in wrong.text
    assert filled(http, "/session", admin_key=ADMIN).headers["location"] == "/session"
    assert "Signed in with the key TURNBACK_ADMIN_KEY" in http.get("/session").text
    http.cookies.clear()
    forged = send(http, "/session", admin_key=ADMIN, csrf="x")
    assert forged.status_code == 403
    assert (
        "turnback_session" not in dict(http.cookies)
        or "Sign in to act" in http.get("/session").text
    )


def test_a_page_of_another_name_on_this_machine_may_not_act_without_a_key(plain):
    """DNS that leads a foreign name here makes it look like its own origin."""
    plain.http.cookies.clear()
    page = plain.http.get(f"{BASE}/stop", headers={"Host": "evil.example"})
    assert page.status_code == 403
    assert "answers to the names of its own machine alone" in page.text
    assert "<form" not in page.text


class Clock:
    now = datetime(2026, 1, 5, tzinfo=UTC)

    def __call__(self):
        return self.now


def ring_of(*keys):
    found = Keys.of(host="10.0.0.7", admin=keys[0] if keys else None)
    return KeyRing(found, limit=0, now=Clock(), seconds=lambda: 0.0)


def test_a_session_ends_by_itself_and_with_its_key():
    clock, ring = Clock(), ring_of(ADMIN)
    sessions = Sessions(ring, clock)
    session = sessions.sign_in(ADMIN)
    assert session not in repr(sessions)
    assert sessions.signed(session).name == "TURNBACK_ADMIN_KEY"
    assert sessions.sign_in("wrong") is None
    assert sessions.sign_in("") is None
    assert sessions.signed("") is None
    clock.now += LASTS - timedelta(seconds=1)
    assert sessions.signed(session) is not None
    clock.now += timedelta(seconds=1)
    assert sessions.signed(session) is None
    second = sessions.sign_in(ADMIN)
    ring.replace(Keys.of(host="10.0.0.7", admin="another"))
    assert sessions.signed(second) is None, "its key was revoked"


def test_a_token_belongs_to_one_session_of_one_process():
    sessions, others = Sessions(ring_of(), Clock()), Sessions(ring_of(), Clock())
    one, two = sessions.new_id(), sessions.new_id()
    assert sessions.carries(one, sessions.token(one))
    assert not sessions.carries(two, sessions.token(one))
    assert not others.carries(one, sessions.token(one))
    assert not sessions.carries("", sessions.token(""))
    assert not sessions.carries(one, "\udce9")


def test_every_action_a_person_may_ask_for_has_a_page():
    assert set(SHOWN) == set(ACTIONS)
    running_view = view(actions=ACTIONS, variants=_arms("live"))
    links = action_links(running_view)
    assert {link.action for link in links} == set(ACTIONS) - {"resume"}
    back = action_links(view(actions=("resume",), variants=_arms("rolled_back")))
    assert [link.path for link in back] == ["/experiments/x/actions/resume/b"]
    for action in ACTIONS:
        variant = "b" if action in {"resume", "roll_back"} else ""
        state = "rolled_back" if action == "resume" else "live"
        page = action_page(
            view(actions=ACTIONS, variants=_arms(state)), action, variant, typed=Typed()
        )
        assert page.possible
        assert page.consequences
        assert page.command.startswith("turnback ")


def _arms(state):
    return (
        VariantView("control", "control", 0.5, 0.5, 10, 1, None),
        VariantView("b", state, 0.5, 0.5, 11, 1, None),
    )
