"""Experiments over HTTP, for people and the command line. In demo mode also the stepped clock."""

from guardrails.api.access import Guard, UnknownParameterError, known_parameters
from guardrails.api.acting import Action, act
from guardrails.api.alerts import alerts_router
from guardrails.api.answers import encoded, to_json
from guardrails.api.channels import channels_router
from guardrails.api.connection import Limits
from guardrails.api.copies import copies_router
from guardrails.api.decisions import decisions_router
from guardrails.api.description import describe, document_router
from guardrails.api.envelope import Envelope
from guardrails.api.errors import install_errors
from guardrails.api.experiments import LONGEST_REASON, router, validation_router
from guardrails.api.keys import keys_router
from guardrails.api.listening import AddressError, address_of, listening, room_for
from guardrails.api.operation import demo_router, health_router, scrape_router
from guardrails.api.server import QuietServer, Ready
from guardrails.api.specs import specs_router
from guardrails.api.suspension import suspension_router
from guardrails.spec_paths import LARGEST_SPEC

__all__ = [
    "LARGEST_SPEC",
    "LONGEST_REASON",
    "Action",
    "AddressError",
    "Envelope",
    "Guard",
    "Limits",
    "QuietServer",
    "Ready",
    "UnknownParameterError",
    "act",
    "address_of",
    "alerts_router",
    "channels_router",
    "copies_router",
    "decisions_router",
    "demo_router",
    "describe",
    "document_router",
    "encoded",
    "health_router",
    "install_errors",
    "keys_router",
    "known_parameters",
    "listening",
    "room_for",
    "router",
    "scrape_router",
    "specs_router",
    "suspension_router",
    "to_json",
    "validation_router",
]
