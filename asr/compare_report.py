"""A comparison -> comparison.html, comparison.json, comparison.md and changed.csv."""

import json
from pathlib import Path

from asr.compare import Comparison
from asr.compare_page import comparison_to_html
from asr.compare_text import comparison_to_csv, comparison_to_json, comparison_to_markdown
from asr.report import write_files


def write_comparison(comparison: Comparison, out: Path | str) -> Path:
    """Write the four files into the folder `out`; returns the page's path.

    Raises:
        AsrError: `out` is a file, or cannot be written.
    """
    out = Path(out)
    document = json.dumps(comparison_to_json(comparison), ensure_ascii=False, indent=1)
    files = {
        "comparison.html": comparison_to_html(comparison),
        "comparison.json": document + "\n",
        "comparison.md": comparison_to_markdown(comparison),
        "changed.csv": comparison_to_csv(comparison),
    }
    write_files(out, files)
    return out / "comparison.html"
