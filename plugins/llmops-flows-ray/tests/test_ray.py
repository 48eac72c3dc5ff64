"""Jobs on Ray return their results, files, logs and errors. A job that fails or dies does not stop the others."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite
from hydra.types import HydraContext, RunMode
from hydra_plugins.llmops_flows_ray import RayLauncher

pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.timeout(300)]


def test_hydra_discovers_the_launcher() -> None:
    assert RayLauncher.__name__ in [plugin.__name__ for plugin in Plugins.instance().discover(Launcher)]


@pytest.mark.parametrize(("launcher_name", "overrides"), [("ray", [])])
class TestLauncherSuiteOfHydra(LauncherTestSuite):
    @pytest.fixture(autouse=True)
    def compatible_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The suite expects Hydra's default version base; earlier tests in this process may have set another."""
        monkeypatch.setattr(version.VersionBase.instance(), "version_base", version.__compat_version__)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=ray", "hydra.launcher.address=auto"])]
)
class TestIntegrationSuiteOfHydra(IntegrationTestSuite):
    """The suite starts apps as commands."""


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Creates a launcher for a task function. Its jobs write to the folder `out`."""
    monkeypatch.chdir(tmp_path)
    version.setbase("1.3")

    def create(task: Callable[[Any], Any], *settings: str) -> Any:
        GlobalHydra.instance().clear()
        app = Hydra.create_main_hydra2("app", create_config_search_path(None))
        overrides = ["hydra/launcher=ray", "hydra.sweep.dir=out", *settings]
        config = app.compose_config(None, overrides, run_mode=RunMode.MULTIRUN, with_log_configuration=False)
        context = HydraContext(config_loader=app.config_loader, callbacks=Callbacks(config))
        return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)

    yield create
    GlobalHydra.instance().clear()


def jobs(*values: str) -> list[list[str]]:
    return [[f"+x={value}"] for value in values]


def task_function() -> Callable[[Any], Any]:
    """A task that writes a file and a log line, and then does what `x` says. Ray pickles it by value."""

    class TwoArguments(Exception):
        def __init__(self, one: str, two: int) -> None:
            super().__init__(one)

    def task(config: Any) -> str:
        import logging

        folder = Path(HydraConfig.get().runtime.output_dir)
        (folder / "answer.txt").write_text(f"{config.x} in {os.getcwd()}")
        logging.getLogger("app").info("point %s was here", config.x)
        if config.x == "bad":
            raise TwoArguments("it went wrong", 2)
        if config.x == "killed" and not Path("killed-once").exists():
            Path("killed-once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if config.x == "always-killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return str(config.x)

    return task


def test_each_job_returns_its_result_files_and_log(launcher: Any, tmp_path: Path) -> None:
    results: list[JobReturn] = launcher(task_function()).launch(jobs("a", "b", "c"), 5)
    assert [job.return_value for job in results] == ["a", "b", "c"]
    for number, value in zip((5, 6, 7), "abc", strict=True):
        assert (tmp_path / f"out/{number}/answer.txt").read_text() == f"{value} in {tmp_path}"
        assert f"point {value} was here" in (tmp_path / f"out/{number}/app.log").read_text()


def test_a_failed_job_does_not_stop_the_others_and_a_job_that_died_once_is_retried(
    launcher: Any, tmp_path: Path
) -> None:
    results = launcher(task_function(), "hydra.launcher.num_cpus=0.5", "hydra.launcher.retries=1").launch(
        jobs("a", "bad", "always-killed", "killed", "e"), 0
    )
    assert [job.status == JobStatus.COMPLETED for job in results] == [True, False, False, True, True]
    with pytest.raises(Exception, match="TwoArguments: it went wrong"):
        _ = results[1].return_value
    with pytest.raises(RuntimeError, match="its worker died"):
        _ = results[2].return_value
    assert (tmp_path / "killed-once").exists()
    assert (tmp_path / "out/3/answer.txt").read_text().startswith("killed in")


def test_jobs_run_at_once_only_if_their_resources_allow_it(launcher: Any, tmp_path: Path) -> None:
    def task(config: Any) -> bool:
        """Whether the other job ran at the same time."""
        own, other = Path(f"at-work-{config.x}"), Path(f"at-work-{'ab'.replace(config.x, '')}")
        own.touch()
        deadline = time.monotonic() + config.wait
        while not other.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        both_run = other.exists()
        time.sleep(0.2)
        own.unlink()
        return both_run

    def run_both(wait: float, *settings: str) -> list[bool]:
        overrides = [[*job, f"+wait={wait}"] for job in jobs("a", "b")]
        return [job.return_value for job in launcher(task, *settings).launch(overrides, 0)]

    assert run_both(30, "hydra.launcher.num_cpus=1") == [True, True]
    assert run_both(0.5, "hydra.launcher.num_cpus=2") == [False, False]
    assert run_both(0.5, "hydra.launcher.num_cpus=0.1", "+hydra.launcher.resources.seat=1") == [False, False]
    assert launcher(task, "hydra.launcher.num_cpus=0.5").slots() == 4
    assert launcher(task, "hydra.launcher.num_cpus=0.5", "+hydra.launcher.resources.seat=1").slots() == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["hydra.launcher.collect=sometimes"], "must be one of auto, always, never, got 'sometimes'"),
        (["hydra.launcher.num_gpus=3"], "a job needs 3 GPU, but the cluster has 0"),
        (["+hydra.launcher.resources.license=1"], "a job needs 1 license, but the cluster has 0"),
    ],
)
def test_invalid_settings_and_missing_resources_are_errors(settings: list[str], message: str, launcher: Any) -> None:
    with pytest.raises(ValueError, match=message):
        launcher(task_function(), *settings).launch(jobs("a"), 0)


def test_files_are_sent_back_from_another_disk(launcher: Any, tmp_path: Path) -> None:
    from llmops_flows_ray.job import MAX_BYTES, read_files

    def task(_: Any) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        (folder / "deep").mkdir()
        (folder / "deep/a.bin").write_bytes(b"\0\1")

    launcher(task, "hydra.launcher.collect=always").launch(jobs("a"), 0)
    assert (tmp_path / "out/0/deep/a.bin").read_bytes() == b"\0\1"
    (tmp_path / "out/0/link").symlink_to("/etc/passwd")
    with (tmp_path / "out/0/large").open("wb") as large:
        large.truncate(MAX_BYTES + 1)
    files, skipped = read_files(tmp_path / "out/0")
    assert files["deep/a.bin"] == b"\0\1" and "link" not in files and skipped == ["large"]


def test_an_interrupt_cancels_the_jobs(launcher: Any, tmp_path: Path) -> None:
    def task(_: Any) -> None:
        (Path(HydraConfig.get().runtime.output_dir) / "started").touch()
        time.sleep(60)

    def interrupt() -> None:
        for _ in range(600):
            if (tmp_path / "out/0/started").exists():
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.05)

    threading.Thread(target=interrupt, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        launcher(task, "hydra.launcher.num_cpus=2").launch(3 * jobs("a"), 0)
    assert time.monotonic() - start < 30
    assert not (tmp_path / "out/2/started").exists()


FLOW = (
    "-m", "flow=rag_support", "retriever=bm25", "questions.limit=2", "hydra/launcher=ray", "hydra.sweep.dir=out",
    "evaluator=none",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the command. It is not in the environment of the workers, which started before."""
    monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_points_run_on_ray_with_the_store_of_the_command(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from llmops_flows.cli.main import main

    axes = ("model=extractive,echo", "retriever.k=2,3,0")
    assert main([*FLOW, *axes]) == 2
    output = capfd.readouterr().out
    assert "4 of 6 points finished" in output and output.count("was not run") == 2
    assert len(list(tmp_path.glob("out/*/results.jsonl"))) == 4
    assert (home / "traces.sqlite").exists() and len(list(home.iterdir())) > 1
    computed = [json.loads(path.read_text())["stages"]["retrieve"].get("computed", 0) for path in summaries(tmp_path)]
    assert sum(computed) == 4  # two questions and two values of k, in whichever worker a point ran

    assert main([*FLOW, *axes, "hydra/sweeper=basic", "hydra.sweep.dir=again"]) == 2
    again = [json.loads(path.read_text())["stages"] for path in summaries(tmp_path, "again")]
    assert len(again) == 4 and all(stages["model"] == {"known": 2} for stages in again)


def summaries(folder: Path, sweep: str = "out") -> list[Path]:
    return sorted(folder.glob(f"{sweep}/*/summary.json"))


def test_all_workers_share_a_budget(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from llmops_flows.cli.main import main

    axes = ("model=echo", "prompt=glob(rag_support/*)", "retriever.k=2,3", "budget.tokens=1500")
    code = main([*FLOW, *axes])
    output = capfd.readouterr().out
    assert code == 3, output
    assert "budget.tokens=1500 is used up" in output
    spent = re.search(r"budget: (\d+) of 1500 tokens spent", output)
    assert spent and 0 < int(spent[1]) <= 1500
