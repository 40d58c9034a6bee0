"""Mail against a real SMTP server on loopback."""

import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from threading import Event, Thread

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from guardrails.channels import DeliveryError, Message
from guardrails.channels.email import EmailChannel, message_id
from tests.receivers import free_port

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:aiosmtpd")

MESSAGE = Message(
    key="rolled_back:cancel-page/treatment/1/1",
    kind="rolled_back",
    experiment="cancel-page",
    variant="treatment",
    at=datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
    title="cancel-page: treatment was turned back to control",
    text="Satisfaction is 7% lower.\n满意度下降",
    evidence={"z": 3.2},
    facts={"kpi": "Satisfaction", "next": "turnback explain cancel-page"},
)


class Mailbox:
    """Keeps mails; answers as told."""

    def __init__(self, *, rcpt=None, data="250 taken", hold=None):
        self.rcpt, self.data, self.hold = rcpt or {}, data, hold
        self.got = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        answer = self.rcpt.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.data.startswith("250"):
            self.got.append((list(envelope.rcpt_tos), envelope.content))
        return self.data

    def mails(self):
        return [message_from_bytes(content, policy=default) for _, content in self.got]


@contextmanager
def serving(mailbox, **options):
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def channel(port, *, to=("ops@example.com",), **options):
    given = {"security": "none", "timeout": timedelta(seconds=5), **options}
    return EmailChannel("127.0.0.1", port, "turnback@example.com", to, **given)


def failure(mail, message=MESSAGE):
    with pytest.raises(DeliveryError) as caught:
        mail.send(message)
    return caught.value


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", cert),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


def server_side(certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


def test_a_mail_has_the_reason_the_facts_and_an_id_made_from_the_key():
    box = Mailbox()
    with serving(box) as port:
        mail = channel(port, to=("ops@example.com", "pm@example.com"))
        mail.send(MESSAGE)
        mail.send(MESSAGE)
    assert [to for to, _ in box.got] == [["ops@example.com", "pm@example.com"]] * 2
    first, second = box.mails()
    assert first["Subject"] == MESSAGE.title
    assert first["From"] == "Turnback <turnback@example.com>"
    assert first["To"] == "ops@example.com, pm@example.com"
    assert first["Message-ID"] == second["Message-ID"] == message_id(MESSAGE.key, "example.com")
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["X-Turnback-Key"] == MESSAGE.key
    body = first.get_content()
    for part in ("满意度下降", "KPI: Satisfaction", "Next: turnback explain", MESSAGE.key):
        assert part in body


def test_another_message_has_another_id():
    assert message_id("a", "x.de") != message_id("b", "x.de")


@pytest.mark.parametrize("field", ["title", "key", "kind", "text"])
def test_no_text_of_a_message_adds_a_header(field):
    box = Mailbox()
    evil = "x\r\nBcc: thief@example.com\r\n\r\nbody\x85\u2028Bcc: thief@example.com"
    with serving(box) as port:
        channel(port).send(replace(MESSAGE, **{field: evil}))
    (mail,) = box.mails()
    assert mail["Bcc"] is None
    assert set(mail.keys()) <= {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "References"),
        *("X-Turnback-Key", "X-Turnback-Kind", "MIME-Version"),
        *("Content-Type", "Content-Transfer-Encoding", "X-Peer", "X-MailFrom", "X-RcptTo"),
    }
    assert box.got[0][0] == ["ops@example.com"]


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_a_mail_goes_over_tls_to_a_server_whose_certificate_is_trusted(certificate, security):
    box, context = Mailbox(), server_side(certificate)
    given = {"tls_context": context, "require_starttls": True}
    options = given if security == "starttls" else {"ssl_context": context}
    with serving(box, **options) as port:
        channel(port, security=security, ca_file=certificate[0]).send(MESSAGE)
        stranger = failure(channel(port, security=security))
    assert len(box.got) == 1
    assert "certificate of 127.0.0.1" in str(stranger)
    assert "ca_file" in stranger.hint


def test_a_server_without_starttls_gets_no_mail_in_the_open():
    box = Mailbox()
    with serving(box) as port:
        error = failure(channel(port, security="starttls"))
    assert (box.got, error.retryable) == ([], False)
    assert "does not offer" in str(error)


def test_a_login_is_made_and_a_wrong_password_is_permanent_and_never_shown(certificate):
    def check(server, session, envelope, mechanism, data):
        known = isinstance(data, LoginPassword) and data.password == b"right-password"
        return AuthResult(success=known, handled=False)

    box = Mailbox()
    options = {
        "tls_context": server_side(certificate),
        "authenticator": check,
        "auth_required": True,
    }
    with serving(box, **options) as port:
        safe = {"security": "starttls", "ca_file": certificate[0], "user": "turnback"}
        channel(port, **safe, password="right-password").send(MESSAGE)
        wrong = channel(port, **safe, password="wrong-password")
        error = failure(wrong)
        assert not failure(channel(port, **safe | {"user": None})).retryable
    assert len(box.got) == 1
    assert " 535 " in str(error)
    assert not error.retryable
    assert "password" in error.hint
    assert "wrong-password" not in f"{error}{wrong!r}"


@pytest.mark.parametrize(
    ("answer", "retryable"), [("550 no such user", False), ("450 try later", True)]
)
def test_a_refused_recipient_is_permanent_or_not_as_the_server_says(answer, retryable):
    with serving(Mailbox(rcpt={"ops@example.com": answer})) as port:
        error = failure(channel(port))
    assert error.retryable is retryable
    assert str(error) == f"127.0.0.1:{port} refused ops@example.com: {answer}"


def test_recipients_that_are_served_get_it_although_another_is_refused_for_good():
    box = Mailbox(rcpt={"gone@example.com": "550 gone"})
    with serving(box) as port:
        channel(port, to=("ops@example.com", "gone@example.com")).send(MESSAGE)
    assert [to for to, _ in box.got] == [["ops@example.com"]]


def test_a_recipient_refused_for_now_gets_it_with_the_next_try():
    box = Mailbox(rcpt={"late@example.com": "451 greylisted"})
    with serving(box) as port:
        mail = channel(port, to=("ops@example.com", "late@example.com"))
        assert failure(mail).retryable
        box.rcpt.clear()
        mail.send(MESSAGE)
    assert [to for to, _ in box.got][1] == ["ops@example.com", "late@example.com"]
    assert len({m["Message-ID"] for m in box.mails()}) == 1


@pytest.mark.parametrize(
    ("answer", "retryable"), [("554 5.7.1 spam\r\n", False), ("452 disk full\r\n", True)]
)
def test_a_mail_that_is_refused_as_a_whole_is_permanent_or_not(answer, retryable):
    with serving(Mailbox(data=answer.strip())) as port:
        error = failure(channel(port))
    assert (error.retryable, answer[:3] in str(error)) == (retryable, True)


def test_no_server_is_tried_again():
    error = failure(channel(free_port()))
    assert (error.retryable, "cannot be reached" in str(error)) == (True, True)


@pytest.mark.parametrize("greeting", [b"", b"2"])
def test_a_server_that_hangs_or_drips_costs_the_timeout_and_no_more(greeting):
    over = Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang():
            peer, _ = listening.accept()
            with peer:
                while greeting and not over.wait(0.05):
                    try:
                        peer.send(greeting)
                    except OSError:
                        return
                over.wait(10)

        thread = Thread(target=hang)
        thread.start()
        begun = time.monotonic()
        port = listening.getsockname()[1]
        error = failure(channel(port, timeout=timedelta(seconds=0.5)))
        took = time.monotonic() - begun
        over.set()
        thread.join()
    assert took < 3
    assert str(error) == f"127.0.0.1:{port} did not answer within 0.5 s"
    assert error.retryable
