"""The keys of the experiment part of a spec file: their types, meaning and examples."""

from datetime import timedelta
from typing import Final

from experiments.language.arms_reading import force_type, variants_type
from experiments.language.audience_reading import audience_type
from experiments.language.freeze_reading import freeze_type
from experiments.language.instants import INSTANT_EXAMPLE, start_type
from experiments.language.reading import Key, list_type, record_type
from experiments.language.schedule_reading import ends_type, ramp_type
from experiments.language.types import (
    NAME_PATTERN,
    change_type,
    choice_type,
    duration_type,
    flag_type,
    integer_type,
    name_type,
    percent_type,
    text_type,
)
from experiments.spec import Exposure, Mode

KEY_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
SEGMENT_PATTERN: Final = r"[^\s.$][^\s.]{0,63}(\.[^\s.]{1,64}){0,3}"
UNIT_PATTERN: Final = r"[A-Za-z_][A-Za-z0-9_]{0,63}"

EXPERIMENT_KEY = name_type(
    KEY_PATTERN,
    wanted="a key of letters, digits, `-`, `_` and `.`",
    hint="for instance three-step-cancel",
)
KPI_NAME = name_type(UNIT_PATTERN, wanted="the key of a KPI", hint="for instance satisfaction")
CHANNEL_NAME = name_type(
    NAME_PATTERN, wanted="the name of a channel", hint="channels are set up at the server"
)

SEGMENT_NAME = name_type(
    SEGMENT_PATTERN,
    wanted="the name of an attribute, without spaces",
    hint="for instance country or device.type",
)
MOST_SEGMENTS: Final = 5
"""Attributes by which an experiment is looked at: each more finds less in all of them."""

LAYER_KEYS: Final = (
    Key(
        "name",
        name_type(
            NAME_PATTERN,
            wanted="the name of a layer, in letters, digits, `-` and `_`",
            hint="for instance cancel-page",
        ),
        "Name of the layer; every experiment that names it takes other units.",
        "cancel-page",
        required=True,
    ),
    Key(
        "share",
        percent_type(least="0.01"),
        "Share of the layer's units that this experiment takes.",
        "50%",
        required=True,
    ),
)

GOAL_KEYS: Final = (
    Key("kpi", KPI_NAME, "KPI that should improve.", "save_rate", required=True),
    Key(
        "expect",
        change_type(),
        "Change hoped for against control: relative (`+10%`), or in percentage points (`+2pp`).",
        "+10%",
        default="not said",
    ),
)

EXPERIMENT_KEYS: Final = (
    Key(
        "experiment",
        EXPERIMENT_KEY,
        "Key of the experiment and of its flag; part of the hash, so it never changes.",
        "three-step-cancel",
        required=True,
        aka=("name", "key", "id", "flag", "feature"),
    ),
    Key(
        "title",
        text_type(most=200),
        "Name for people.",
        "Three-step cancellation",
        default="the key",
        aka=("label", "display_name"),
    ),
    Key(
        "owner",
        text_type(most=200),
        "Whom to ask about it.",
        "retention@example.com",
        default="nobody",
        aka=("team", "contact", "author"),
    ),
    Key(
        "hypothesis",
        text_type(most=2000, lines=True),
        "What is believed, in a sentence.",
        "Showing what is lost lowers cancellations without annoying people.",
        default="not said",
        aka=("description", "why", "about"),
    ),
    Key(
        "unit",
        name_type(
            UNIT_PATTERN,
            wanted="the name of an id, in letters, digits and `_`",
            hint="for instance order_id or user_id",
        ),
        "Type of id that is hashed and analysed; the OpenFeature targetingKey where a request "
        "does not name it.",
        "order_id",
        required=True,
        aka=("randomization_unit", "randomisation_unit", "subject", "entity", "hash_attribute"),
    ),
    Key(
        "seed",
        integer_type(least=1, most=1_000_000_000),
        "Part of the hash: raise it to deal the units anew and start the analysis over.",
        2,
        default="1",
        aka=("salt",),
    ),
    Key(
        "audience",
        audience_type(),
        "Who takes part: every line must hold. A value, a list (any of), or comparisons.",
        {"platform": ["ios", "android"], "order_value": {"at_least": 20}},
        default="everybody",
        aka=("target", "targeting", "segment", "who", "filter", "condition"),
    ),
    Key(
        "segments",
        list_type(SEGMENT_NAME, what="attributes", most=MOST_SEGMENTS, unique=True),
        "Attributes by which the effect is looked at on its own. Their values, and no others, are "
        "kept with each exposure; nothing acts on them.",
        ["country", "platform"],
        default="none",
        aka=("dimensions", "breakdowns", "slices", "segment_by"),
    ),
    Key(
        "layer",
        record_type(LAYER_KEYS, what="a layer"),
        "Experiments it must never share a unit with: those of the same layer, which all have the "
        "same `unit`.",
        {"name": "cancel-page", "share": "50%"},
        default="none",
        aka=("namespace", "exclusion_group", "mutex"),
    ),
    Key(
        "holdout",
        flag_type(),
        "Whether the units of the service's global holdout stay out of it.",
        False,
        default="true",
    ),
    Key(
        "variants",
        variants_type(),
        "The arms by name: `control`, which everybody gets in doubt, and one treatment or more.",
        {"control": {"weight": "50%"}, "three_step": {"weight": "50%"}},
        required=True,
        aka=("arms", "variations", "treatments", "groups", "split", "weights"),
    ),
    Key(
        "force",
        force_type(),
        "Ids that get a variant by hand, for trying it out, whoever takes part; they are never "
        "counted.",
        {"order-17": "three_step"},
        default="none",
        aka=("overrides", "whitelist", "allowlist"),
    ),
    Key(
        "exposure",
        choice_type([exposure.value for exposure in Exposure], what="kind of exposure"),
        "What counts as meeting a variant: `evaluate` (the service was asked for it) or `event` "
        "(the application sent an exposure event).",
        "event",
        default="evaluate",
    ),
    Key(
        "starts",
        start_type(),
        "Instant of the first exposure, with its zone, or `manual`: a person starts it.",
        INSTANT_EXAMPLE,
        default="when the file is applied",
        aka=("start", "from", "begin", "start_date"),
    ),
    Key(
        "ramp",
        ramp_type(),
        "Steps of traffic, each larger than the one before.",
        [{"traffic": "5%", "hold": "6h", "min_units": 500}, {"traffic": "100%"}],
        default="full traffic from the start",
        aka=("rollout", "steps", "traffic", "allocation", "coverage"),
    ),
    Key(
        "freeze",
        freeze_type(),
        "Times in which the ramp does not advance: spans, or days of every week. Guardrails go on "
        "acting.",
        [
            {"from": "2026-12-20T00:00Z", "to": "2027-01-04T00:00Z", "why": "holidays"},
            {"days": ["fri", "sat", "sun"], "zone": "Europe/Berlin"},
        ],
        default="none",
    ),
    Key(
        "goal",
        record_type(GOAL_KEYS, what="a goal"),
        "What the change is meant to improve.",
        {"kpi": "save_rate", "expect": "+10%"},
        default="none",
        aka=("metric", "primary_metric", "success_metric", "objective"),
    ),
    Key(
        "auto_ship",
        flag_type(),
        "Whether the audience gets the treatment that is proven better and safe, once the run is "
        "over and watched to its end.",
        True,
        default="false",
        aka=("autoship", "auto_rollout", "promote"),
    ),
    Key(
        "watch",
        list_type(KPI_NAME, what="KPIs", unique=True),
        "KPIs that are shown beside the guardrails and judged by none.",
        ["cancellation_rate", "repurchase_rate"],
        default="none",
        aka=("metrics", "secondary_metrics"),
    ),
    Key(
        "ends",
        ends_type(),
        "When new exposures stop and how long units are watched after that.",
        {"after": "14d", "observe_for": "14d"},
        required=True,
        aka=("end", "duration", "until", "stop", "length"),
    ),
    Key(
        "alpha",
        percent_type(most="50", above=True),
        "Budget of false rollbacks over the whole experiment: all acting guardrails, treatments "
        "and looks together.",
        "5%",
        default="5%",
        aka=("significance", "confidence"),
    ),
    Key(
        "check_every",
        duration_type(least=timedelta(seconds=1), most=timedelta(days=7)),
        "Time between two checks.",
        "1m",
        default="1m",
        aka=("interval", "frequency"),
    ),
    Key(
        "mode",
        choice_type([mode.value for mode in Mode], what="mode"),
        "`live`, or `shadow`: everything is judged and recorded and nobody is turned back.",
        "live",
        default="live",
    ),
    Key(
        "notify",
        list_type(CHANNEL_NAME, what="channels", unique=True),
        "Channels that are told; they are set up at the server.",
        ["ops"],
        default="none",
        aka=("channels", "alerts", "alert"),
    ),
    Key(
        "expect_units",
        integer_type(least=200, most=10_000_000_000),
        "Units all variants together are expected to have by the end of the run.",
        67_200,
        default="measured",
        aka=("sample_size", "units"),
    ),
    Key(
        "lag",
        duration_type(most=timedelta(days=7)),
        "How late events may arrive: a unit enters a comparison this long after its window.",
        "5m",
        default="5m",
    ),
)
