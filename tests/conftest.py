"""Fixtures: a separate cache of prepared images, stores on disk and on an S3 server, a Ray cluster, reports, a browser.

Marks the tests that use slow fixtures as slow, and fails quick tests that start a process. The S3 server runs in a separate
Python environment (support/s3-server.txt), since its packages conflict with those of the tests.
"""

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from bench.store import Store, open_store
from tests.support.endurance import TIMES

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from ray.cluster_utils import Cluster

    from tests.support.pages import Reports, See

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
#: Options of a head node without a dashboard, whose port may be taken by another cluster, and without processes that no test
#: needs: one copies logs to the driver, the other adds machines.
QUIET = {"include_dashboard": False, "dashboard_port": None, "include_log_monitor": False, "no_monitor": True}
S3_PYTHON = Path(sys.prefix) / "s3-server" / "bin" / "python"


#: Fixtures that start a cluster, a browser or a server, or train; the tests that use them are slow too.
SLOW_FIXTURES = {"browser", "cluster", "finished_once", "head", "launched", "reports", "s3_port", "switch", "workplace"}

#: Programs that a quick test may run: they describe the machine.
HARMLESS = ("git", "ldconfig", "uname")

#: The id of the test that runs, if it is quick, so that it must not start a process.
_quick: list[str] = []


def _refuse_processes(event: str, arguments: tuple[object, ...]) -> None:
    forks = event in ("os.fork", "os.posix_spawn")
    if _quick and (forks or (event == "subprocess.Popen" and Path(str(arguments[0])).name not in HARMLESS)):
        pytest.fail(f"{_quick[0]} starts a process {arguments[:1]}; mark it with @pytest.mark.slow")


def pytest_configure() -> None:
    """Install the check that quick tests start no process, and let child processes be interrupted and keep compiled modules.

    Collection creates millions of objects that stay; to search them for garbage takes a third of its time.

    A shell starts background jobs with SIGINT ignored, and `nohup` ignores SIGHUP; child processes inherit that. Where the
    environment forbids compiled files, each child process spends a second on compiling our modules.
    """
    gc.disable()
    sys.addaudithook(_refuse_processes)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Search for garbage from now on, but not among the modules and tests."""
    gc.freeze()
    gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out whole slow files from quick runs, which saves their imports."""
    quick = config.option.markexpr == "not slow" and collection_path.suffix == ".py"
    return True if quick and "\npytestmark = pytest.mark.slow\n" in collection_path.read_text() else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Refuse processes while a quick test runs, its fixtures included."""
    _quick[:] = [] if item.get_closest_marker("slow") else [item.nodeid]
    try:
        return (yield)
    finally:
        _quick.clear()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow tests, leave out those of `make endurance` alone, and begin with the longest files.

    Parallel processes then end together.
    """
    if not TIMES:
        marked = {item: item.get_closest_marker("endurance") for item in items}
        left_out = [item for item, marker in marked.items() if marker is not None and marker.kwargs.get("only")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        uses = {*getattr(item, "fixturenames", ()), *({"s3_port"} if parameters.get("store") == "s3" else ())}
        if uses & SLOW_FIXTURES:
            item.add_marker("slow")
    # A process is given its next file while it still has two tests of the file before, so no long one may come late. Those that
    # wait for Ray, every second of the first ones, leave the processor to the others.
    longest = (
        "sweep", "pages", "jobs", "measuring", "sweep_ends", "book", "hosts", "page_sections", "cluster", "strategies",
        "losses", "evaluation_tasks", "launch", "trial", "on_ray", "export", "site", "faults", "methods", "style", "domains",
        "gan", "confirmation", "layers", "iw", "recommend", "plugins", "augmentation", "report", "ledger", "preemptions",
        "pdf", "answers", "compact", "knobs", "strange_content", "several_drivers", "benchmark", "truth", "unusual_stores",
        "evaluation", "recommender", "notebooks", "pairs", "networks", "savings", "predictors", "tuning", "interrupts",
        "whose_file", "in_process",
    )  # fmt: skip
    order = {f"test_{name}.py": number for number, name in enumerate(longest)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(autouse=True, scope="session")
def cache_of_prepared_images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep prepared images out of the user's cache."""
    folder = tmp_path_factory.mktemp("prepared")
    os.environ["TRANSFERGAN_CACHE"] = str(folder)
    yield folder
    del os.environ["TRANSFERGAN_CACHE"]


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """The port of an S3 server on loopback with the bucket "bucket"."""
    if not S3_PYTHON.exists():
        pytest.skip(f"there is no S3 server in {S3_PYTHON.parents[1]}; `make test` installs it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    server = subprocess.Popen(
        [S3_PYTHON, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 300
        while True:
            try:
                request = urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT")
                urllib.request.urlopen(request, timeout=10).close()
                break
            except urllib.error.URLError:
                assert server.poll() is None, "the S3 server ended"
                assert time.monotonic() < end, "the S3 server does not answer"
                time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def s3_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for the S3 clients of this process and its child processes; the server accepts any."""
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def s3_uri(port: int) -> str:
    """Return the URI of a new prefix of the bucket, on the server at a port."""
    return f"s3://bucket/{uuid.uuid4().hex}?scheme=http&endpoint_override=127.0.0.1%3A{port}"


@pytest.fixture
def s3(s3_port: int, s3_keys: None) -> str:
    """The URI of a new prefix on the S3 server."""
    return s3_uri(s3_port)


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store, on disk and on S3."""
    uri = str(tmp_path / "store") if request.param == "local" else request.getfixturevalue("s3")
    return open_store(uri, create=True)


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished store of the quickstart's size, with values of a formula; tests must not change it."""
    from tests.support.synthetic import build

    folder = tmp_path_factory.mktemp("quickstart") / "store"
    build(folder)
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes that run tests share."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def finished_once(shared: Path) -> Path:
    """The folder of a store with the finished sweep `tiny.make()`; tests must not change it."""
    from tests.support import tiny

    folder = shared / "small" / "store"
    with FileLock(shared / "small.lock"):
        if not folder.exists():
            made = shared / "small" / uuid.uuid4().hex  # whole, also if a process fails
            tiny.run_here(tiny.make(), open_store(str(made), create=True))
            made.rename(folder)
    return folder


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Store:
    """A store with the finished sweep `tiny.make()`, which tests may change."""
    shutil.copytree(finished_once, tmp_path / "store")
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The generator steps that are taken, as a list of the numbers of steps before each."""
    from trainers.core.gan import Gan

    taken: list[int] = []
    original = Gan._take_step_on

    def counted(self: Gan, *arguments: Any) -> None:
        taken.append(self.step)
        original(self, *arguments)

    monkeypatch.setattr(Gan, "_take_step_on", counted)
    return taken


@pytest.fixture(scope="module")
def cluster() -> Iterator["Cluster"]:
    """A Ray cluster on this machine with room for one trial, for runs to join; the loss of an added node is noticed quickly."""
    from ray.cluster_utils import Cluster

    import bench.on_ray  # noqa: F401 - sets the environment that the cluster's processes inherit

    watchful = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    head = {**QUIET, "num_cpus": 1, "_system_config": watchful}
    running = Cluster(initialize_head=True, head_node_args=head)
    yield running
    running.shutdown()


@pytest.fixture(scope="session")
def reports(shared: Path) -> "Reports":
    """The reports that tests open in a browser, by kind of store; processes that run tests share them."""
    from tests.support.pages import Reports

    root = shared / "reports"
    root.mkdir(exist_ok=True)
    return Reports(root)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A browser, for one module: its event loop would disturb that of others."""
    from playwright.sync_api import sync_playwright

    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is absent, and CI needs a browser")
        pytest.skip(f"{CHROMIUM} is absent: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*FLAGS.split(), "--disable-sync"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def see(browser: "Browser", reports: "Reports") -> "See":
    """Open a report once for all tests of a module: `see(kind of store, size, theme, address)`; they leave it as it was."""
    from tests.support.pages import visit

    opened = cache(partial(visit, browser))
    return lambda name, size, theme="light", address="": opened(reports[name], size, theme, address)
