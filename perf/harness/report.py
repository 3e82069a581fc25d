"""The report: report.json for machines, report.md and charts for people; and two of them side by side."""

import json
import pathlib

from .charts import draw
from .rows import number, verdict


# The clocks of the core and of the TSC where the targets were measured.
TARGETS_GHZ = (4.2, 2.6)


def write(directory, rows, aims, machine):
    """Writes everything."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    charts = draw(rows)
    for name, text in charts.items():
        (directory / name).write_text(text, encoding="utf-8")
    (directory / "report.md").write_text(markdown(rows, aims, machine, charts), encoding="utf-8")


def markdown(rows, aims, machine, charts):
    """The report for people."""
    out = ["# What the fast path costs", "", *(f"* {key}: {value}" for key, value in machine.items()), ""]
    aimed = [(row, verdict(row, aims)) for row in rows if row["target"] is not None]
    short = [row["id"] for row, reached in aimed if reached != "ok"]
    out += [f"{len(aimed) - len(short)} of {len(aimed)} targets are reached." + (f" Short: {', '.join(short)}." if short else ""), ""]
    out += [
        f"Core cycles: the core's own, by its clock right beside the row. The targets' machine ran at about {TARGETS_GHZ[0]} GHz for a TSC of",
        f"{TARGETS_GHZ[1]}: in brackets the target in its core cycles, which is what rows that compute more than they wait compare with.",
        "",
        "| row | value | min | max | unit | core cycles | peer | limit | target | | what |",
        "|---|--:|--:|--:|---|--:|--:|--:|--:|---|---|",
    ]
    for row in rows:
        figures = [number(row[key]) for key in ("value", "min", "max")]
        held = [number(row[key]) for key in ("peer", "limit", "target")]
        what = row["what"].replace("|", "\\|")
        cells = [f"`{row['id']}`", *figures, row["unit"], core(row), *held, verdict(row, aims) or "", what]
        out.append(f"| {' | '.join(cells)} |")
    out += ["", *(f"![{name}]({name})" for name in charts), ""]
    return "\n".join(out)


def core(row):
    """A row's cycles of the core, and its target in those of the targets' machine."""
    if row.get("core_cycles") is None:
        return ""
    core_ghz, tsc_ghz = TARGETS_GHZ
    target = f" ({number(row['target'] * core_ghz / tsc_ghz)})" if row["target"] is not None else ""
    return number(row["core_cycles"]) + target


def load(path):
    """Rows of a report by name; a directory means its report.json."""
    path = pathlib.Path(path)
    rows = json.loads((path / "report.json" if path.is_dir() else path).read_text(encoding="utf-8"))
    return {row["id"]: row for row in rows}


def compare(first, second):
    """Two reports side by side, as lines."""
    old, new = load(first), load(second)
    yield f"{'row':<36}{'A':>10}{'B':>10}{'B : A':>8}{'A spread':>18}{'B spread':>18}  unit"
    for name in [*old, *(name for name in new if name not in old)]:
        a, b = old.get(name), new.get(name)
        values = [row and row["value"] for row in (a, b)]
        ratio = f"{values[1] / values[0]:.2f}" if all(values) else "-"
        # Spreads that do not meet: more than chance.
        apart = all(values) and (a["max"] < b["min"] or b["max"] < a["min"])
        spreads = [f"{number(row['min'])}–{number(row['max'])}" if row and row["value"] is not None else "-" for row in (a, b)]
        unit = (a or b)["unit"]
        yield (
            f"{name:<36}{number(values[0]):>10}{number(values[1]):>10}{ratio:>8}{spreads[0]:>18}{spreads[1]:>18}"
            f"  {unit}{' *' if apart else ''}"
        )
    yield "* the spreads do not meet"
