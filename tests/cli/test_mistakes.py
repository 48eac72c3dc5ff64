"""No traceback for a user's mistake, whatever is typed and whatever a project's files hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_flows.cli.main import main
from llmops_flows.config.files.paths import data_dir

RUN = ("flow=chat", "model=echo", "question=hi", "store=memory", "tracer=none")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments]) == 2
    found = capsys.readouterr().err
    assert "Traceback" not in found
    return found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2\n", ["x.yaml:2", "is repeated"]),
        ("a:\n\tb: 1\n", ["x.yaml:2", "tab"]),
        ("a: {b: 1\n", ["x.yaml:", "invalid YAML"]),
        ("- a\n- b\n", ["x.yaml:1", "a list"]),
        ("defaults: {model: echo}\n", ["x.yaml:1", "`defaults` must be a list"]),
        ("defaults: [{override /prompt: chat/v}]\n", ["x.yaml:1", "did you mean 'chat/v1'?"]),
        ("defaults: [{override /modl: echo}]\n", ["x.yaml:1", "did you mean 'model'?"]),
        ("defaults: [nowhere]\n", ["x.yaml:1", "'nowhere'"]),
        ("defaults: [3]\n", ["x.yaml:1", "3 is not an entry"]),
        ("questions:\n  limt: 3\n", ["x.yaml:2", "did you mean 'limit'?"]),
        ("model:\n  _target_: os.system\n", ["x.yaml:2", "trusted package"]),
        ("tenant: ${tenat}\n", ["x.yaml:1", "did you mean 'tenant'"]),
        ("tenant: ${oc.evn:HOME}\n", ["x.yaml:1", "did you mean 'oc.env'?"]),
        ("stages: {model: {_traget_: x}}\n", ["x.yaml:1", "did you mean '_target_'?"]),
        ("stages: 3\n", ["x.yaml:1", "must map names"]),
        ("questions: {limit: many}\n", ["x.yaml:1", "valid integer"]),
        ("trust: evil\n", ["x.yaml:1", "trust"]),
    ],
)
def test_a_mistake_in_a_users_file_says_file_line_and_how_to_mend(
    text: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("conf/debug/x.yaml"), text)
    found = told(capsys, *RUN, "+debug@_global_=x")
    for word in words:
        assert word in found, found


def test_mistakes_in_files_overrides_and_parts_are_told_at_once(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        project / "conf" / "flow" / "mine.yaml",
        "# @package _global_\ndefaults:\n  - override /prompt: chat/v9\n\nname: mine\nquestions: {limt: 3}\n"
        "stages: {prompt: '${prompt}', model: '${model}', more: '${modl}'}\n",
    )
    found = told(capsys, "flow=mine", "model=smolm2", "retriver.k=3", "model.temperature=9", "x")
    for word in (
        "chat/v1",
        "'limit'",
        "'model'",
        "'smollm2'",
        "'retriever'",
        "less than or equal to 2",
        "cannot be read",
    ):
        assert word in found, found
    assert "7 errors" in found


def test_the_line_of_the_issue_tells_both_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "flow=rag_support", "model=smolm2", "retriver.k=3")
    assert "2 errors" in found and "'smollm2'" in found and "'retriever'" in found and "+retriver" not in found


def test_a_dead_key_is_refused_with_a_plus_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'retriever'?" in told(capsys, "flow=rag_support", "+retriver.k=3")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no flow was chosen"),
        (["flow="], "no option of flow is given"),
        (["flow=chat", "flow=rag_support"], "flow is given 2 times"),
        (["flow=chat", "model=llamacpp"], "model.path"),
        (["flow=chat", "model=openai"], "export OPENAI_API_KEY"),
        (["flow=chat", "samples=1,2"], "several values are given"),
        (["flow=rag_support", "prompt=rag_support/v"], "'rag_support/v1' or 'rag_support/v2'"),
        (["flow=chat", "stages.prompt=null"], "'messages'"),
        (["flow=chat", "questions.path=nowhere.jsonl"], "nowhere.jsonl"),
        (["chek"], "did you mean 'check'?"),
        (["flow=chat", "--config-dir", "nowhere"], "folder not found"),
        (["flow=chat", "--cfg", "job", "--info", "config"], "at a time"),
        (["-m", "flow=chat", "modl=echo,replay"], "did you mean 'model'?"),
        (["-m", "flow=chat", "model=echo,replai"], "did you mean 'replay'?"),
        (["flow=chat", "--cfg", "job", "modl=echo"], "did you mean 'model'?"),
        (["check", "flow=chat", "modl=echo"], "did you mean 'model'?"),
        (["explain", "model.name", "flow=chat", "modl=echo"], "did you mean 'model'?"),
    ],
)
def test_a_mistake_ends_with_2_and_says_how_to_mend(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in told(capsys, *arguments)


def test_an_option_with_another_ending_is_said_to_need_its_name(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project / "conf" / "model" / "mine.yml", "_target_: llmops_flows.components.model.echo.Echo\n")
    assert "rename mine.yml to mine.yaml" in told(capsys, "flow=chat", "model=mine")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hlp"], "unknown option '--hlp'\n    did you mean '--help'?"),
        (["flow=chat", "--cfgg=job"], "unknown option '--cfgg'\n    did you mean '--cfg'?"),
        (["flow=chat", "--cfg", "jub"], "invalid choice: 'jub'"),
    ],
)
def test_a_mistyped_flag_is_told_like_any_mistake(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, *arguments)
    assert words in found and "__main__" not in found and "usage" not in found


def test_a_wrong_value_is_told_where_it_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    """Two retrievers take the documents and the splitter by interpolation: each is one mistake, at the override."""
    found = told(capsys, "check", "flow=rag_support", "retriever=hybrid", "documents=/nowhere", "splitter.size=-1")
    assert found.startswith("2 errors")
    assert "- documents (override documents=/nowhere): file or folder not found: '/nowhere'" in found
    assert "- splitter.size (override splitter.size=-1): must be greater than 0" in found


def test_a_root_config_of_ones_own_that_lacks_what_flows_need_is_told(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project / "conf" / "llmops_flows.yaml", "model: echo\n")
    for words in (RUN, ("check", "flow=chat")):
        found = told(capsys, *words)
        assert found.startswith("1 error in the config") and "Could not override" not in found
        assert "(conf/llmops_flows.yaml): a file of this name replaces the shipped root config" in found
        assert "it lacks model, embedder" in found and "rename it" in found and "conf/flow/NAME.yaml" in found


def test_a_whole_root_config_of_ones_own_counts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project / "conf" / "llmops_flows.yaml", (data_dir("conf") / "llmops_flows.yaml").read_text() + "\n")
    assert main(["check", "flow=chat"]) == 0
    assert "conf/llmops_flows.yaml replaces the shipped file" in capsys.readouterr().out


def test_a_folder_named_on_the_command_line_comes_first(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project / "more" / "model" / "mine.yaml", "_target_: llmops_flows.components.model.echo.Echo\n")
    assert main([*RUN[:1], *RUN[2:], "model=mine", "--config-dir", "more"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "hi"
    assert main(["check", "flow=chat", "model=mine", "--config-dir=more"]) == 0
    assert main(["check", "flow=chat", "model=mine"]) == 2


def test_a_folder_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    (project / "taken").write_text("a file where a folder should be")
    for more in ([], ["-m", "samples=1,2"]):
        folder = "hydra.sweep.dir" if more else "hydra.run.dir"
        assert main([*more, *RUN, f"{folder}=taken/out"]) == 1
        told = capsys.readouterr().err
        assert "Not a directory: 'taken" in told and "hydra.run.dir=FOLDER" in told
        assert "Traceback" not in told


def test_mistakes_are_told_in_words_of_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert "add -m to run each of them" in told(capsys, "flow=chat", "model=echo,extractive", "question=hi")
    assert "add -m to run each of them" in told(capsys, "flow=chat", "model=echo", "samples=range(1,3)", "question=hi")
    assert "must be a list: [a,b], got 'a'" in told(capsys, *RUN, "tags=a")
    assert "must be the path of a file or folder" in told(
        capsys, "flow=rag_support", "retriever=bm25", "retriever.documents=[a]"
    )


def test_an_empty_question_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "flow=chat", "model=echo", "question=", "store=memory", "tracer=none")
    assert "question (override question" in found and "the question is empty" in found


def test_a_file_that_is_no_store_is_refused_and_left_alone(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    write(project / "README.md", "# Mine")
    for key in ("store.path", "tracer.local.path"):
        found = told(capsys, "flow=chat", "model=echo", "question=hi", f"{key}=README.md")
        assert key.rpartition(".")[0] in found and "path: 'README.md' is not a SQLite file" in found
        assert "is a folder" in told(capsys, "flow=chat", "model=echo", "question=hi", f"{key}=.")
    assert not list(project.glob("README.md.*"))
    assert (project / "README.md").read_text() == "# Mine"


def test_a_home_that_names_no_folder_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert "a folder is required" in told(capsys, "check", "flow=chat", "model=echo", "home=")
    assert "got None" in told(capsys, "check", "flow=chat", "model=echo", "home=null")


def test_commands_that_read_one_config_refuse_unknown_options(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "check", "-m", "flow=chat", "model=echo,extractive")
    assert "unknown option '-m'" in found and "plan -m" in found
    assert "unknown option '--json'" in told(capsys, "explain", "--json", "name", "flow=chat")


def test_libraries_that_are_missing_are_all_told_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import util

    real = util.find_spec
    gone = {"wordllama", "chromadb"}
    monkeypatch.setattr(util, "find_spec", lambda name, package=None: None if name in gone else real(name, package))
    found = told(capsys, "check", "flow=rag_support", "retriever=chroma", "model=extractive")
    assert "'llmops-flows[wordllama]'" in found and "'llmops-flows[chroma]'" in found


def test_a_missing_library_of_a_namespace_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import util

    real = util.find_spec

    def find(name: str, package: str | None = None) -> object:
        if name.startswith("llama_index."):
            raise ModuleNotFoundError("No module named 'llama_index'", name="llama_index")
        return real(name, package)

    monkeypatch.setattr(util, "find_spec", find)
    found = told(capsys, "check", "flow=rag_support", "splitter=llama_index", "model=extractive")
    assert "'llama_index.core' is not installed" in found and "'llmops-flows[llama-index]'" in found


def test_an_unknown_command_has_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'check'? choose from: board, check, " in told(capsys, "chek", "flow=chat")
    assert "did you mean 'flow=rag_support'?" in told(capsys, "rag_support")


def test_an_embedder_without_its_key_is_told_before_anything_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    found = told(capsys, "check", "flow=rag_support", "embedder=openai", "model=extractive")
    assert "the environment variable OPENAI_API_KEY is not set; set it" in found
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert main(["check", "flow=rag_support", "embedder=openai", "model=extractive"]) == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# Read me", "line 1 is not a row"),
        ("\n[1]", "line 2 is not a row"),
        ('{"answer": "a"}', "line 1 is not a row"),
    ],
)
def test_a_file_that_holds_no_answers_cannot_be_replayed(
    capsys: pytest.CaptureFixture[str], project: Path, text: str, problem: str
) -> None:
    write(project / "rows.jsonl", text)
    found = told(capsys, "check", "flow=chat", "model=replay", "model.path=rows.jsonl")
    assert problem in found and "'rows.jsonl'" in found


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("def run_many(self, inputs, calls): ...", "Shout defines no `run`, whose parameters name the slots"),
        ("def run(self, question: str) -> str: ...", "Shout does not say which slot it writes"),
    ],
)
def test_a_component_that_does_not_say_what_it_reads_or_writes_is_told(
    capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch, body: str, problem: str
) -> None:
    name = f"gaping_{'many' if 'run_many' in body else 'writes'}"
    writes = "writes = 'answer'" if "run_many" in body else "pass"
    code = f"from llmops_flows import Stage\nclass Shout(Stage):\n    {writes}\n    {body}\n"
    write(project / name / "shout.py", code)
    flow = f"# @package _global_\nname: mine\ntrust: [{name}]\nstages:\n  model: {{_target_: {name}.shout.Shout}}\n"
    write(project / "conf" / "flow" / "mine.yaml", flow)
    monkeypatch.syspath_prepend(str(project))
    assert problem in told(capsys, "check", "flow=mine")


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("class Shout(Stage:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_component_whose_module_breaks_is_told(
    capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch, code: str, cause: str
) -> None:
    name = f"broken_{cause.partition('Error')[0].lower()}"
    write(project / name / "shout.py", code)
    write(project / name / "__init__.py", "")
    write(project / "conf" / "model" / "broken.yaml", f"_target_: {name}.shout.Shout\n")
    flow = (
        "# @package _global_\ndefaults:\n  - override /model: broken\n\nname: mine\ntrust: ["
        + name
        + "]\nstages:\n  model: ${model}\n"
    )
    write(project / "conf" / "flow" / "mine.yaml", flow)
    monkeypatch.syspath_prepend(str(project))
    found = told(capsys, "check", "flow=mine")
    assert f"the module '{name}.shout' cannot be imported: {cause}" in found
