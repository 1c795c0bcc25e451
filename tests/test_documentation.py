"""The pages are true: their commands run, their links lead somewhere, and what is generated in them is up to date.

Every line of every block of commands is taken, in one of three ways:
- What works offline on the sample is run, in the order of the page, by one process, in a folder that has the pages' `pigment-data` and `cats` (copies
  of one dataset), and the files that a page tells to write. Added to a command: `in_memory` running, an engine, one worker, since processes are dear.
- What loads models or draws plots is run so only with PIGMENT_SOAK=1, else as below.
- What reaches outside (the open web, object stores, clusters, a server that stays), trains, or needs files that are nobody's but the user's, is given
  to the command's own parser: each flag exists, and takes that value. A `make` line: the target exists. Other programs' lines: they are known to be
  others', and img2dataset's flags are those of its function.
"""

import ast
import importlib.util
import inspect
import io
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from quality.command import UsageError
from quality.pages import BEGIN, END, PageError, with_generated
from quality.policies.reference import reference
from quality.scorers.batch import PairBatch
from quality.scorers.cards import cards
from schemas.pool import Pool
from schemas.release import Release, releases
from tests.captioning import write_captions
from tests.conftest import ROOT, SOAK, Done
from tests.documentation import COMMANDS, OTHERS, Command, blocks, check_arguments, check_flags, commands, pages
from tests.follower import Follower

BLOCKS = [block for page in pages() for block in blocks(page)]
ALL = [command for block in BLOCKS if block.language in COMMANDS for command in commands(block)]

# Words of a command line that say why it is not run.
OUTSIDE = {
    "--contact": "asks the open web", "serve": "stays", "--preset": "the user's tars or lists", "--clip_checkpoint": "the user's weights",
    "--c2pa_trust": "the user's anchors", "--labels": "people's labels", "exchange": "another tool's export", "calibrate": "people's answers",
    "--person_names": "the user's names", "--model": "the user's model",
}  # fmt: skip
OUTSIDE_MODULES = ("training.", "tests.", "infra.", "apache_beam.")
FAILS = {"our_gates.py": 1}  # the gate of that page wants a thousand pairs
CHEAP = ("--running_mode", "in_memory", "--workers", "1")
PLACEHOLDERS = {"3f9ab1c2d4e5": 0, "e162724a131e": 0, "8a01bb27c0de": -1}  # releases, by age


def way_of(command: Command) -> str:
    """run, soak or parse."""
    module = command.module
    assert module is not None
    if module.startswith(OUTSIDE_MODULES) or any(word in OUTSIDE for word in command.words):
        return "parse"
    if any(re.match(r"(s3|gs|https?)://|\$|VALUE$", word) for word in command.words) or command.value("--runner") not in (
        None,
        "DirectRunner",
    ):
        return "parse"
    if any("lists/*" in word or word in ("list.parquet", "PIGMENT_BLOCK_LISTS") for word in command.words):
        return "parse"
    models = module == "pipelines.ingest" and command.value("--start_at") != "select" and command.value("--scorers") != "image"
    return "soak" if models or module == "quality.report" else "run"


@pytest.fixture(scope="module")
def reader(done: Done, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Follower]:
    """The process that runs commands, and with it the folder that they run in."""
    place = tmp_path_factory.mktemp("reader")
    shutil.copytree(done.root, place / "pigment-data")
    shutil.copytree(ROOT / "quality/policies", place / "quality/policies", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    stricter = (ROOT / "quality/policies/embedded.toml").read_text("utf-8").replace("min = 0.06 ", "min = 0.07 ")
    (place / "stricter.toml").write_text(stricter, "utf-8")
    (place / "my-photos").mkdir()
    for name, colour in (("red", (200, 30, 30)), ("green", (30, 200, 30))):
        Image.new("RGB", (96, 96), colour).save(place / "my-photos" / f"{name}.png")
    rows = "".join(f"{name}.png,a {name} square,CC0-1.0\n" for name in ("red", "green"))
    (place / "my-photos" / "metadata.csv").write_text(f"file_name,caption,license\n{rows}")
    follower = Follower(place)
    try:
        again = ["--dataset", "pigment-data", "--start_at", "select", "--release", "strict", "--policy", "stricter.toml", *CHEAP]
        assert follower.run("pipelines.ingest", again) == 0, follower.said.read_text("utf-8")
        shutil.copytree(place / "pigment-data", place / "cats")
        write_captions(place / "told.csv", {uid: f"told {uid[:6]}" for uid in all_uids(place / "cats")})
        (place / "urls.txt").write_text(f"{kept_url(place / 'cats')}\n")
        yield follower
    finally:
        follower.close()


def kept_url(root: Path) -> str:
    """The url of a pair that has one and was kept."""
    pool = Pool(root)
    for unit in sorted(pool.committed()):
        decisions = Release(pool.store, "strict").read_decisions(unit).to_pylist()
        for raw, decision in zip(pool.read_raw(unit, ["url"]).to_pylist(), decisions, strict=True):
            if decision["verdict"] == "keep" and raw["url"]:
                return raw["url"]
    raise AssertionError("no pair was kept")


def all_uids(root: Path) -> list[str]:
    """Of a pool's pairs."""
    pool = Pool(root)
    return [uid for unit in sorted(pool.committed()) for uid in pool.read_raw(unit, ["uid"])["uid"].drop_null().to_pylist()]


def made_real(command: Command, place: Path) -> list[str]:
    """The arguments with what the page leaves open: a release's name, a pair's uid; and what makes the run cheap."""
    arguments = command.arguments
    pool = Pool(place / (command.value("--dataset") or "pigment-sample"))
    for index, word in enumerate(arguments):
        if word in PLACEHOLDERS:
            published = [release.name for release in releases(pool.store) if release.notice() is None]
            arguments[index] = sorted(published, key="strict".__eq__)[PLACEHOLDERS[word]]
        elif word == "UID":
            arguments[index] = pool.read_raw(sorted(pool.committed())[0], ["uid"])["uid"].drop_null()[0].as_py()
    if command.module == "pipelines.ingest":
        arguments += [*CHEAP, *([] if {"--start_at", "--scorers"} & set(arguments) else ["--engine", "onnxruntime-f32"])]
    if command.module == "pipelines.forget" and "--check" in arguments:
        arguments += ["--workers", "1"]
    return arguments


@pytest.mark.parametrize("page", sorted({command.page for command in ALL}), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page(page: Path, request: pytest.FixtureRequest):
    """Runs or parses them in order; a page's files are written where it tells to."""
    runs = any(runs_here(command) for command in ALL if command.page == page)
    reader = request.getfixturevalue("reader") if runs else None
    for block in (block for block in BLOCKS if block.page == page and block.file and reader is not None):
        file = reader.said.parent / block.file
        file.parent.mkdir(exist_ok=True)
        file.write_text(block.text, "utf-8")
    for command in (command for command in ALL if command.page == page):
        if reader is not None and runs_here(command):
            run(command, reader)
        else:
            check(command)


def runs_here(command: Command) -> bool:
    if command.words[0] == "cp":
        return True
    return command.module is not None and (way_of(command) == "run" or (SOAK and way_of(command) == "soak"))


def run(command: Command, reader: Follower) -> None:
    """Raises AssertionError where it does not end well."""
    place = reader.said.parent
    if command.words[0] == "cp":
        shutil.copy(*(place / name for name in command.words[1:]))
        return
    assert command.module is not None
    if command.module == "pipelines.publish":
        draft = [
            "--dataset",
            str(command.value("--dataset")),
            "--start_at",
            "select",
            "--stop_after",
            "shard",
            "--release",
            f"draft{command.line}",
        ]
        assert reader.run("pipelines.ingest", [*draft, *CHEAP]) == 0, reader.said.read_text("utf-8")
    before = len(reader.said.read_text("utf-8"))
    code = reader.run(command.module, made_real(command, place), "a long enough password\n")
    assert code == FAILS.get(command.value("--gates"), 0), (
        f"{command.where}: {command.text}: exit code {code}\n{reader.said.read_text('utf-8')[before:]}"
    )


def check(command: Command) -> None:
    """One line that is not run. Raises AssertionError."""
    first = command.words[0]
    if first == "make":
        targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"))
        assert {word for word in command.words[1:] if "=" not in word} <= set(targets), command.where
    elif first == "img2dataset":
        img2dataset = pytest.importorskip("img2dataset", reason="not run: img2dataset is not installed")
        known = inspect.signature(img2dataset.download).parameters
        assert {word.removeprefix("--") for word in command.words if word.startswith("--")} <= set(known), command.where
    elif command.module is None:
        assert first in OTHERS or "=" in first, (
            f"{command.where}: {first} is not known; add it to tests.documentation.OTHERS if it is another's"
        )
    elif not command.module.startswith("apache_beam."):
        try:
            check_flags(command)
        except (UsageError, SystemExit) as error:
            raise AssertionError(f"{command.where}: {command.text}: {error}") from error


def test_the_check_of_flags_can_fail():
    for module, arguments in (
        ("pipelines.ingest", ["--datset", "x"]), ("pipelines.ingest", ["--store", "nowhere"]), ("training.compare", ["--stepz", "3"]),
        ("quality.review", ["serve", "--prot", "1"]), ("training.finetune", ["--stepz", "3"]),
    ):  # fmt: skip
        with pytest.raises((UsageError, SystemExit)):
            check_arguments(module, arguments)


def test_no_command_hides_in_another_block():
    for block in BLOCKS:
        assert block.language, f"{block.page}:{block.line}: say the block's language: bash for commands, text for what is none"
        if block.language not in COMMANDS:
            assert not re.search(r"(?m)^(\.venv/bin/)?python3? -m |^make ", block.text), (
                f"{block.page}:{block.line}: commands stand in ```bash"
            )
    assert sum(way_of(command) == "run" for command in ALL if command.module) > 25


def test_python_of_pages_parses_and_its_imports_are_there():
    for block in (block for block in BLOCKS if block.language == "python"):
        tree = ast.parse(block.text, filename=f"{block.page}:{block.line}")
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), str(block.page), "exec"), {})


def test_the_scorer_of_the_page_measures():
    block = next(block for block in BLOCKS if block.file == "my_package/module.py")
    page: dict = {}
    exec(compile(block.text, block.file, "exec"), page)
    pictures = [Image.new("L", (96, 96), 90), Image.new("L", (96, 96))]
    pictures[1].paste(255, (0, 0, 48, 96))
    files = [io.BytesIO() for _ in pictures]
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file, "png")
    batch = PairBatch(["grey", "half", "none"], [*(file.getvalue() for file in files), None])
    assert page["Contrast"]().score(batch)["rms"].to_pylist() == [0.0, 1.0, None]


def test_modules_named_in_text_are_there():
    for page in pages():
        for module in re.findall(r"python -m ([a-z_0-9.]+[a-z_0-9])", page.read_text("utf-8")):
            assert module.startswith("apache_beam") or importlib.util.find_spec(module) is not None, f"{page}: {module}"


def test_links_lead_somewhere():
    for page in pages():
        text = re.sub(r"(?ms)^```.*?^```$|`[^`]*`", "", page.read_text("utf-8"))
        for target, _, part in re.findall(r"\]\((?!https?:|mailto:)([^)#]*)(#?)([^)]*)\)", text):
            there = (page.parent / target) if target else page
            assert there.exists(), f"{page}: {target}"
            if part:
                heads = re.findall(r"(?m)^#+ (.+)$", there.read_text("utf-8"))
                assert part in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, f"{page}: {target}#{part}"


def test_every_page_is_reached_from_the_first():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        waiting += [(page.parent / target).resolve() for target in re.findall(r"\]\(([^)#:]+\.md)", page.read_text("utf-8"))]
    assert set(pages()) - seen == set()


def test_extras_named_in_pages_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    named = {name for page in pages() for name in re.findall(r"pigment\[([a-z0-9_-]+)\]", page.read_text("utf-8"))}
    assert named and named <= set(extras)


@pytest.mark.parametrize(
    "page, text, remade",
    [
        ("quality/policies/README.md", reference, "python -m quality.policies --reference quality/policies/README.md"),
        ("quality/scorers/README.md", cards, "python -m quality.scorers --cards quality/scorers/README.md"),
    ],
)
def test_generated_parts_are_up_to_date(page, text, remade):
    there = (ROOT / page).read_text("utf-8")
    assert there == with_generated(there, text(), where=page), f"out of date: .venv/bin/{remade}"


def test_a_page_without_marks_is_refused():
    assert with_generated(f"a\n{BEGIN}old\n{END}z\n", "new", where="p") == f"a\n{BEGIN}\nnew\n\n{END}z\n"
    with pytest.raises(PageError, match="p: no place"):
        with_generated("a", "new", where="p")
