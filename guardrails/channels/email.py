"""E-mail over SMTP: one mail per message, with a Message-ID made from its key."""

import smtplib
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from hashlib import sha256
from pathlib import Path
from socket import SHUT_RDWR
from threading import Event, Timer
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from guardrails.channels import DeliveryError, Message
from guardrails.channels.config import ChannelConfig, Patience, optional
from guardrails.channels.texts import one_line, paragraphs, plain
from metrics.access import LOOPBACK
from metrics.wording import gettext as _

_LONGEST_BODY: Final = 50_000
_LONGEST_SUBJECT: Final = 180
_MOST_RECIPIENTS: Final = 50
_LONGEST_ADDRESS: Final = 254
_PERMANENT: Final = 500
_PORTS: Final = {"starttls": 587, "ssl": 465, "none": 25}


def message_id(key: str, domain: str) -> str:
    """Return the Message-ID of a key: the same for every delivery of one message."""
    return f"<turnback.{sha256(key.encode()).hexdigest()[:40]}@{domain}>"


@dataclass(frozen=True, slots=True)
class EmailChannel:
    """Sends mails through one SMTP server.

    Attributes:
        host: Of the server.
        port: Of the server.
        sender: Address in ``From``.
        to: Addresses that get every message.
        security: ``starttls``, ``ssl`` or ``none``; certificates are verified.
        user: For authentication, ``None`` for none.
        password: For authentication.
        ca_file: Certificates to trust beside none of the system's, ``None`` for the system's.
        timeout: For one mail, from the connection to the server's last answer.
    """

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    security: str = "starttls"
    user: str | None = None
    password: str | None = None
    ca_file: Path | None = None
    timeout: timedelta = timedelta(seconds=20)
    type: str = "email"

    def __repr__(self) -> str:
        return f"EmailChannel(host={self.host!r}, port={self.port})"

    @property
    def where(self) -> str:
        """The server, and how many people are told."""
        people = "1 recipient" if len(self.to) == 1 else f"{len(self.to)} recipients"
        return f"{self.host}:{self.port}, {people}"

    def send(self, message: Message) -> None:
        """Send one mail to all recipients.

        A recipient refused for good while others are served is left out; one refused for now
        gets the mail with the next try, and so do the others: mail programs know it by its
        Message-ID.

        Raises:
            DeliveryError: The server cannot be used, or refuses; 5xx is permanent.
        """
        where, mail = f"{self.host}:{self.port}", mail_of(message, self.sender, self.to)
        late = Event()
        try:
            with self._connected(late) as server:
                refused = server.send_message(mail, self.sender, list(self.to))
        except smtplib.SMTPRecipientsRefused as error:
            raise _of_recipients(where, error.recipients) from None
        except smtplib.SMTPResponseException as error:
            raise _of_answer(where, error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPNotSupportedError:
            raise DeliveryError(
                _(
                    "{where} does not offer what the channel asks for (security or login)",
                    where=where,
                ),
                retryable=False,
                hint="look at the channel's security, user and password",
            ) from None
        except ssl.SSLCertVerificationError:
            raise DeliveryError(
                _("the certificate of {where} is not trusted", where=where),
                retryable=True,
                hint="give the certificate of its authority with ca_file",
            ) from None
        except (OSError, smtplib.SMTPException) as error:
            length = f"{self.timeout.total_seconds():g}"
            # smtplib tells a timeout while it reads as a lost connection
            slow = late.is_set() or TimeoutError in (type(error), type(error.__context__))
            why = type(error).__name__
            words = _("{where} cannot be reached ({error})", where=where, error=why)
            if slow:
                words = _("{where} did not answer within {length} s", where=where, length=length)
            raise DeliveryError(words, retryable=True, hint="is it up, on this port?") from None
        later = {who: why for who, why in refused.items() if why[0] < _PERMANENT}
        if later:
            raise _of_recipients(where, later)

    @contextmanager
    def _connected(self, late: Event) -> Generator[smtplib.SMTP]:
        """Open a session, and close its socket when the time for the whole mail is over."""
        seconds = self.timeout.total_seconds()
        context = None
        if self.security != "none":
            context = ssl.create_default_context(cafile=self.ca_file)
        if self.security == "ssl":
            server = smtplib.SMTP_SSL(timeout=seconds, context=context)
        else:
            server = smtplib.SMTP(timeout=seconds)

        def give_up() -> None:
            late.set()
            if server.sock is not None:
                with suppress(OSError):  # it was closed meanwhile
                    server.sock.shutdown(SHUT_RDWR)

        watch = Timer(seconds, give_up)
        watch.daemon = True
        watch.start()
        try:
            # the constructor knows no host: SMTP_SSL and starttls want it for the certificate
            server._host = self.host  # type: ignore[attr-defined] # noqa: SLF001
            server.connect(self.host, self.port)
            if self.security == "starttls":
                server.starttls(context=context)
            if self.user is not None:
                server.login(self.user, self.password or "")
            yield server
            with suppress(OSError, smtplib.SMTPException):  # the mail is taken already
                server.quit()
        finally:
            watch.cancel()
            server.close()


def mail_of(message: Message, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """Return a message as a mail; whatever it holds, its headers stay one line each."""
    mail = EmailMessage(policy=SMTP)
    domain = sender.rpartition("@")[2]
    mail["From"] = Address(display_name="Turnback", addr_spec=sender)
    mail["To"] = [Address(addr_spec=one) for one in to]
    mail["Subject"] = one_line(message.title, _LONGEST_SUBJECT)
    mail["Date"] = message.at
    mail["Message-ID"] = message_id(message.key, domain)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Turnback-Key"] = one_line(message.key)
    mail["X-Turnback-Kind"] = one_line(message.kind)
    if message.experiment:  # a thread for each experiment
        mail["References"] = message_id(message.experiment, domain)
    body = plain(message, _LONGEST_BODY)
    mail.set_content(paragraphs(f"{message.title}\n\n{body}\n\nkey {message.key}\n"))
    return mail


def _said(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return one_line(text, 120)


def _of_answer(where: str, code: int, answer: bytes | str) -> DeliveryError:
    login = code in {530, 534, 535, 538}
    return DeliveryError(
        _("{where} answered {status}", where=where, status=f"{code} {_said(answer)}".rstrip()),
        retryable=code < _PERMANENT,
        hint="look at the channel's user and password" if login else "ask whoever runs the server",
    )


def _of_recipients(where: str, refused: dict[str, tuple[int, bytes]]) -> DeliveryError:
    who = ", ".join(sorted(refused))
    code, answer = max(refused.values(), key=lambda why: why[0])
    return DeliveryError(
        _(
            "{where} refused {names}: {answer}",
            where=where,
            names=one_line(who),
            answer=f"{code} {_said(answer)}",
        ),
        retryable=any(why[0] < _PERMANENT for why in refused.values()),
        hint="look at the channel's recipients",
    )


def _mailbox(address: str) -> str:
    try:
        good = Address(addr_spec=address)
    except (ValueError, IndexError):
        good = None
    plainly = address.isascii() and address.isprintable() and " " not in address
    whole = good is not None and good.username and good.domain
    if not plainly or not whole or len(address) > _LONGEST_ADDRESS:
        raise ValueError("must be an address such as ops@example.com")
    return address


Mailbox = Annotated[str, AfterValidator(_mailbox)]


class EmailConfig(ChannelConfig):
    """Sends every message as a mail."""

    type: Literal["email"]
    host: str = Field(min_length=1, max_length=253, pattern=r"^[^\s/@]+$", description="SMTP.")
    port: int | None = Field(None, ge=1, le=65_535, description="587, 465 or 25 by security.")
    security: Literal["starttls", "ssl", "none"] = Field("starttls", description="Of the line.")
    user: str | None = Field(None, description="For the login.")
    password: SecretStr | None = Field(None, description="For the login.")
    sender: Mailbox = Field(alias="from", description="Address of the sender.")
    to: tuple[Mailbox, ...] = Field(
        min_length=1, max_length=_MOST_RECIPIENTS, description="Who is told."
    )
    ca_file: Path | None = Field(None, description="Certificates to trust instead.")
    timeout: Patience = Field(timedelta(seconds=20), description="For one mail.")

    @model_validator(mode="after")
    def _safe(self) -> "EmailConfig":
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together: give both, or neither")
        if self.password is not None and self.security == "none" and self.host not in LOOPBACK:
            raise ValueError(
                "a password is not sent over an open line: set security to starttls or ssl"
            )
        return self

    def build(self, now: Callable[[], datetime]) -> EmailChannel:
        """Return the channel."""
        _ = now
        return EmailChannel(
            host=self.host,
            port=self.port or _PORTS[self.security],
            sender=self.sender,
            to=self.to,
            security=self.security,
            user=self.user,
            password=optional(self.password),
            ca_file=self.ca_file,
            timeout=self.timeout,
        )
