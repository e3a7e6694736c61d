"""The command ``python -m analysis.published``, which prints our statistics of the paper's tables."""

import argparse
import json

from analysis.published.paper_tables import TABLES
from analysis.published.results import describe, results


def main() -> None:
    """Print our statistics of the paper's tables."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.published",
        description='Apply the report\'s statistics to the tables of Wang et al., "Transferring GANs" (ECCV 2018).',
        epilog="Example: python -m analysis.published --json",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object: the tables and the results")
    arguments = parser.parse_args()
    statistics = results()
    if arguments.json:
        tables = {t.name: {"provenance": t.provenance, "columns": t.columns, "rows": t.rows} for t in TABLES}
        print(json.dumps({"tables": tables, "results": statistics}))
    else:
        print("\n".join(describe(statistics)))


if __name__ == "__main__":
    main()
