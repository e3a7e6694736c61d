"""The page as PDF, printed by the machine's Chromium, which makes no network requests.

The browser only opens and prints the page. On the browser's `beforeprint` event, templates/figures.js draws the figures to the
width of the paper and unfolds everything, so a reader who prints the page gets the same.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from trainers.common.errors import UserError

#: Seconds that a browser may take; a page of 1,000 trials takes a few.
LIMIT = 300

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge")
_FLAGS = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions", "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
    # The page makes no requests; these keep the browser from making any.
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
_INSTEAD = "use --format html and print that page from any browser"


def browser() -> str:
    """Return the path of the browser to print with: BROWSER if it names a Chromium-based one, else the first on the PATH.

    Raises:
        UserError: there is no such browser.
    """
    named = os.environ.get("BROWSER", "")
    preferred = [named] if re.search("chrom|edge|brave", Path(named).name, re.IGNORECASE) else []
    program = next((path for name in (*preferred, *_NAMES) if (path := shutil.which(name))), None)
    if program is None:
        raise UserError(f"--format pdf needs Chromium or Chrome: install one (apt-get install chromium), or {_INSTEAD}")
    return program


def to_pdf(page: str, program: str) -> bytes:
    """Return the PDF of a page, printed by `program` with a fresh profile.

    Raises:
        UserError: `program` cannot be started, does not end within `LIMIT` seconds, or prints no PDF.
    """
    # A browser that was killed may still write to its profile while it is removed.
    with tempfile.TemporaryDirectory(prefix="transfergan-print-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        source, printed, log = folder / "report.html", folder / "report.pdf", folder / "log"
        source.write_text(page, encoding="utf-8")
        paths = [f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={printed}"]
        # The sandbox does not work for root. The page is ours, and everything in it is escaped.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        try:
            with log.open("wb") as stderr:
                done = subprocess.run(  # noqa: S603 - the user's browser, without a shell
                    [program, *_FLAGS, *paths, *sandbox, source.as_uri()],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, timeout=LIMIT, check=False,
                )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise UserError(f"{program} did not print the report within {LIMIT} seconds; {_INSTEAD}") from error
        except OSError as error:
            raise UserError(f"{program} cannot be started: {error.strerror or error}; {_INSTEAD}") from error
        pdf = printed.read_bytes() if printed.exists() else b""
        if done.returncode or not (pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")):
            fatal = [line for line in log.read_text(errors="replace").splitlines() if ":FATAL:" in line]
            why = f"{fatal[-1].partition('] ')[2]} " if fatal else ""
            raise UserError(
                f"{program} printed no PDF ({why}exit status {done.returncode}): name another with BROWSER=PATH, or {_INSTEAD}"
            )
        return pdf
