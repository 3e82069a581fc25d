"""The table that grows while the demo works, and the same for machines."""

import json
import sys

ROW = "  {result:<8}{name:<46}{value:>14} {unit}"


class Report:
    """All checks so far."""

    def __init__(self):
        self.checks = []
        self.reach = {}
        self.error = None
        self.colour = sys.stdout.isatty()

    @property
    def ok(self):
        """Whether everything was checked and held."""
        return bool(self.checks) and self.error is None and all(check["ok"] for check in self.checks)

    def say(self, text):
        """A line of progress."""
        print(text, flush=True)

    def section(self, title):
        """A heading in the table."""
        print(f"\n{title}", flush=True)

    def check(self, name, ok, value, unit=""):
        """Adds a row."""
        self.checks.append({"name": name, "ok": bool(ok), "value": value, "unit": unit})
        shown = "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
        row = ROW.format(result="ok" if ok else "FAILED", name=name, value=shown, unit=unit).rstrip()
        if self.colour and not ok:
            row = f"\033[31m{row}\033[0m"
        print(row, flush=True)

    def cell(self, source, target, text):
        """Remembers in one word how `source` reaches `target`."""
        self.reach[source, target] = text

    def matrix(self):
        """Who reaches whom: a row for each source, a column for each target."""
        sources = list(dict.fromkeys(source for source, _ in self.reach))
        targets = list(dict.fromkeys([*sources, *(target for _, target in self.reach)]))
        rows = [["from \\ to", *targets]]
        rows += [[source, *(self.reach.get((source, target), "·") for target in targets)] for source in sources]
        return "\n".join("  " + "".join(f"{word:<12}" for word in row).rstrip() for row in rows)

    def summary(self):
        """The last line."""
        failed = [check["name"] for check in self.checks if not check["ok"]]
        if self.ok:
            return f"All {len(self.checks)} checks hold."
        if not failed:
            return f"Stopped after {len(self.checks)} checks, none of which failed."
        # All of them stand above; the first ones tell most.
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        return f"{len(failed)} of {len(self.checks)} checks failed: {'; '.join(failed[:5])}{more}"

    def write_json(self, file, lab):
        """`{"ok", "checks", "lab"}` and, after a failure of the lab itself, `"error"`."""
        document = {"ok": self.ok, "checks": self.checks, "lab": lab}
        if self.error is not None:
            document["error"] = self.error
        with open(file, "w", encoding="utf-8") as output:
            json.dump(document, output, indent=2)
            output.write("\n")
