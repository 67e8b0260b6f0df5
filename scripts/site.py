"""`make site`: build a static site in site/ from README, docs, the notebooks with their outputs, and the report.

Pages have the same paths in the site as in the checkout, so links between them work in both. A broken link is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from nbconvert import MarkdownExporter

SOURCE = Path(".site")
PAGES = ("README.md", "BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs")
REPORTS = ("docs/results/report.html", "reports/index.html")
"""The report that comes with the project, or else that of this checkout."""


def main() -> int:
    shutil.rmtree(SOURCE, ignore_errors=True)
    for name in map(Path, PAGES):
        if name.is_dir():
            shutil.copytree(name, SOURCE / name, ignore=shutil.ignore_patterns("*.toml"))
        else:
            (SOURCE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, SOURCE / name)
    report = next(filter(os.path.exists, REPORTS), None)
    if report is None:
        raise SystemExit(f"error: there is neither {' nor '.join(REPORTS)}: make run writes it")
    shutil.copyfile(report, SOURCE / "report.html")
    for path in SOURCE.rglob("*.ipynb"):
        convert(path)
    for path in SOURCE.rglob("*.md"):
        link(path)
    return subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"]).returncode


def convert(notebook: Path) -> None:
    """Replace a notebook by a page of its cells and outputs, with its pictures in a folder."""
    text, resources = MarkdownExporter().from_filename(str(notebook), {"output_files_dir": notebook.stem})
    for name, content in resources["outputs"].items():
        (notebook.parent / name).parent.mkdir(exist_ok=True)
        (notebook.parent / name).write_bytes(content)
    text = text.replace('<table border="1" class="dataframe">', "<table>")  # to look like other tables
    notebook.with_suffix(".md").write_text(text, encoding="utf-8")
    notebook.unlink()


def link(page: Path) -> None:
    """Redirect links to notebooks to their pages, and copy other files of the checkout that the page links to."""
    text = re.sub(r"\]\((\S+)\.ipynb\)", r"](\1.md)", page.read_text("utf-8"))
    page.write_text(text, encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        there = (page.parent / target).resolve().relative_to(SOURCE.resolve())
        if not (SOURCE / there).exists():
            if not there.is_file():
                raise SystemExit(f"error: {page.relative_to(SOURCE)}: there is no {target}")
            (SOURCE / there).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(there, SOURCE / there)


if __name__ == "__main__":
    raise SystemExit(main())
