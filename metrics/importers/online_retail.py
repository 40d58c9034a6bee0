"""Online Retail: a year of real orders and cancellations, as events.

The files are ``orders.csv.gz`` and ``credit_notes.csv.gz`` made from the
public data of a UK shop (Chen, Sain, Guo 2012, doi:10.1057/dbm.2012.17). There
is no variant in them: whatever is assigned is a true A/A.

Mapping, one unit per invoice (``units: {order_id: InvoiceNo, user_id: CustomerID}``):

- ``exposure`` (without experiment and variant: a backtest assigns) and
  ``cancel_started`` at ``ordered_at``. A zero-value order is an order.
- ``cancel_finished{outcome: cancelled}`` at ``first_cancel_at``.
- Per credited line matched to an invoice: ``refund_requested{amount}`` when
  that invoice was ordered and ``refund_paid{amount, hours}`` at ``refunded_at``.
  Lines that repeat each other are different refunds. Unmatched lines, and any
  that would be paid before they were ordered, are skipped and counted.
- ``order_placed{order_id, amount}`` at ``next_order_at``: the unit is this
  invoice, the field names the customer's next one, so it counts for this unit.

Times in the files have no zone; they are taken as UTC.
"""

import csv
import gzip
import itertools
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_WEEK = timedelta(days=7)
_MONTH = timedelta(days=30)
_ORDERS = "orders.csv.gz"
_CREDITS = "credit_notes.csv.gz"
_ORDER_COLUMNS = (
    "InvoiceNo",
    "CustomerID",
    "ordered_at",
    "value",
    "first_cancel_at",
    "next_order_at",
)
_CREDIT_COLUMNS = (
    "credit_note",
    "refunded_at",
    "purchase_invoice",
    "hours_to_refund",
    "refund_value",
)

Row = Mapping[str, str]


class SourceError(ValueError):
    """The files are not what this importer reads; the message says which, where and what to do."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was read: the figures to compare with what is known of the data.

    Rates are shares of orders; ``nan`` where there is nothing to divide by.

    Attributes:
        orders: Purchase invoices, each one unit.
        customers: Distinct customers.
        events: Events written, exposures included.
        credits: Credited lines read.
        matched: Credited lines that belong to an invoice, both events written.
        skipped: Credited lines left out: without invoice, or paid before they were ordered.
        zero_value: Orders whose value is 0.
        cancelled: Share of orders ever cancelled, in part or whole.
        cancelled_7d: The same within 7 days of the order.
        cancelled_30d: The same within 30 days.
        followed_30d: Orders with 30 days of data after them.
        repurchase_30d: Share of those whose customer ordered again within 30 days.
        refund_hours_median: Median hours from order to refund, per matched line.
        refund_hours_p90: Their 90% quantile.
        first_at: Time of the first event.
        last_at: Time of the last one.
    """

    orders: int
    customers: int
    events: int
    credits: int
    matched: int
    skipped: int
    zero_value: int
    cancelled: float
    cancelled_7d: float
    cancelled_30d: float
    followed_30d: int
    repurchase_30d: float
    refund_hours_median: float
    refund_hours_p90: float
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Imported:
    """Events in wire form and time order (``happened_at`` is a datetime here), and the summary."""

    events: tuple[dict[str, Any], ...]
    summary: Summary


def read(folder: Path) -> Imported:
    """Read ``orders.csv.gz`` and ``credit_notes.csv.gz`` of a folder.

    Raises:
        SourceError: A file or column is missing, or a value cannot be read.
    """
    orders = _rows(folder / _ORDERS, _ORDER_COLUMNS)
    credited = _rows(folder / _CREDITS, _CREDIT_COLUMNS)
    if not orders:
        raise SourceError(f"{folder / _ORDERS}: no orders in it; fetch the file again")
    by_invoice = {row["InvoiceNo"]: row for row in orders}
    matched = [row for row in credited if _usable(row, by_invoice)]
    following = _following(orders)
    events = [event for row in orders for event in _order_events(row, following)]
    for index, row in enumerate(matched):
        events.extend(_refund_events(row, by_invoice[row["purchase_invoice"]], index))
    events.sort(key=lambda event: (event["happened_at"], event["id"]))
    return Imported(tuple(events), _summary(orders, credited, matched, events))


def _rows(path: Path, columns: Sequence[str]) -> list[Row]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise SourceError(
                    f"{path}:1: column {', '.join(missing)} is missing; "
                    f"the importer needs {', '.join(columns)}"
                )
            return list(reader)
    except FileNotFoundError as error:
        raise SourceError(
            f"{path}: no such file; give the folder that holds {_ORDERS} and {_CREDITS}"
        ) from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as gzipped CSV ({error})") from error


def _time(row: Row, column: str) -> datetime:
    try:
        return datetime.fromisoformat(row[column]).replace(tzinfo=UTC)
    except ValueError as error:
        raise SourceError(
            f"{row.get('InvoiceNo') or row.get('credit_note')}: {column} is not a time: "
            f"{row[column]!r}"
        ) from error


def _number(row: Row, column: str) -> float:
    try:
        return float(row[column])
    except ValueError as error:
        raise SourceError(
            f"{row.get('InvoiceNo') or row.get('credit_note')}: {column} is not a number: "
            f"{row[column]!r}"
        ) from error


def _usable(row: Row, invoices: Mapping[str, Row]) -> bool:
    return row["purchase_invoice"] in invoices and _number(row, "hours_to_refund") >= 0


def _following(orders: Sequence[Row]) -> dict[str, Row]:
    """Return the next invoice of the same customer, by invoice; file order breaks ties in time."""
    by_customer: dict[str, list[Row]] = defaultdict(list)
    for row in orders:
        by_customer[row["CustomerID"]].append(row)
    following: dict[str, Row] = {}
    for rows in by_customer.values():
        in_time = sorted(rows, key=lambda row: row["ordered_at"])
        for row, after in itertools.pairwise(in_time):
            following[row["InvoiceNo"]] = after
    return following


def _event(ident: str, name: str, at: datetime, order: Row, **fields: Any) -> dict[str, Any]:
    units = {"order_id": order["InvoiceNo"], "user_id": order["CustomerID"]}
    return {"id": ident, "name": name, "happened_at": at, "units": units, "fields": fields}


def _order_events(row: Row, following: Mapping[str, Row]) -> list[dict[str, Any]]:
    invoice, at = row["InvoiceNo"], _time(row, "ordered_at")
    events = [
        _event(f"{invoice}-exposure", "exposure", at, row),
        _event(f"{invoice}-started", "cancel_started", at, row, order_id=invoice),
    ]
    if row["first_cancel_at"]:
        cancelled_at = _time(row, "first_cancel_at")
        events.append(
            _event(f"{invoice}-finished", "cancel_finished", cancelled_at, row, outcome="cancelled")
        )
    if row["next_order_at"]:
        after = following.get(invoice)
        if after is None or after["ordered_at"] != row["next_order_at"]:
            raise SourceError(
                f"{invoice}: next_order_at is {row['next_order_at']}, but the customer has no "
                f"invoice then; {_ORDERS} is incomplete"
            )
        amount = _number(after, "value")
        number = after["InvoiceNo"]
        next_at = _time(row, "next_order_at")
        events.append(
            _event(f"{invoice}-next", "order_placed", next_at, row, order_id=number, amount=amount)
        )
    return events


def _refund_events(row: Row, order: Row, index: int) -> tuple[dict[str, Any], ...]:
    ident = f"{row['credit_note']}-{index:05d}"
    amount = _number(row, "refund_value")
    hours = _number(row, "hours_to_refund")
    asked_at, paid_at = _time(order, "ordered_at"), _time(row, "refunded_at")
    return (
        _event(f"{ident}-requested", "refund_requested", asked_at, order, amount=amount),
        _event(f"{ident}-paid", "refund_paid", paid_at, order, amount=amount, hours=hours),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _within(row: Row, column: str, limit: timedelta) -> bool:
    return bool(row[column]) and _time(row, column) - _time(row, "ordered_at") <= limit


def _summary(
    orders: Sequence[Row],
    credited: Sequence[Row],
    matched: Sequence[Row],
    events: Sequence[Mapping[str, Any]],
) -> Summary:
    count = len(orders)
    end = max(_time(row, "ordered_at") for row in orders)
    followed = [row for row in orders if _time(row, "ordered_at") + _MONTH <= end]
    hours = sorted(_number(row, "hours_to_refund") for row in matched)
    enough = len(hours) > 1
    return Summary(
        orders=count,
        customers=len({row["CustomerID"] for row in orders}),
        events=len(events),
        credits=len(credited),
        matched=len(matched),
        skipped=len(credited) - len(matched),
        zero_value=sum(_number(row, "value") == 0 for row in orders),
        cancelled=_share(sum(bool(row["first_cancel_at"]) for row in orders), count),
        cancelled_7d=_share(sum(_within(r, "first_cancel_at", _WEEK) for r in orders), count),
        cancelled_30d=_share(sum(_within(r, "first_cancel_at", _MONTH) for r in orders), count),
        followed_30d=len(followed),
        repurchase_30d=_share(
            sum(_within(row, "next_order_at", _MONTH) for row in followed), len(followed)
        ),
        refund_hours_median=statistics.median(hours) if hours else float("nan"),
        refund_hours_p90=(
            statistics.quantiles(hours, n=10, method="inclusive")[8] if enough else float("nan")
        ),
        first_at=events[0]["happened_at"],
        last_at=events[-1]["happened_at"],
    )
