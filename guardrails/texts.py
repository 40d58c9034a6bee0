"""Text that people send and the service keeps: what is no text is refused at the door."""


def unicode(text: str) -> str:
    r"""Return text that can be kept.

    Raises:
        ValueError: It holds half of a surrogate pair: JSON can escape one (``\ud800``).
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"not valid Unicode at character {error.start}") from None
    return text


def header_text(text: str) -> str:
    """Return the UTF-8 text of a header, which arrives as Latin-1.

    Raises:
        ValueError: Its bytes are no UTF-8.
    """
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        raise ValueError("not valid UTF-8") from None
