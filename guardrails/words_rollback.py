"""Whether clients follow a rollback, in one sentence for pages, commands and messages. Pure."""

from guardrails.plain_words import instant as plain_instant
from guardrails.views import RollbackView
from metrics.wording import gettext as _


def unverified_words(rollback: RollbackView, *, at: str = "") -> str:
    """Return what is awaited before it is known whether clients follow.

    Args:
        rollback: With ``effective`` ``None``.
        at: The end of its grace in words; as logs and commands write it by default.
    """
    told = {"at": at or plain_instant(rollback.verify_after), "variant": rollback.variant}
    if rollback.rate_before is None:
        return _("Whether clients follow the rollback of {variant} is verified after {at}.", **told)
    if rollback.rate_after is None:
        return _(
            "Whether clients follow the rollback of {variant} is not known yet: nobody was newly "
            "exposed to any variant since {at}, and silence proves nothing.",
            **told,
        )
    return _(
        "Whether clients follow the rollback of {variant} is not known yet: at its old rate too "
        "few exposures to it were due since {at}.",
        **told,
    )
