"""What a page shows and what its twin says, compared; and forms as a browser sends them."""

import re
from urllib.parse import urlencode

from markupsafe import escape

UNSEEN = frozenset(
    {"tone", "at", "history", "path", "action", "sort", "state", "verdict", "proof", "replayable"}
)
"""Keys of view objects that steer how something is shown, and are not shown as they are."""


def texts(view, *, unseen=UNSEEN):
    """Yield every text of a twin that a person reads."""
    if isinstance(view, dict):
        for key, value in view.items():
            if key not in unseen:
                yield from texts(value, unseen=unseen)
    elif isinstance(view, list):
        for value in view:
            yield from texts(value, unseen=unseen)
    elif isinstance(view, str) and view:
        yield view


def missing(page, twin, *, unseen=UNSEEN):
    """Return every text of a twin that its page does not show."""
    plain = " ".join(page.split())
    return [t for t in texts(twin, unseen=unseen) if " ".join(str(escape(t)).split()) not in plain]


def token_of(page):
    """Return the token that a page's form carries."""
    return re.search(r'name="csrf" value="([0-9a-f]+)"', page)[1]


def send(http, path, *, headers=None, **fields):
    """Send a form; returns the answer, redirections not followed."""
    sent = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    return http.post(path, content=urlencode(fields), headers=sent, follow_redirects=False)


def filled(http, path, **fields):
    """Open a page with a form and send it as a browser would."""
    page = http.get(path)
    assert page.status_code == 200, page.text
    origin = {"Origin": f"{http.base_url.scheme}://{page.request.headers['host']}"}
    return send(http, path, headers=origin, csrf=token_of(page.text), **fields)
