"""How pages and reports are written out: templates whose text is escaped and translated."""

from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined

from metrics.wording import gettext, ngettext


def environment(package: str, **more: object) -> Environment:
    """Return the templates of a package; a name that they do not know is an error.

    Args:
        package: Holds a folder ``templates``.
        more: What the templates can call beside `gettext` (as ``_``) and `ngettext`.
    """
    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cast("dict[str, Any]", made.globals).update(_=gettext, ngettext=ngettext, **more)
    return made
