"""The time of commands that only read the config, and of the import, compared with a bare Hydra app and pydantic."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .measure import print_result, processes, python

BARE = """
import hydra
from omegaconf import OmegaConf

@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(config):
    print(OmegaConf.to_yaml(config))

main()
"""


def bare_app(folder: Path) -> Path:
    """A minimal Hydra app, which prints its config."""
    (folder / "conf").mkdir()
    (folder / "conf" / "config.yaml").write_text("a: 1\nb: {c: 2, d: text}\n")
    app = folder / "app.py"
    app.write_text(BARE)
    return app


def main() -> None:
    imports = processes(
        {
            "import pydantic": python("-c", "import pydantic; pydantic.BaseModel"),
            "import llmops_flows": python("-c", "import llmops_flows"),
        },
        rounds=7,
    )
    ratio = imports["import llmops_flows"].cpu / imports["import pydantic"].cpu
    rows = [(name, f"{cost.cpu:.3f} CPU s") for name, cost in imports.items()]
    print_result("Import", [*rows, ("llmops_flows / pydantic", f"{ratio:.2f}")], goal="at most 1.3")
    with tempfile.TemporaryDirectory() as folder:
        app = bare_app(Path(folder))
        module = ("-m", "llmops_flows")
        costs = processes(
            {
                "bare Hydra app": python(str(app)),
                "bare Hydra app --help": python(str(app), "--help"),
                "--help": python(*module, "--help"),
                "--cfg job": python(*module, "flow=rag_support", "--cfg", "job"),
                "check": python(*module, "check", "flow=rag_support"),
                "explain": python(*module, "explain", "retriever.k", "flow=rag_support", "retriever.k=8"),
            },
            rounds=5,
            cwd=folder,
        )
    bare = costs["bare Hydra app"].cpu
    print_result(
        "Commands that only read the config",
        [(name, f"{cost.cpu:.2f} CPU s   {cost.cpu / bare:.2f} x") for name, cost in costs.items()],
        goal="at most 1.5 x a bare Hydra app",
    )


if __name__ == "__main__":
    main()
