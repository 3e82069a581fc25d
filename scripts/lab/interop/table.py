"""What was checked as tables in Markdown: a line for each check, and a line for each section as the README has it."""

HEAD = "| what | peer | result | figure |\n|---|---|---|---|\n"
PAGE = """# Results of scripts/interop

Written by `scripts/interop --markdown scripts/lab/interop/RESULTS.md`, all checks; [what each of them is](../../README.md).
The figures were measured on two cores of a shared machine.

"""


def of_checks(checks):
    """A page with a row for each check."""
    rows = [_row(check["name"], check["peer"], "ok" if check["ok"] else "FAILED", _figure(check)) for check in checks]
    return PAGE + HEAD + "".join(rows)


def of_sections(checks):
    """A row for each section: how many checks hold, and the worst of the figures of each kind."""
    rows = []
    for section, peer in dict.fromkeys((check["section"], check["peer"]) for check in checks):
        own = [check for check in checks if (check["section"], check["peer"]) == (section, peer)]
        held = sum(check["ok"] for check in own)
        rows.append(_row(section, peer, f"{held} of {len(own)}", ", ".join(worst(own))))
    return HEAD + "".join(rows)


def worst(checks):
    """The largest number of each unit."""
    numbers = {}
    for check in checks:
        if isinstance(check["value"], (int, float)) and check["unit"] in WORSE_IF_LARGER:
            numbers[check["unit"]] = max(numbers.get(check["unit"], 0), check["value"])
    return [f"{'≤ ' if value else ''}{value} {unit}" for unit, value in numbers.items()]


# Others are what was seen, not how good it is.
WORSE_IF_LARGER = (
    *("echoes lost", "packets lost", "packets", "in clear", "ms"),
    *("s until echoes pass", "s until all flows pass", "s until we know"),
)


def _figure(check):
    return " ".join(str(part) for part in (check["value"], check["unit"]) if part not in (None, ""))


def _row(*cells):
    return f"| {' | '.join(cells)} |\n"
