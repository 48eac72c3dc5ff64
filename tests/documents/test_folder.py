"""Loaders: every format, ids by page, trouble named, nothing from outside the folder."""

from __future__ import annotations

import io
import json
import logging
import sys
from pathlib import Path

import pytest

from llmops_flows.core.record import Document
from llmops_flows.documents.corpus import document_problems
from llmops_flows.documents.folder import DocumentFolder


def load(path: Path, **options: int) -> list[Document]:
    return list(DocumentFolder(path=path, **options).load())


def put(folder: Path, name: str, text: str | bytes) -> Path:
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text if isinstance(text, bytes) else text.encode())
    return place


def test_markdown_pages_have_ids_and_the_title(tmp_path: Path) -> None:
    put(tmp_path, "guide.md", "# The Guide\n\n<!-- page 3 -->\n\nthree\n\n<!-- page 7 -->\nseven <!-- note -->\n")
    found = load(tmp_path)
    assert [(d["id"], d["page_content"]) for d in found] == [
        ("guide.md#page=3", "three"),
        ("guide.md#page=7", "seven"),
    ]
    assert found[1]["metadata"] == {"source": "guide.md", "page": 7, "title": "The Guide"}


def test_markdown_without_pages_is_one_document(tmp_path: Path) -> None:
    put(tmp_path, "a/note.md", "Hello.")
    assert [d["id"] for d in load(tmp_path)] == ["a/note.md"]


def test_text_in_front_of_the_first_page_is_kept(tmp_path: Path) -> None:
    put(tmp_path, "guide.md", "Read me first.\n<!-- page 1 -->\none")
    assert [d["page_content"] for d in load(tmp_path)] == ["Read me first.", "one"]


def test_html_gives_what_a_reader_sees(tmp_path: Path) -> None:
    put(
        tmp_path,
        "page.html",
        "<html><head><title>A  page</title><style>p{}</style></head>"
        "<body><script>alert(1)</script><h1>Top</h1><p>One &amp; <b>two</b></p></body></html>",
    )
    (found,) = load(tmp_path)
    assert found["page_content"] == "Top\nOne & two"
    assert found["metadata"]["title"] == "A page"


def test_a_line_separator_in_a_json_line_ends_no_document(tmp_path: Path) -> None:
    put(tmp_path, "rows.jsonl", json.dumps({"id": "r1", "text": "one\u2028two"}, ensure_ascii=False) + "\r\n")
    assert [(d["id"], d["page_content"]) for d in load(tmp_path)] == [("r1", "one\u2028two")]


def test_json_lines_and_csv_give_a_document_a_row(tmp_path: Path) -> None:
    put(tmp_path, "rows.jsonl", json.dumps({"id": "r1", "text": "first", "page": 4}) + "\n\n" + json.dumps({"a": 1}))
    put(tmp_path, "table.csv", 'text,topic\n"one, two",x\n')
    put(tmp_path, "wide.csv", "name,price\nball,3\n")
    assert [(d["id"], d["page_content"]) for d in load(tmp_path)] == [
        ("r1", "first"),
        ("rows.jsonl#line=3", "a: 1"),
        ("table.csv#row=1", "one, two"),
        ("wide.csv#row=1", "name: ball\nprice: 3"),
    ]


def test_pdf_pages_are_numbered(tmp_path: Path) -> None:
    put(tmp_path, "two.pdf", pdf("first page", "second page"))
    assert [(d["id"], d["page_content"]) for d in load(tmp_path)] == [
        ("two.pdf#page=1", "first page"),
        ("two.pdf#page=2", "second page"),
    ]


def test_what_cannot_be_read_is_named_once_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "good.txt", "fine")
    put(tmp_path, "latin.txt", "Büro".encode("latin-1"))
    put(tmp_path, "broken.pdf", b"%PDF-1.4 nothing")
    put(tmp_path, "rows.jsonl", "{}\n{oops")
    put(tmp_path, "empty.md", "")
    put(tmp_path, "long.txt", "x" * 200)
    with caplog.at_level(logging.WARNING, "llmops_flows.documents"):
        assert [d["id"] for d in load(tmp_path, max_bytes=100)] == ["good.txt"]
    (message,) = [record.getMessage() for record in caplog.records]
    for name in (
        "latin.txt: not text in UTF-8",
        "broken.pdf: ",
        "rows.jsonl: line 2",
        "empty.md: ",
        "long.txt: its size (200",
    ):
        assert name in message


def test_hidden_files_and_links_that_lead_outside_are_left_alone(tmp_path: Path) -> None:
    secret = put(tmp_path, "outside/secret.txt", "outside")
    folder = tmp_path / "documents"
    put(folder, "in.txt", "inside")
    put(folder, ".hidden.txt", "hidden")
    put(folder, ".git/config.txt", "hidden")
    (folder / "link.txt").symlink_to(secret)
    (folder / "linked").symlink_to(secret.parent)
    (folder / "pipe.txt").symlink_to("/dev/zero")
    assert [d["id"] for d in load(folder)] == ["in.txt"]


def test_secrets_are_masked(tmp_path: Path) -> None:
    put(tmp_path, "notes.txt", "the key is sk-abcdefghijklmnopqrstuvwx1234, keep it")
    assert "sk-abc" not in load(tmp_path)[0]["page_content"]


def test_one_file_can_be_named(tmp_path: Path) -> None:
    assert [d["id"] for d in load(put(tmp_path, "one.txt", "1"))] == ["one.txt"]


class NoPypdf:
    """As if it was not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pypdf":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_format_whose_library_is_missing_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "two.pdf", pdf("first page"))
    monkeypatch.delitem(sys.modules, "pypdf", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoPypdf(), *sys.meta_path])
    [problem] = DocumentFolder(path=tmp_path).read()[1]
    assert problem.startswith("two.pdf: the library 'pypdf', which") and "\n" not in problem
    assert problem.endswith("is not installed; install it: pip install 'llmops-flows[pdf]'")


def pdf(*texts: str) -> bytes:
    """A PDF with one line of text a page."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(texts)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(texts)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(texts):
        stream = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET"
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {5 + 2 * number} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    out = io.BytesIO(b"")
    out.write(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(f"{number} 0 obj\n{body}\nendobj\n".encode())
    start = out.tell()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode())
    out.write(f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode())
    return out.getvalue()


def test_files_of_kinds_that_nobody_reads_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.txt", "slides.docx", "more/other.docx", "photo.PNG", "LICENSE"):
        put(tmp_path, name, "text")
    with caplog.at_level(logging.WARNING, "llmops_flows.documents"):
        assert [d["id"] for d in load(tmp_path)] == ["a.txt"]
    told = caplog.text
    assert "other.docx and 1 more: .docx files are not supported" in told
    assert "photo.PNG: .png files are not supported" in told
    assert "LICENSE: (no suffix) files are not supported" in told


def test_a_place_without_a_readable_file_is_a_mistake_of_the_config(tmp_path: Path) -> None:
    put(tmp_path, "void/slides.docx", "text")
    put(tmp_path, "full/deep/a.md", "text")
    assert "has no readable file; supported formats: .txt, " in document_problems(tmp_path / "void")[0]
    assert "is not supported; supported formats: .txt, " in document_problems(tmp_path / "void" / "slides.docx")[0]
    assert "file or folder not found" in document_problems(tmp_path / "nix")[0]
    assert document_problems(tmp_path / "full") == document_problems(tmp_path / "full" / "deep" / "a.md") == []
