"""A second, unchanged run of the demo flow, compared with a bare Hydra app that prints its config."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .measure import print_result, process, processes, python
from .startup import bare_app


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        env = {"LLMOPS_FLOWS_HOME": f"{folder}/home"}
        app = bare_app(Path(folder))
        run = python("-m", "llmops_flows", "flow=rag_support")
        first = process(run, env=env, cwd=folder)
        costs = processes({"bare Hydra app": python(str(app)), "unchanged run": run}, rounds=7, env=env, cwd=folder)
    bare, again = costs["bare Hydra app"], costs["unchanged run"]
    print_result(
        "python -m llmops_flows flow=rag_support, all answers known",
        [
            ("first run", f"{first.wall:.1f} s, {first.cpu:.1f} CPU s, {first.peak:.0f} MiB"),
            ("bare Hydra app", f"{bare.wall:.2f} s, {bare.cpu:.2f} CPU s, {bare.peak:.0f} MiB"),
            ("unchanged run", f"{again.wall:.2f} s, {again.cpu:.2f} CPU s, {again.peak:.0f} MiB"),
            ("ratio of wall, CPU, memory",
             f"{again.wall / bare.wall:.2f}   {again.cpu / bare.cpu:.2f}   {again.peak / bare.peak:.2f}"),
        ],
        goal="at most 2",
    )  # fmt: skip


if __name__ == "__main__":
    main()
