"""Print what our statistics make of the paper's tables: ``python -m analysis.published``."""

import argparse
import json

from analysis.published.results import describe, results
from analysis.published.tables import TABLES


def main() -> None:
    """Print what our statistics make of the paper's tables."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.published",
        description='What the report\'s statistics make of the tables of Wang et al., "Transferring GANs" (ECCV 2018).',
        epilog="Example: python -m analysis.published --json",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object: the tables and the results")
    arguments = parser.parse_args()
    found = results()
    if arguments.json:
        tables = {t.name: {"provenance": t.provenance, "columns": t.columns, "rows": t.rows} for t in TABLES}
        print(json.dumps({"tables": tables, "results": found}))
    else:
        print("\n".join(describe(found)))


if __name__ == "__main__":
    main()
