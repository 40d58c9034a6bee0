"""What is measured beside a mean whose values are capped. Pure.

A cap is a constant of the KPI's definition: chosen before the run, the same for all arms, frozen
with the revision. It takes the say from a few giant values; what it hides must stay visible, so
the mean without caps and the share of units that met a cap are measured too, for display.

Source: STATISTICS 1(j), caps.
"""

from dataclasses import replace

from metrics.catalogue import Better, Condition, Kind, KpiDefinition, Measure, Test

RAW = ":raw"
CAPPED = ":capped"


def beside(kpi: KpiDefinition) -> tuple[KpiDefinition, ...]:
    """Return the KPIs measured beside one: none unless it is a mean with a constant cap.

    Their keys, ``KEY:raw`` and ``KEY:capped``, are no keys a file can name.
    """
    caps = [m for m in kpi.measures if m.cap is not None]
    if kpi.kind is not Kind.MEAN or not caps:
        return ()
    raw = replace(
        kpi,
        key=f"{kpi.key}{RAW}",
        title=f"{kpi.title} without caps",
        title_zh=f"{kpi.title_zh} · 未封顶",
        words=f"{kpi.words} Without caps.",
        core=False,
        measures=tuple(replace(measure, cap=None) for measure in kpi.measures),
    )
    names = [f"capped_{place}" for place in range(len(caps))]
    share = replace(
        raw,
        key=f"{kpi.key}{CAPPED}",
        title=f"{kpi.title}: share of units capped",
        title_zh=f"{kpi.title_zh} · 封顶占比",
        words=f"Share of units with a value above a cap of {kpi.key}.",
        kind=Kind.PROPORTION,
        better=Better.EITHER,
        unit="share",
        measures=(*raw.measures, *map(_above, caps, names)),
        value=" or ".join(f"{name} > 0" for name in names),
        per=None,
        each=(),
    )
    return raw, share


def _above(measure: Measure, name: str) -> Measure:
    """Return the count of the events whose value is cut off."""
    above = Condition(measure.field or "", Test.ABOVE, (measure.cap or 0,))
    return replace(measure, name=name, where=(*measure.where, above), field=None, cap=None)
