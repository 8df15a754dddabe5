"""A comparison with its baseline in plain words."""

from __future__ import annotations

from snnrun.compare.report import SPIKES, Metric, Row, Table
from snnrun.compare.statistics import ROUGH_BELOW, Difference, Estimate, estimate

_TIMES_FROM = 2.0  # ratios from which "14 times the spikes" is plainer than "1300 % more"


def sentences(table: Table) -> list[str]:
    """One for each group that has a baseline other than itself."""
    return [_sentence(table, row) for row in table.rows if row.differences]


def footnotes(table: Table) -> list[str]:
    """What a reader has to know about the marks and intervals of a table."""
    lines = []
    one = [row.group.label for row in table.rows if row.n == 1]
    several = [row.n for row in table.rows if row.n > 1]
    if len(table.rows) > 1 and several:
        lines.append(
            "* best by more than noise: the 95 % interval of the difference to the runner-up leaves out 0, "
            "by bootstrap and by Student's t"
        )
    few = [min(d.n) for row in table.rows if (d := row.differences.get(table.metrics[0].key)) and d.is_rough]
    if few:
        lines.append(
            f"rough: a bootstrap interval of fewer than {ROUGH_BELOW} holds the true value less often than 95 % "
            f"(of {min(few)}: at most {100 * (1 - 2 ** (1 - min(few))):.0f} %)"
        )
    if one:
        names = "every group" if len(one) == len(table.rows) else ", ".join(one[:4]) + (", ..." if len(one) > 4 else "")
        lines.append(
            f"one {table.block.unit} in {names}: no deviation, no interval, so no difference can be told from noise"
        )
    return lines


def with_deviation(metric: Metric, found: Estimate | None, digits: int) -> str:
    """``97.6 ± 0.2``, a dash without a value."""
    if found is None:
        return "-"
    mean = f"{metric.scale * found.mean:,.{digits}f}"
    return mean if found.sd is None else f"{mean} ± {metric.scale * found.sd:,.{digits}f}"


def decimals(metric: Metric, estimates: list[Estimate | None]) -> int:
    """Digits behind the point for a column: as many as its smaller values need."""
    values = [metric.scale * found.mean for found in estimates if found is not None]
    if metric.key == "acc":
        spreads = [metric.scale * e.sd for e in estimates if e is not None and e.sd]
        return 2 if spreads and max(spreads) < 0.1 else 1
    typical = min((value for value in values if value), default=1.0)
    return 0 if typical >= 100 else 1 if typical >= 10 else 2 if typical >= 1 else 4


def _sentence(table: Table, row: Row) -> str:
    assert row.baseline is not None
    main = table.metrics[0]
    ours, gap = row.estimates[main.key], row.differences[main.key]
    column = [each.estimates[main.key] for each in table.rows]
    digits = decimals(main, column)
    value = with_deviation(main, ours, digits)
    head = f"{row.group.label} {value} %" if main.unit else f"{row.group.label} {main.name} {value}"
    if gap is None:
        return f"{head}{_spikes(row)}; no {main.name} of the same kind in {row.baseline.label} to compare with"
    over = f"{_gap(main, gap, digits)} {row.baseline.label}{_noise(gap)}"
    return f"{head}, {over}{_spikes(row)}, {_count(table, row, gap)}"


def _gap(metric: Metric, gap: Difference, digits: int) -> str:
    def text(value: float, sign: str = "") -> str:
        value = round(metric.scale * value, digits)
        return f"{value + 0.0:{sign},.{digits}f}"  # + 0.0: no minus before a zero

    words = [text(gap.mean, "+")]
    if gap.low is not None and gap.high is not None:
        words.append(f"[{text(gap.low)}, {text(gap.high)}]")
    if metric.unit:
        words.append("points")
    words.append("over" if gap.mean > 0 else "against")
    return " ".join(words)


def _spikes(row: Row) -> str:
    """The price, in spikes."""
    assert row.baseline is not None
    ours, theirs = row.estimates[SPIKES.key], estimate(row.baseline.values(SPIKES.key))
    gap = row.differences[SPIKES.key]
    if ours is None or theirs is None or gap is None:
        return ""
    if not ours.mean or not theirs.mean:
        return f" with {ours.mean:,.1f} spikes instead of {theirs.mean:,.1f}"
    ratio, noise = ours.mean / theirs.mean, _noise(gap)
    if ratio >= _TIMES_FROM:
        return f" with {ratio:.1f} times the spikes{noise}"
    percent = round(100 * abs(ratio - 1))
    if not percent:
        return " with as many spikes"
    return f" with {percent} % {'fewer' if ratio < 1 else 'more'} spikes{noise}"


def _count(table: Table, row: Row, gap: Difference) -> str:
    unit = table.block.unit
    ours, theirs = gap.n
    if gap.low is None:
        return f"one {unit}: no interval" if ours == theirs == 1 else f"{ours} and {theirs} {unit}s: no interval"
    count = f"{ours} {unit}s" if gap.paired else f"{ours} and {theirs} {unit}s, unpaired"
    if gap.paired and ours < max(row.n, len(row.baseline.runs) if row.baseline else 0):
        count += " that both have"
    return f"{count} (rough)" if gap.is_rough else count


def _noise(gap: Difference) -> str:
    if gap.beyond_noise or gap.low is None or gap.high is None:
        return ""
    return " (no more than noise)" if gap.low <= 0 <= gap.high else " (no more than noise by Student's t)"
