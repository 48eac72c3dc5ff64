"""Jobs on Ray: results, files, logs and errors come back, and one that fails or dies stops no other."""

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
from hydra.test_utils.launcher_common_tests import LauncherTestSuite
from hydra.types import HydraContext, RunMode
from hydra_plugins.llmops_flows_ray import RayLauncher

pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.timeout(300)]


def test_hydra_finds_it() -> None:
    assert RayLauncher.__name__ in [plugin.__name__ for plugin in Plugins.instance().discover(Launcher)]


@pytest.mark.parametrize(("launcher_name", "overrides"), [("ray", [])])
class TestHydrasSuite(LauncherTestSuite):
    @pytest.fixture(autouse=True)
    def as_hydra_runs_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever version of Hydra's behaviour tests before it asked for, in this process."""
        monkeypatch.setattr(version.VersionBase.instance(), "version_base", version.__compat_version__)


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes a launcher for a task, whose jobs write into the folder `out`."""
    monkeypatch.chdir(tmp_path)

    version.setbase("1.3")

    def made(task: Callable[[Any], Any], *settings: str) -> Any:
        GlobalHydra.instance().clear()
        app = Hydra.create_main_hydra2("app", create_config_search_path(None))
        overrides = ["hydra/launcher=ray", "hydra.sweep.dir=out", *settings]
        config = app.compose_config(None, overrides, run_mode=RunMode.MULTIRUN, with_log_configuration=False)
        context = HydraContext(config_loader=app.config_loader, callbacks=Callbacks(config))
        return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)

    yield made
    GlobalHydra.instance().clear()


def jobs(*values: str) -> list[list[str]]:
    return [[f"+x={value}"] for value in values]


def work() -> Callable[[Any], Any]:
    """A task that leaves a file and a log line, and does what `x` says. Made here, it travels with its code."""

    class TwoArguments(Exception):
        def __init__(self, one: str, two: int) -> None:
            super().__init__(one)

    def task(config: Any) -> str:
        import logging

        here = Path(HydraConfig.get().runtime.output_dir)
        (here / "answer.txt").write_text(f"{config.x} in {os.getcwd()}")
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


def test_results_files_and_logs_of_each_job_come_back(launcher: Any, tmp_path: Path) -> None:
    done: list[JobReturn] = launcher(work()).launch(jobs("a", "b", "c"), 5)
    assert [job.return_value for job in done] == ["a", "b", "c"]
    for number, value in zip((5, 6, 7), "abc", strict=True):
        assert (tmp_path / f"out/{number}/answer.txt").read_text() == f"{value} in {tmp_path}"
        assert f"point {value} was here" in (tmp_path / f"out/{number}/app.log").read_text()


def test_a_job_that_fails_or_always_dies_stops_no_other_and_one_that_dies_once_is_tried_again(
    launcher: Any, tmp_path: Path
) -> None:
    done = launcher(work(), "hydra.launcher.num_cpus=0.5", "hydra.launcher.retries=1").launch(
        jobs("a", "bad", "always-killed", "killed", "e"), 0
    )
    assert [job.status == JobStatus.COMPLETED for job in done] == [True, False, False, True, True]
    with pytest.raises(Exception, match="TwoArguments: it went wrong"):
        _ = done[1].return_value
    with pytest.raises(RuntimeError, match="its worker died"):
        _ = done[2].return_value
    assert (tmp_path / "killed-once").exists()
    assert (tmp_path / "out/3/answer.txt").read_text().startswith("killed in")


def test_a_job_gets_what_it_needs_for_itself(launcher: Any, tmp_path: Path) -> None:
    def task(config: Any) -> bool:
        """Whether the other job was at work at the same time."""
        mine, other = Path(f"at-work-{config.x}"), Path(f"at-work-{'ab'.replace(config.x, '')}")
        mine.touch()
        until = time.monotonic() + config.wait
        while not other.exists() and time.monotonic() < until:
            time.sleep(0.02)
        met = other.exists()
        time.sleep(0.2)
        mine.unlink()
        return met

    def met(wait: float, *settings: str) -> list[bool]:
        overrides = [[*job, f"+wait={wait}"] for job in jobs("a", "b")]
        return [job.return_value for job in launcher(task, *settings).launch(overrides, 0)]

    assert met(30, "hydra.launcher.num_cpus=1") == [True, True]
    assert met(0.5, "hydra.launcher.num_cpus=2") == [False, False]
    assert met(0.5, "hydra.launcher.num_cpus=0.1", "+hydra.launcher.resources.seat=1") == [False, False]
    assert launcher(task, "hydra.launcher.num_cpus=0.5").slots() == 4
    assert launcher(task, "hydra.launcher.num_cpus=0.5", "+hydra.launcher.resources.seat=1").slots() == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["hydra.launcher.collect=sometimes"], "choose from auto, always, never"),
        (["hydra.launcher.num_gpus=3"], "a job needs 3 GPU; the cluster has 0"),
        (["+hydra.launcher.resources.license=1"], "a job needs 1 license; the cluster has 0"),
    ],
)
def test_what_cannot_be_had_is_told_at_once(settings: list[str], told: str, launcher: Any) -> None:
    with pytest.raises(ValueError, match=told):
        launcher(work(), *settings).launch(jobs("a"), 0)


def test_files_come_back_from_another_disk(launcher: Any, tmp_path: Path) -> None:
    from llmops_flows_ray.job import LARGEST, files

    def task(_: Any) -> None:
        """Leaves files, and takes them away once they were collected: as if it had been elsewhere."""
        here = Path(HydraConfig.get().runtime.output_dir)
        (here / "deep").mkdir()
        (here / "deep/a.bin").write_bytes(b"\0\1")

    launcher(task, "hydra.launcher.collect=always").launch(jobs("a"), 0)
    assert (tmp_path / "out/0/deep/a.bin").read_bytes() == b"\0\1"
    (tmp_path / "out/0/link").symlink_to("/etc/passwd")
    with (tmp_path / "out/0/large").open("wb") as large:
        large.truncate(LARGEST + 1)
    found, left_out = files(tmp_path / "out/0")
    assert found["deep/a.bin"] == b"\0\1" and "link" not in found and left_out == ["large"]


def test_an_interrupt_calls_the_jobs_off(launcher: Any, tmp_path: Path) -> None:
    def task(_: Any) -> None:
        (Path(HydraConfig.get().runtime.output_dir) / "begun").touch()
        time.sleep(60)

    def interrupt() -> None:
        for _ in range(600):
            if (tmp_path / "out/0/begun").exists():
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.05)

    threading.Thread(target=interrupt, daemon=True).start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        launcher(task, "hydra.launcher.num_cpus=2").launch(3 * jobs("a"), 0)
    assert time.monotonic() - begun < 30
    assert not (tmp_path / "out/2/begun").exists()


FLOW = (
    "-m", "flow=rag_support", "retriever=bm25", "questions.limit=2", "hydra/launcher=ray", "hydra.sweep.dir=out",
    "evaluator=none",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the command. Workers, which were started before, do not find it in their environment."""
    monkeypatch.setenv("LLMOPS_FLOWS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_the_points_of_a_flow_run_on_ray_with_the_store_of_the_command(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from llmops_flows.cli.main import main

    axes = ("model=extractive,echo", "retriever.k=2,3,0")
    assert main([*FLOW, *axes]) == 2
    told = capfd.readouterr().out
    assert "4 of 6 points finished" in told and told.count("was not run") == 2
    assert len(list(tmp_path.glob("out/*/results.jsonl"))) == 4
    assert (home / "traces.sqlite").exists() and len(list(home.iterdir())) > 1
    computed = [json.loads(path.read_text())["stages"]["retrieve"].get("computed", 0) for path in summaries(tmp_path)]
    assert sum(computed) == 4  # two questions, two values of k: whatever worker a point ran in

    assert main([*FLOW, *axes, "hydra/sweeper=basic", "hydra.sweep.dir=again"]) == 2
    again = [json.loads(path.read_text())["stages"] for path in summaries(tmp_path, "again")]
    assert len(again) == 4 and all(stages["model"] == {"known": 2} for stages in again)


def summaries(folder: Path, sweep: str = "out") -> list[Path]:
    return sorted(folder.glob(f"{sweep}/*/summary.json"))


def test_a_budget_holds_for_all_workers(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from llmops_flows.cli.main import main

    axes = ("model=echo", "prompt=glob(rag_support/*)", "retriever.k=2,3", "budget.tokens=1500")
    code = main([*FLOW, *axes])
    told = capfd.readouterr().out
    assert code == 3, told
    assert "budget.tokens=1500 is used up" in told
    spent = re.search(r"budget: (\d+) of 1500 tokens spent", told)
    assert spent and 0 < int(spent[1]) <= 1500
