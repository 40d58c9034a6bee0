"""Addresses of pages, for messages: whoever reads one at night opens the page with one click."""

from urllib.parse import quote, urlsplit


def pages_at(text: str) -> str:
    """Return an address at which people reach the pages, without a slash at its end.

    Raises:
        ValueError: It is none.
    """
    text = text.strip().rstrip("/")
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        good = good and not (parts.query or parts.fragment or parts.username or parts.password)
    except ValueError:
        good = False
    if not good or not text.isprintable() or " " in text:
        raise ValueError("must be an address such as https://turnback.example.com")
    return text


def rollback_link(base: str, key: str, transition: int) -> str:
    """Return where a rollback's page is, empty where nobody said where pages are reached.

    Args:
        base: Public address of the service, may be empty.
        key: The experiment.
        transition: Id of the rollback.
    """
    return f"{base}/experiments/{quote(key, safe='')}/rollbacks/t{transition}" if base else ""
