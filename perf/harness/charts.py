"""SVG charts of a report: bars with their spread, limit, peer and target; each a file that stands alone."""

import re
from html import escape

WIDTH, LABEL, BAR, GAP = 860, 260, 18, 8
COLOURS = {"value": "#2a6f97", "limit": "#2a9d5c", "peer": "#b08968", "target": "#c1121f", "text": "#222", "spread": "#111"}
MARKS = ("limit", "peer", "target")
PARTS = ("#2a6f97", "#61a5c2", "#89c2d9", "#f4a261", "#e9c46a", "#8ab17d", "#9d8189", "#d8e2dc", "#6d597a", "#b56576", "#adb5bd")
CYCLES = "TSC cycles/packet"
SIZE = r"\.(?:64|576|1400|8900)"
# Title, unit, pattern of the names of its rows.
CHARTS = {
    "journeys": ("Whole journeys, 64 bytes", CYCLES, r"(?:forward|policy|nat)\.[^.]*|esp\.[\w.]+\.64"),
    "sizes": ("Packet size: bytes at the end of the name, else 64", CYCLES, rf"(?:forward|policy|nat)\.[^.]*(?:{SIZE})?|esp\.[\w.]+{SIZE}"),
    "cores": ("Two workers beside one", "times one worker", r"scaling\..*"),
    "sessions": ("Sessions", CYCLES, r"nat\.(?:64k|1m|4m)|growth\.sessions\.\w+"),
    "routes": ("Routes", CYCLES, r"forward\.(?:one|100k)|growth\.routes[46]\.\w+"),
    "rules": ("Rules", CYCLES, r"policy\.[^.]*|growth\.rules(?:-established)?\.\w+"),
    "associations": ("Security associations", CYCLES, r"esp\.(?:seal|open)\.64|growth\.sas(?:-open)?\.\w+"),
    "publish": ("To build and publish", "ms", r"growth\..*"),
    "instructions": ("Instructions by place", "instructions/packet", r"stage\..*"),
    "veth": ("Over veth, UDP", "Mpps", r"veth\..*"),
    "tcp": ("Over veth, TCP", "Gbit/s", r".*"),
    "latency": ("Latency over veth: median, 99th, 99.9th percentile", "µs", r"(?:veth|tunnel)\..*"),
    "tunnels": ("Tunnels over veth", "Mpps", r"tunnel\..*"),
    "cpu": ("Packets per CPU second of the gateways' processes", "packets/s", r"tunnel\..*"),
}


def draw(rows):
    """File name → SVG text of every chart that has rows."""
    charts = {}
    for name, (title, unit, pattern) in CHARTS.items():
        chosen = [row for row in rows if row["value"] is not None and row["unit"] == unit and re.fullmatch(pattern, row["id"])]
        if name == "sizes" and not any(re.search(r"\.(?:576|1400|8900)$", row["id"]) for row in chosen):
            chosen = []
        if chosen:
            charts[f"{name}.svg"] = bars(title, unit, chosen)
    parts = by_stage(rows)
    if parts:
        charts["stages.svg"] = stacked("Cycles by stage, by samples of the clock", CYCLES, parts)
    return charts


def by_stage(rows):
    """For each journey with rows `cycles.JOURNEY.STAGE`: its own row, or one of their sum, and its stages."""
    known = {row["id"]: row for row in rows}
    found = {}
    for row in rows:
        name, _, stage = row["id"].removeprefix("cycles.").rpartition(".")
        if row["id"].startswith("cycles.") and name and row["value"] is not None:
            found.setdefault(name, {})[stage] = row["value"]
    whole = lambda name, stages: known.get(name) or {"id": name, **dict.fromkeys(MARKS), "value": sum(stages.values())}
    return [(whole(name, stages), stages) for name, stages in found.items()]


def bars(title, unit, rows):
    """Horizontal bars from zero; a line from least to most, marks for limit, peer and target."""
    most = max(max(row[key] or 0 for key in ("value", "max", *MARKS)) for row in rows) or 1
    scale = (WIDTH - LABEL - 80) / most
    key = [("value", "median"), ("spread", "least to most"), *((mark, mark) for mark in MARKS)]
    out, top = _head(title, unit, len(rows), [(COLOURS[name], text) for name, text in key])
    for number, row in enumerate(rows):
        out.append(_bar(row, top + number * (BAR + GAP), scale))
    return "\n".join([*out, "</svg>", ""])


def stacked(title, unit, parts):
    """A bar for each journey, cut into its stages; marks for limit, peer and target."""
    names = list(dict.fromkeys(stage for _, stages in parts for stage in stages))
    colours = {name: PARTS[number % len(PARTS)] for number, name in enumerate(names)}
    most = max(max([sum(stages.values()), *(row[mark] or 0 for mark in MARKS)]) for row, stages in parts) or 1
    scale = (WIDTH - LABEL - 80) / most
    key = [*((colours[name], name) for name in names), *((COLOURS[mark], mark) for mark in MARKS)]
    out, top = _head(title, unit, len(parts), key)
    for number, (row, stages) in enumerate(parts):
        y, x = top + number * (BAR + GAP), float(LABEL)
        out.append(_name(row["id"], y))
        for name, value in stages.items():
            tip = f"<title>{escape(name)} {value:.1f}</title>"
            out.append(f'<rect x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="{BAR}" fill="{colours[name]}">{tip}</rect>')
            x += value * scale
        end = max([x, *(LABEL + (row[mark] or 0) * scale for mark in MARKS)])
        out += [_marks(row, y, scale), _figure(end, y, sum(stages.values()))]
    return "\n".join([*out, "</svg>", ""])


def _head(title, unit, rows, key):
    """The beginning of a chart, and where its bars begin."""
    marks, x, y = [], 12, 40
    for colour, text in key:
        if x + 30 + 7 * len(text) > WIDTH:
            x, y = 12, y + 16
        marks.append(f'<rect x="{x}" y="{y - 9}" width="9" height="9" fill="{colour}"/>')
        marks.append(f'<text x="{x + 13}" y="{y}" fill="{COLOURS["text"]}">{escape(text)}</text>')
        x += 30 + 7 * len(text)
    top = y + 12
    height = top + rows * (BAR + GAP) + 16
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="22" font-size="15" fill="{COLOURS["text"]}">{escape(title)}: {escape(unit)}</text>',
        *marks,
    ], top


def _bar(row, y, scale):
    middle = y + BAR / 2
    low, high = LABEL + row["min"] * scale, LABEL + row["max"] * scale
    end = LABEL + max(row["value"], row["max"], *(row[mark] or 0 for mark in MARKS)) * scale
    return "".join(
        (
            _name(row["id"], y),
            f'<rect x="{LABEL}" y="{y}" width="{max(1, row["value"] * scale):.1f}" height="{BAR}" fill="{COLOURS["value"]}"/>',
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{COLOURS["spread"]}"/>',
            _marks(row, y, scale),
            _figure(end, y, row["value"]),
        )
    )


def _marks(row, y, scale):
    places = ((mark, LABEL + row[mark] * scale) for mark in MARKS if row.get(mark) is not None)
    return "".join(f'<rect x="{x - 1.5:.1f}" y="{y - 3}" width="3" height="{BAR + 6}" fill="{COLOURS[mark]}"/>' for mark, x in places)


def _name(name, y):
    return f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end" fill="{COLOURS["text"]}">{escape(name)}</text>'


def _figure(x, y, value):
    return f'<text x="{x + 6:.1f}" y="{y + 13}" fill="{COLOURS["text"]}">{value:.4g}</text>'
