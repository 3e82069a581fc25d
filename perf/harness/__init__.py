"""The performance harness: runs every part of scripts/perf, prints a table while it goes, writes perf/report/."""
