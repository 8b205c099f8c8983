"""Find words this project does not use, and print what it says instead; part of ``make lint``.

The field's own term wins over a metaphor, and a sentence should read as a native engineer would say it. The list is
short and each pattern has few false positives. A line that has to use a word, such as one that recognises an old
configuration, ends with the comment ``vocabulary:ignore``.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("configs", "deploy", "docs", "fashion", "hydra_plugins", "scripts", "tests")
ROOT_FILES = ("*.md", "*.toml", "*.cff", "Makefile")
SUFFIXES = {".cff", ".css", ".html", ".js", ".md", ".py", ".toml", ".yaml", ".yml"}
# The list itself with its test, and what names former words: the changelog, and the translation of old configurations.
EXEMPT = {
    "CHANGELOG.md",
    "fashion/config/renames.py",
    "scripts/check_vocabulary.py",
    "tests/commands/test_check_vocabulary.py",
    "tests/config/test_renames.py",
    "tests/runs/test_earlier_releases.py",
}
IGNORE = "vocabulary:ignore"


class Rule(NamedTuple):
    """A pattern that is not used here, the wording to use instead, and text with the pattern."""

    pattern: re.Pattern[str]
    instead: str
    example: str


class Finding(NamedTuple):
    """A line that matches a rule."""

    line: int
    text: str
    instead: str


# Word, what to say instead, and an example that has to be found.
RULES = tuple(
    Rule(re.compile(pattern), instead, example)
    for pattern, instead, example in (
        (r"\b[Ll]ikeliest\b", "most probable", "the likeliest class"),
        (r"\bLEAST_[A-Z_]+", "MIN_...", "LEAST_IMAGES = 2"),
        (r"\bMOST_[A-Z_]+", "MAX_...", "MOST_PIXELS = 25_000_000"),
        (r"\bmend(s|ed|ing)?\b", "fix", "the user can mend it"),
        (r"\bhoped for\b", "target: X", "(85 % was hoped for)"),
        (r"\bby heart\b", "overfits", "a thousand images by heart"),
        (r"\bstrangers\b", "out-of-distribution images", "strangers are declined"),
        (r"\bof before\b", "earlier, older", "a card of before"),
        (r"\bfor who\b", "for those who, if you", "for who has not trained yet"),
        (r"(?<![a-z])[Ss]eed[ _-](program|document)", "baseline", "the seed program"),
        (r"\bkind to\b", "optimistic for", "the first half is kind to the model"),
        (r"\b_?told(?=_|\b)", "reported, logged, distinguished", "the errors are told in one line"),
        (r"\b[Hh]onest(ly)?\b", "well calibrated, unbiased", "this model was honest already"),
        (r"\bhangs? on\b", "depends on, is driven by", "what the answer hangs on"),
        (r"\b[Cc]ut-outs?\b", "segmented image, segmentation mask", "cut-outs of photos"),
        (r"(?<![\"'`/])\b[Pp]ictures?\b(?![\"'`])", "image, photo", "users upload pictures"),
        (r"\blooks? after\b", "operate, administer", "who looks after the server"),
        (r"\bmakes? no sense\b", "is malformed", "The request makes no sense."),
        (r"\bworkplaces?\b", "slot, worker", "wait for a workplace"),
        (r"\bdoubts?\b", "OOD score, or uncertainty", "a doubt fitted on photos"),
        (r"\bforgiv(e|es|ing|en)\b", "robust to", "the model forgives noise"),
        (r"\bto be had\b", "available", "no data is to be had"),
    )
)


def findings(text: str) -> Iterator[Finding]:
    """Yield each match in a text, in the order of its lines."""
    for number, line in enumerate(text.splitlines(), start=1):
        if IGNORE in line:
            continue
        for rule in RULES:
            for match in rule.pattern.finditer(line):
                yield Finding(number, match[0], rule.instead)


def project_files() -> list[Path]:
    """Return the files of the project whose words are its own."""
    in_folders = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    in_root = (path for pattern in ROOT_FILES for path in ROOT.glob(pattern))
    return sorted(path for path in (*in_folders, *in_root) if path.suffix in SUFFIXES or path.name == "Makefile")


def main() -> int:
    """Check the files named on the command line, or the whole project; the exit status is 1 if a word was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="default: every text file of the project")
    files = [path.resolve() for path in parser.parse_args().files] or project_files()
    found = False
    for path in files:
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
        if name in EXEMPT:
            continue
        for finding in findings(path.read_text(encoding="utf-8")):
            print(f"{name}:{finding.line}: '{finding.text}', say instead: {finding.instead}")
            found = True
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
