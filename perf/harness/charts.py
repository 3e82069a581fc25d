"""SVG charts of a report: bars with their spread, peer and target; each a file that stands alone."""

from html import escape

WIDTH, LABEL, BAR, GAP = 860, 260, 18, 8
COLOURS = {"value": "#2a6f97", "peer": "#b08968", "target": "#c1121f", "text": "#222", "spread": "#111"}
# Title, unit, beginnings of the names of its rows.
CHARTS = {
    "journeys": ("Whole journeys", "TSC cycles/packet", ("forward.", "policy.", "nat.", "esp.")),
    "cores": ("Two workers beside one", "times one worker", ("scaling.",)),
    "sessions": ("Sessions", "TSC cycles/packet", ("growth.sessions.",)),
    "routes": ("Routes", "TSC cycles/packet", ("growth.routes4.", "growth.routes6.")),
    "rules": ("Rules", "TSC cycles/packet", ("growth.rules.", "growth.rules-established.")),
    "associations": ("Security associations", "TSC cycles/packet", ("growth.sas.",)),
    "publish": ("To build and publish", "ms", ("growth.",)),
    "stages": ("Instructions by stage", "instructions/packet", ("stage.",)),
    "veth": ("Over veth", "Mpps", ("veth.",)),
    "tunnels": ("Tunnels over veth", "Mpps", ("tunnel.",)),
}


def draw(rows):
    """File name → SVG text of every chart that has rows."""
    charts = {}
    for name, (title, unit, beginnings) in CHARTS.items():
        chosen = [row for row in rows if row["value"] is not None and row["unit"] == unit and row["id"].startswith(beginnings)]
        if chosen:
            charts[f"{name}.svg"] = bars(title, unit, chosen)
    return charts


def bars(title, unit, rows):
    """Horizontal bars from zero; a line from least to most, a brown mark for the peer, a red one for the target."""
    top = 52
    height = top + len(rows) * (BAR + GAP) + 16
    most = max(max(row[key] or 0 for key in ("value", "max", "peer", "target")) for row in rows) or 1
    scale = (WIDTH - LABEL - 80) / most
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="22" font-size="15" fill="{COLOURS["text"]}">{escape(title)}: {escape(unit)}</text>',
        _key(12, 40),
    ]
    for number, row in enumerate(rows):
        out.append(_bar(row, top + number * (BAR + GAP), scale))
    return "\n".join([*out, "</svg>", ""])


def _key(x, y):
    marks = (("value", "median"), ("spread", "least to most"), ("peer", "peer"), ("target", "target"))
    parts = []
    for name, text in marks:
        parts.append(f'<rect x="{x}" y="{y - 9}" width="9" height="9" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{x + 13}" y="{y}" fill="{COLOURS["text"]}">{text}</text>')
        x += 30 + 8 * len(text)
    return "".join(parts)


def _bar(row, y, scale):
    middle = y + BAR / 2
    low, high = LABEL + row["min"] * scale, LABEL + row["max"] * scale
    parts = [
        f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end" fill="{COLOURS["text"]}">{escape(row["id"])}</text>',
        f'<rect x="{LABEL}" y="{y}" width="{max(1, row["value"] * scale):.1f}" height="{BAR}" fill="{COLOURS["value"]}"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{COLOURS["spread"]}"/>',
    ]
    for name in ("peer", "target"):
        if row[name] is not None:
            x = LABEL + row[name] * scale
            parts.append(f'<rect x="{x - 1.5:.1f}" y="{y - 3}" width="3" height="{BAR + 6}" fill="{COLOURS[name]}"/>')
    end = LABEL + max(row["value"], row["max"], row["peer"] or 0, row["target"] or 0) * scale
    parts.append(f'<text x="{end + 6:.1f}" y="{y + 13}" fill="{COLOURS["text"]}">{row["value"]:g}</text>')
    return "".join(parts)
