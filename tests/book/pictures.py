"""The pictures of the README, from a store: ``python -m tests.book.pictures --store store --trial KEY``."""

import argparse
import io
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import sync_playwright

from analysis.report.page import write_report
from bench.images.drawing import Drawing
from bench.images.generate import write_images
from bench.store import open_store
from tests.conftest import CHROMIUM, FLAGS
from tests.support.pages import visit

FOLDER = Path(__file__).parent / "pictures"

#: Width and height of the window of the page; its first screen.
WINDOW = 1280, 505

#: By how much the samples are enlarged, and the number of them.
ENLARGED, SAMPLES = 6, 32


def main() -> None:
    """Write the first screen of the report, and samples of the best trial."""
    command = "python -m tests.book.pictures"
    parser = argparse.ArgumentParser(prog=command, description=__doc__, epilog=f"Example: {command} --trial 5776d273")
    parser.add_argument("--store", default="store", help="of the sweep quickstart (%(default)s)")
    parser.add_argument("--trial", required=True, help="key of the trial that draws the samples")
    arguments = parser.parse_args()
    store = open_store(arguments.store)
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        write_report(store, folder / "report.html")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        shot = visit(browser, folder / "report.html", WINDOW).page.screenshot()
        browser.close()
        with Image.open(io.BytesIO(shot)) as picture:
            picture.convert("RGB").quantize(128).save(FOLDER / "page.png", optimize=True)
        write_images(store, arguments.trial, Drawing(SAMPLES), folder / "samples")
        with Image.open(folder / "samples-sheet.png") as sheet:
            size = sheet.width * ENLARGED, sheet.height * ENLARGED
            sheet.resize(size, Image.Resampling.NEAREST).quantize(64).save(FOLDER / "samples.png", optimize=True)


if __name__ == "__main__":
    main()
