"""Points on Ray: results, files, logs and errors come back, and one that fails or dies stops no other."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("cluster")

APP = """
import logging
import os
import signal
from pathlib import Path

import hydra


class TwoArguments(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def job(config):
    here = Path(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    (here / "answer.txt").write_text(f"{config.x} in {os.getcwd()}")
    logging.getLogger("app").info("point %s was here", config.x)
    if config.x == "bad":
        raise TwoArguments("it went wrong", 2)
    if config.x == "killed":
        mark = Path("killed-once")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if config.x == "always-killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return config.x


@hydra.main(version_base="1.3", config_path=None)
def main(config):
    return job(config)


if __name__ == "__main__":
    main()
"""


def sweep(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    (folder / "app.py").write_text(APP)
    ray = ("hydra/launcher=ray", "hydra.launcher.address=auto", "hydra.launcher.num_cpus=0.5")
    return subprocess.run(
        [sys.executable, "app.py", "-m", *ray, "hydra.sweep.dir=out", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=170,
    )  # fmt: skip


def test_files_and_logs_of_each_point_are_in_its_folder(tmp_path: Path) -> None:
    done = sweep(tmp_path, "+x=a,b,c")
    assert done.returncode == 0, done.stderr
    for number, value in enumerate("abc"):
        assert (tmp_path / f"out/{number}/answer.txt").read_text() == f"{value} in {tmp_path}"
        assert f"point {value} was here" in (tmp_path / f"out/{number}/app.log").read_text()


def test_a_point_that_fails_stops_no_other_and_its_error_comes_back(tmp_path: Path) -> None:
    done = sweep(tmp_path, "+x=a,bad,c")
    assert done.returncode != 0
    assert "it went wrong" in done.stderr and "TwoArguments" in done.stderr
    assert (tmp_path / "out/0/answer.txt").exists() and (tmp_path / "out/2/answer.txt").exists()


def test_the_points_of_a_killed_worker_are_tried_again(tmp_path: Path) -> None:
    done = sweep(tmp_path, "+x=a,killed")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed-once").exists()
    assert (tmp_path / "out/1/answer.txt").read_text().startswith("killed in")


def test_a_worker_that_always_dies_is_an_error_of_its_point_alone(tmp_path: Path) -> None:
    done = sweep(tmp_path, "+x=a,always-killed,c", "hydra.launcher.retries=1")
    assert done.returncode != 0
    assert "the worker of job #1 died" in done.stderr
    assert (tmp_path / "out/2/answer.txt").exists()


def test_files_come_back_from_elsewhere(tmp_path: Path) -> None:
    from llmops_flows_ray.job import _files

    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.bin").write_bytes(b"\0\1")
    (tmp_path / "link").symlink_to("/etc/passwd")
    found, left_out = _files(tmp_path)
    assert found == {"deep/a.bin": b"\0\1"} and left_out == []


def test_a_misspelt_setting_is_told(tmp_path: Path) -> None:
    done = sweep(tmp_path, "+x=a", "hydra.launcher.collect=sometimes")
    assert done.returncode != 0
    assert "choose from auto, always, never" in done.stderr


def test_an_interrupt_calls_the_points_off(tmp_path: Path) -> None:
    import signal

    (tmp_path / "app.py").write_text(APP.replace("    return config.x", "    import time\n    time.sleep(60)"))
    ray = ("hydra/launcher=ray", "hydra.launcher.address=auto", "hydra.launcher.num_cpus=0.5")
    child = subprocess.Popen(
        [sys.executable, "app.py", "-m", *ray, "hydra.sweep.dir=out", "+x=a,b"], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(600):
        if (tmp_path / "out/0/answer.txt").exists():
            break
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    child.wait(30)
    assert child.returncode != 0
