"""Rows: one figure each, what it is held against, and the table that people watch."""

import json
import pathlib
import statistics

TARGETS = pathlib.Path(__file__).resolve().parents[1] / "targets.json"
KEYS = ("id", "what", "value", "min", "max", "unit", "peer", "limit", "target")
# What only some rows have besides.
MORE_KEYS = ("core_cycles",)


class Table:
    """Collects rows and prints each as soon as it is there."""

    def __init__(self):
        self.rows = []
        self.aims = json.loads(TARGETS.read_text(encoding="utf-8"))
        self.failures = []

    def head(self, section):
        """Begins a part."""
        columns = f"{'row':<36}{'value':>10}{'min':>10}{'max':>10}{'peer':>8}{'limit':>8}{'target':>8}"
        print(f"\n== {section}\n{columns}        unit · what", flush=True)

    def add(self, row):
        """Adds a row as a program printed it, or as `row` made it."""
        row = {key: row.get(key) for key in KEYS} | {key: row[key] for key in MORE_KEYS if row.get(key) is not None}
        self.rows.append(row)
        cells = [f"{row['id']:<36}", *(f"{number(row[key]):>10}" for key in ("value", "min", "max"))]
        cells += [f"{number(row[key]):>8}" for key in ("peer", "limit", "target")]
        print(f"{''.join(cells)} {self.verdict(row) or '':<6} {row['unit']} · {row['what']}", flush=True)

    def row(self, name, what, samples, unit, **more):
        """A row of some samples: median, least, most. Without one it is a row that says why."""
        aim = self.aims.get(name, {})
        row = {"id": name, "what": what, "unit": unit, **{key: aim.get(key) for key in ("peer", "limit", "target")}}
        samples = [sample for sample in samples if sample is not None]
        if samples:
            row["value"] = round(statistics.median(samples), 3)
            row["min"], row["max"] = round(min(samples), 3), round(max(samples), 3)
        self.add({**row, **more})
        return row.get("value")

    def value(self, name):
        """The figure of a row that is there, else `None`."""
        return next((row["value"] for row in self.rows if row["id"] == name), None)

    def fail(self, name, why):
        """A row that could not be measured: it says why, and the run fails in the end."""
        self.failures.append(name)
        self.row(name, why, [], "")

    def verdict(self, row):
        """`ok`, `short`, or nothing without a target."""
        return verdict(row, self.aims)


def verdict(row, aims):
    """Whether a row reached its target."""
    if row.get("target") is None:
        return None
    if row["value"] is None:
        return "none"
    more = aims.get(row["id"], {}).get("more", False)
    reached = row["value"] >= row["target"] if more else row["value"] <= row["target"]
    return "ok" if reached else "short"


def number(value):
    """As short as it can be read."""
    if value is None:
        return "-"
    if value and abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"
