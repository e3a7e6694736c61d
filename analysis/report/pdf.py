"""The page on paper: printed to PDF by a Chromium that is on the machine, which fetches nothing.

The browser only opens the page and prints it. What paper needs (figures drawn to its width, nothing folded) the page does
itself when it hears that it is to be printed, in templates/figures.js, so that a reader who prints it gets the same.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from trainers.common.errors import UserError

#: Seconds that a browser may take; a page of 1,000 trials takes few.
LIMIT = 300

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge")
_FLAGS = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions", "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
    # The page asks for nothing; nor shall the browser on its own behalf.
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
_INSTEAD = "use --format html and print that page from any browser"


def browser() -> str:
    """Return the program that prints: what BROWSER names if that is a Chromium's kin, else the first on the path.

    Raises:
        UserError: there is none.
    """
    named = os.environ.get("BROWSER", "")
    wanted = [named] if re.search("chrom|edge|brave", Path(named).name, re.IGNORECASE) else []
    found = next((path for name in (*wanted, *_NAMES) if (path := shutil.which(name))), None)
    if found is None:
        raise UserError(f"--format pdf needs Chromium or Chrome: install one (apt-get install chromium), or {_INSTEAD}")
    return found


def to_pdf(page: str, program: str) -> bytes:
    """Return the PDF of a page, as `program` prints it under a fresh profile.

    Raises:
        UserError: it cannot be started, does not end within `LIMIT` seconds, or prints nothing.
    """
    # A browser that was killed may still write into its profile while that is removed.
    with tempfile.TemporaryDirectory(prefix="transfergan-print-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        source, printed, log = folder / "report.html", folder / "report.pdf", folder / "log"
        source.write_text(page, encoding="utf-8")
        own = [f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={printed}"]
        if os.geteuid() == 0:  # its sandbox does not work for root; the page is our own and all in it is escaped
            own.append("--no-sandbox")
        try:
            with log.open("wb") as said:
                done = subprocess.run(  # noqa: S603 - a browser of the user's, and no shell
                    [program, *_FLAGS, *own, source.as_uri()],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, timeout=LIMIT, check=False,
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
                f"{program} printed no PDF ({why}exit status {done.returncode}): name another by BROWSER=PATH, or {_INSTEAD}"
            )
        return pdf
