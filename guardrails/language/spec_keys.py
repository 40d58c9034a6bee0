"""The keys of the guardrail part of a spec file."""

from typing import Final

from experiments.language.reading import Key, list_type
from experiments.language.spec_keys import EXPERIMENT_KEYS
from experiments.language.types import choice_type
from guardrails.language.entries import EXAMPLE
from guardrails.language.kpis import KPIS_KEY
from guardrails.language.sets import GUARDRAILS
from guardrails.rules.failures import POLICY_KEYS

NO_GUARDRAILS: Final = "no-guardrails"
FEWER_CANCELLATIONS: Final = "fewer-cancellations"

GUARDRAIL_KEYS: Final = (
    Key(
        "guardrails",
        GUARDRAILS,
        "What may not get worse, and what happens when it does: a list, or sets of guardrails "
        "by name (`use`) with entries of your own (`add`).",
        [dict(entry) for entry in EXAMPLE],
        default="none, which has to be acknowledged",
        aka=("guards", "rules", "safety", "constraints"),
    ),
    KPIS_KEY,
    Key(
        "acknowledge",
        list_type(choice_type([FEWER_CANCELLATIONS, NO_GUARDRAILS], what="warning"), what="words"),
        "Warnings that were read and accepted.",
        [FEWER_CANCELLATIONS],
        default="none",
    ),
    *POLICY_KEYS,
)

SPEC_KEYS: Final = (*EXPERIMENT_KEYS, *GUARDRAIL_KEYS)
