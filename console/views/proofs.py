"""How sure a rollback is, in sentences: one place for its page and for reports. Pure."""

from console.views import words
from console.views.lines import is_proof
from guardrails.plain_words import points
from guardrails.views import GuardrailView
from metrics.wording import gettext as _


def by_hand() -> str:
    """Return how sure a person's rollback is."""
    return _("A person decided: no proof was asked for.")


def outside() -> str:
    """Return how sure a rollback is by a rule that proves nothing."""
    return _("It is outside of the statistical guarantee: the rule acts on what it sees.")


def exceeded(guardrail: GuardrailView) -> str:
    """Return what is proven by the breach of a guardrail that compares KPIs."""
    if guardrail.margin and guardrail.prove_past is not None:
        past = guardrail.prove_past * abs(guardrail.margin)
        part = points(past) if guardrail.absolute else words.share(past)
        return _("That harm exceeds {part} is proven.", part=part)
    return _("{limit}: harm is proven.", limit=guardrail.limit)


def promise(alpha: float) -> str:
    """Return what holds of a treatment that harms no more than was proven of this one."""
    return _(
        "A treatment that harms no more than that is turned back with a chance of at most "
        "{alpha}, over the whole experiment and all its looks.",
        alpha=words.share(alpha),
    )


def promise_beforehand(alpha: float) -> str:
    """Return the same where nothing is proven yet."""
    return _(
        "A treatment whose harm is within what has to be exceeded is turned back with a chance of "
        "at most {alpha}, over the whole experiment and all its looks.",
        alpha=words.share(alpha),
    )


def of_breach(guardrail: GuardrailView) -> tuple[str, ...]:
    """Return what a guardrail was, and what its breach proves."""
    if not is_proof(guardrail):
        return (_("The guardrail: {limit}.", limit=guardrail.limit), outside())
    said = exceeded(guardrail)
    if guardrail.limit in said:
        return (said,)
    return (_("The guardrail: {limit}.", limit=guardrail.limit), said)
