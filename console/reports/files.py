"""A report as the file that people share; the command and the page write the same."""

from enum import StrEnum

from console.reports.experiment import Report, evidence_picture
from console.reports.html import html_of
from console.reports.markdown import markdown_of
from experiments.errors import TurnbackError
from guardrails.build import build_version


class Format(StrEnum):
    """How a report is written."""

    HTML = "html"
    MD = "md"
    PNG = "png"


class NoPictureError(TurnbackError):
    """Nothing can be drawn of an experiment yet."""

    code = "not_found"
    status = 404


def file_of(report: Report, wanted: Format) -> bytes:
    """Return a report as a file.

    Raises:
        NoPictureError: A picture is wanted, and there is no evidence to draw.
    """
    if wanted is Format.HTML:
        return html_of("experiment.html", report=report, version=build_version()).encode()
    if wanted is Format.MD:
        return markdown_of(report, version=build_version()).encode()
    drawn = evidence_picture(report)
    if not drawn:
        raise NoPictureError(
            f"{report.key} has no evidence to draw yet",
            hint="a picture needs two looks of a guardrail; the other formats need none",
        )
    return drawn
