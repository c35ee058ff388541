"""What the operator guide quotes is what the programs say, and what it types exists."""

import ast
import re
import shlex
from functools import cache

import pytest

from tmrl_ros.cli.main import parse
from tmrl_ros.core.config import Config
from tmrl_ros.core.graph import KINDS

GUIDE = "docs/operator_guide.md"
TABLES = "## When something is wrong"
COMMANDS = ("tmrl ", "make ", "ros2 ", "eval ")
SHORTEST = 6  # letters; shorter pieces between the gaps of a message prove nothing
GAP = "\0"


@cache
def texts_of(root):
    """Every text of the code, with a gap where a value is put in."""
    found = []
    for file in (root / "tmrl_ros").rglob("*.py"):
        found += [text for node in ast.walk(ast.parse(file.read_text())) for text in _texts(node)]
    return found


def _texts(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(_piece(part) for part in node.values)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [left + right for left in _texts(node.left) for right in _texts(node.right)]
    return []


def _piece(part):
    return part.value if isinstance(part, ast.Constant) else GAP


def quoted(text):
    """Messages in the tables: code spans of several words that are no commands."""
    section = text.split(TABLES, 1)[1]
    spans = [span for line in section.splitlines() if line.startswith("|") for span in _spans(line)]
    return [span for span in spans if " " in span and not span.startswith(COMMANDS)]


def _spans(line):
    return re.findall(r"`([^`]+)`", line)


def pieces(message):
    """What stands between the gaps of a quoted message."""
    parts = re.split(r"\.\.\.|<[a-z]+>|\d+", message)
    return [part.strip(" '\"()`.,;:") for part in parts]


def is_said(message, texts):
    """Whether one text of the code has all pieces of a message, in order."""
    wanted = [part for part in pieces(message) if len(part) >= SHORTEST]
    pattern = re.compile(".*".join(re.escape(part) for part in wanted), re.DOTALL)
    return bool(wanted) and any(pattern.search(text) for text in texts)


def test_every_message_of_the_troubleshooting_tables_is_one_that_the_code_says(root):
    found = quoted((root / GUIDE).read_text())
    texts = texts_of(root)
    assert len(found) > 60
    assert [message for message in found if not is_said(message, texts)] == []


def test_a_message_that_nobody_says_would_be_found(root):
    assert not is_said("The robot has been talking for ... s.", texts_of(root))
    assert not is_said("The robot has been silent for ... fortnights.", texts_of(root))
    assert is_said("The robot has been silent for ... s.", texts_of(root))


def commands(text):
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += [span for span in _spans(text)]
    return sorted({line.split("#")[0].strip() for line in lines if line.startswith("tmrl ")})


def test_every_command_of_the_guide_is_understood(root, capsys):
    found = commands((root / GUIDE).read_text())
    assert len(found) > 20
    refused = []
    for command in found:
        if "..." in command:
            continue
        try:
            parse(shlex.split(command)[1:])
        except SystemExit:
            refused.append(f"{command}: {capsys.readouterr().err}")
    assert refused == []


def test_every_key_of_the_guide_is_one_of_the_configuration(root):
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    named = re.findall(r"\b([a-z]+)\.([a-z_]+)=", (root / GUIDE).read_text())
    assert len(named) > 20
    unknown = [
        f"{section}.{key}"
        for section, key in named
        if section in sections and key not in sections[section].model_fields
    ]
    assert unknown == []


@pytest.mark.parametrize(
    "page", ["docs/operator_guide.md", "docs/install.md", "docs/hardware.md", "docs/cameras.md"]
)
def test_links_between_pages_lead_somewhere(root, page):
    folder = (root / page).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", (root / page).read_text()):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = (folder / name) if name else root / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{page}: {target}"


def anchors(text):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in kept}


def test_the_kinds_of_graphs_are_commands():
    for kind in KINDS:
        if kind != "evaluate":
            assert parse([kind]).command == kind
