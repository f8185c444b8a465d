"""The documents say what is so (C14): links, targets, settings, outputs, requirement numbers, shims, alarms."""

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import settings
from lambdas.pets import contract as pets

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
REQUIREMENTS = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
DEPLOYMENT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")

NUMBER = re.compile(r"\b[CELMOPR](?:[1-9]|1[0-9])[a-d]?\b")

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The fragments that a Markdown page's headings can be reached by."""
    headings = re.findall(r"^#+ (.+)$", without_code_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_code_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def rows(text: str, *, columns: int) -> list[list[str]]:
    """The table rows of a page that have this many columns."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [row for row in cells if len(row) == columns]


# --- every document --------------------------------------------------------------------------------------------------


@every_document
def test_links_resolve(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if re.match(r"https?://", target):
            continue
        path, _, fragment = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), f"{target} does not exist"
        if fragment:
            assert fragment in anchors(linked.read_text(encoding="utf-8")), f"{target}: no such heading"


@every_document
def test_nothing_is_left_to_do(document):
    text = document.read_text(encoding="utf-8")
    for word in ("TODO", "FIXME"):
        assert word not in text, word


@every_document
def test_commands_of_ours_exist(document):
    """O5: `python -m ops COMMAND`."""
    commands = set(re.findall(r'add_parser\("(\w+)"', (ROOT / "ops" / "commands.py").read_text(encoding="utf-8")))
    named = re.findall(r"python -m ops(?: (\w+))?", document.read_text(encoding="utf-8"))
    assert set(named) <= {"", *commands} and commands


@every_document
def test_tables_have_one_width(document):
    """A stray ``|`` shifts every cell after it."""
    text = without_code_blocks(document.read_text(encoding="utf-8"))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", line))) for line in table.splitlines()}
        assert len(widths) == 1, table


@every_document
def test_shell_commands_name_what_exists(document):
    """Every make target, stack and script that a command names."""
    text = document.read_text(encoding="utf-8")
    targets = make_targets()
    stacks = set(re.findall(r'Stack\(app, "([a-z-]+)"', (ROOT / "main.py").read_text(encoding="utf-8")))
    for target in re.findall(r"(?:^|`|&& )make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets, f"make {target}"
    for command, stack in re.findall(r"npx cdktf (deploy|diff|destroy|output) ([\w-]+)", text):
        assert stack in stacks, f"cdktf {command} {stack}"


@every_document
def test_shell_commands_are_shell(document):
    """What a reader pastes can be parsed at least."""
    text = document.read_text(encoding="utf-8")
    for indent, block in re.findall(r"^( *)```sh\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE):
        commands = "".join(line.removeprefix(indent) for line in block.splitlines(keepends=True))
        parsed = subprocess.run(["bash", "-n"], input=commands, capture_output=True, text=True, check=False, timeout=10)
        assert parsed.returncode == 0, parsed.stderr


# --- README ----------------------------------------------------------------------------------------------------------


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_readme_lists_every_make_target():
    listed = set(re.findall(r"^\| `make ([a-z-]+)", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == make_targets()


def test_one_command_sets_up_and_runs_every_test():
    """L2: what a fresh machine lacks is made first; then all that lint checks, and all tests. CI runs that command."""
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == "make test"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    needs, recipe = re.search(r"^test: (.*?) ##.*\n((?:\t.*\n)+)", makefile, re.MULTILINE).groups()
    assert needs.split() == ["prerequisites", ".venv/ready", "node_modules/ready", ".tools/checkov/ready"]
    assert re.fullmatch(r"\t@\$\(python\) -m checks\n\t@\$\(python\) -m pytest -n [0-9]\n", recipe), "nothing left out"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert settings["testpaths"] == ["tests/unit", "tests/synth", "tests/local"]


def test_readme_draws_the_house_that_stands():
    house = re.findall(r"^([a-z_]+(?:/[a-z]+)*(?:\.py|/)) ", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(house) > 10
    for name in house:
        assert (ROOT / name).exists(), name
    assert {path.name for path in ROOT.glob("*.py")} <= set(house)


def test_every_document_can_be_found_from_the_readme():
    linked = set(re.findall(r"\]\(([^)#\s]+)", README.read_text(encoding="utf-8")))
    for document in [*(ROOT / "docs").glob("*.md"), ROOT / "docs" / "decisions" / "README.md"]:
        path = document.relative_to(ROOT).as_posix()
        assert path in linked or f"{path.removesuffix('README.md')}" in linked, path


def test_every_decision_is_in_the_index():
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \|", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    files = sorted(path.name for path in folder.glob("0*.md"))
    assert [name for _, name in listed] == files
    assert [number for number, _ in listed] == [f"{number:04}" for number in range(1, len(files) + 1)]


# --- settings and outputs (C5a, C11, E13) ----------------------------------------------------------------------------


def shown_default(value: object) -> str:
    if value is None:
        return "unset"
    if value in ((), {}):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


MODELS = (settings.StateBackendSettings, settings.TapSettings, settings.PetSettings, settings.IngestionSettings)


@pytest.mark.parametrize("model", MODELS)
def test_settings_table_is_complete(model):
    table = {row[0].strip("`"): row[1:] for row in rows(DEPLOYMENT, columns=5) if row[0].startswith("`")}
    for name, field in model.model_fields.items():
        assert name in table, name
        variable, default, _, meaning = table[name]
        assert variable == f"`{settings.ENVIRONMENT_NAMES.get(name, name.upper())}`"
        assert default == shown_default(field.default), name
        assert meaning.endswith("."), name


def test_settings_table_has_nothing_else():
    named = {row[0].strip("`") for row in rows(DEPLOYMENT, columns=5) if row[0].startswith("`")}
    assert named == {name for model in MODELS for name in model.model_fields}


def test_outputs_are_those_of_the_stacks():
    sources = [(ROOT / f"{name}_stack.py").read_text(encoding="utf-8") for name in ("tap", "pet_detector")]
    stack = set(re.findall(r'stack\.output\("(\w+)"', "".join(sources)))
    listed = {row[0].strip("`") for row in rows(DEPLOYMENT, columns=2) if row[0].startswith(("`etl_", "`metadata_", "`pet_"))}
    assert stack == listed
    lines = [line for line in REQUIREMENTS.splitlines() if line.startswith(("| E13 |", "| M8 |", "| P11 |"))]
    assert set(re.findall(r"`((?:etl|metadata|pet)_\w+)`", "".join(lines))) == stack
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert stack <= set(re.findall(r"`(\w+)`", changelog))
    backend = re.findall(r'self\.output\("(\w+)"', (ROOT / "state_backend_stack.py").read_text(encoding="utf-8"))
    for name in backend:
        assert f"`{name}`" in DEPLOYMENT
        assert f"`{name}`" in changelog


def test_import_commands_use_the_addresses_that_terraform_knows():
    """C3: the snapshot of the stack is what Terraform reads."""
    snapshots = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "synth" / "__snapshots__").rglob("*.json"))
    restore = (ROOT / "docs" / "backup-and-restore.md").read_text(encoding="utf-8")
    addresses = re.findall(r"terraform import \w+\.(\w+)", DEPLOYMENT + restore)
    assert len(addresses) > 10
    for name in addresses:
        assert name in snapshots, name


# --- requirement numbers (C14) ---------------------------------------------------------------------------------------


def known_numbers() -> set[str]:
    return set(re.findall(r"^\| ([A-Z]\d+[a-d]?) \|", REQUIREMENTS, re.MULTILINE))


def cited_numbers(path: Path) -> set[str]:
    """Numbers in docstrings and comments."""
    source = path.read_text(encoding="utf-8")
    comments = re.findall(r"(?:^|\s)# (.*)$", source, re.MULTILINE)
    nodes = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    docstrings = [ast.get_docstring(node) or "" for node in nodes]
    return set(NUMBER.findall("\n".join(docstrings + comments)))


def sources() -> list[Path]:
    folders = ("lambdas", "local", "checks", "bench", "ops", "tests")
    return [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]


def test_cited_requirements_exist():
    """A number with parts (E3a, E3b) may be cited whole (E3)."""
    known = known_numbers()
    known |= {number.rstrip("abcd") for number in known}
    unknown = {
        str(path.relative_to(ROOT)): cited for path in sources() if (cited := cited_numbers(path) - known)
    }
    assert not unknown


@every_document
def test_documents_cite_requirements_that_exist(document):
    known = known_numbers()
    known |= {number.rstrip("abcd") for number in known}
    cited = set(NUMBER.findall(without_code(document.read_text(encoding="utf-8"))))
    assert cited <= known


def test_requirements_name_files_that_exist():
    lines = [row for row in rows(REQUIREMENTS, columns=4) if re.fullmatch(r"[CEMPRLO]\d+[a-d]?", row[0])]
    assert len(lines) > 40
    for number, requirement, built, proof in lines:
        for path in re.findall(r"`([^`]+)`", f"{built} {proof}"):
            assert (ROOT / path).exists(), f"{number}: {path}"
        assert "`" in proof or requirement.startswith("**Not built**"), number


def test_requirements_are_numbered_once_and_in_order():
    numbers = re.findall(r"^\| ([CEMPRLO]\d+[a-d]?) \|", REQUIREMENTS.split("## Numbers of systems")[0], re.MULTILINE)
    assert len(numbers) == len(set(numbers))
    assert numbers == sorted(numbers, key=lambda number: ("CEMPRLO".index(number[0]), int(re.findall(r"\d+", number)[0]), number))


# --- what else goes stale --------------------------------------------------------------------------------------------


def test_every_shim_is_described():
    """L1: docs/local.md lists what the launcher bends back."""
    launcher = (ROOT / "local" / "launcher.py").read_text(encoding="utf-8")
    shims = set(re.findall(r'^    \([\w.]+, "\w+", (\w+)\),$', launcher, re.MULTILINE))
    described = set(re.findall(r"`(\w+)`", section((ROOT / "docs" / "local.md"), "The shims")))
    assert len(shims) > 10
    assert shims <= described
    functions = set(re.findall(r"^(?:async )?def (\w+)", launcher, re.MULTILINE))
    assert {name for name in described if name.count("_") > 2} <= functions


def section(document: Path, heading: str) -> str:
    return document.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]


def alarms(stack_file: str) -> set[str]:
    """Names of the alarms that the constructs of a stack bring along."""
    stack = (ROOT / stack_file).read_text(encoding="utf-8")
    tree = ast.parse(stack)
    constants = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    found: dict[str, list[str]] = {kind: [] for kind in ("Function", "StateMachine", "Rule", "Alarm", "LiveAlias", "Trail")}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        for kind, names in found.items():
            if call.func.id.endswith(kind) and call.func.id != "LifecycleRule":
                name = keywords["name"]
                names.append(ast.literal_eval(constants[name.id] if isinstance(name, ast.Name) else name))
    watched = re.findall(r'_Watched\(\s+"([\w-]+)"', (ROOT / "modules_guard.py").read_text(encoding="utf-8"))
    assert len(watched) > 3
    quiet = re.findall(r'name="([\w-]+)",(?:(?!name=).)*?error_rate_percent=None', stack, re.DOTALL)
    return {
        *(f"{each}-error-rate" for each in found["Function"] if each not in quiet),
        *(f"{each}-executions-failed" for each in found["StateMachine"]),
        *(f"{each}-dlq-not-empty" for each in (*found["Function"], *found["Rule"])),
        *found["Alarm"],
        *(f"{each}-failing" for each in found["LiveAlias"]),
        *(f"{each}-{what}" for each in found["Trail"] for what in watched),
    }


@pytest.mark.parametrize(
    ("name", "stack", "system"),
    [
        ("docs/etl.md", "tap_stack.py", "etl"),
        ("docs/metadata.md", "tap_stack.py", "metadata"),
        ("docs/pet-detector.md", "pet_detector_stack.py", "serverlessapp-"),
    ],
)
def test_every_alarm_is_answered(name, stack, system):
    """E10, M7, P7."""
    expected = {alarm for alarm in alarms(stack) if alarm.startswith(system)}
    assert len(expected) >= 5
    described = set(re.findall(r"`([\w-]+)`", (ROOT / name).read_text(encoding="utf-8")))
    assert expected <= described


def test_subjects_are_those_of_the_contract():
    """E9."""
    text = (ROOT / "docs" / "etl.md").read_text(encoding="utf-8")
    contract = (ROOT / "lambdas" / "etl" / "contract.py").read_text(encoding="utf-8")
    for subject in re.findall(r'^SUBJECT_\w+ = "(.+)"$', contract, re.MULTILINE):
        assert f"`{subject}`" in text


def test_saved_queries_are_shown():
    """C9."""
    guides = ("etl", "metadata", "pet-detector", "ingestion")
    text = "".join((ROOT / "docs" / f"{each}.md").read_text(encoding="utf-8") for each in guides)
    for name in ("tap_stack.py", "pet_detector_stack.py", "ingestion_stack.py"):
        stack = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        keywords = [node for node in ast.walk(stack) if isinstance(node, ast.keyword)]
        queries = [ast.literal_eval(keyword.value) for keyword in keywords if keyword.arg == "query"]
        assert queries
        for query in queries:
            assert query in text


# --- the pet detector ------------------------------------------------------------------------------------------------

PETS = ROOT / "docs" / "pet-detector.md"


def first_cells(text: str, *, columns: int) -> set[str]:
    """All that stands in backticks in the first column of a section's tables."""
    return {name for row in rows(text, columns=columns) for name in re.findall(r"`(\w+)`", row[0])}


def test_every_error_of_the_api_is_explained():
    """P1a: those of the document, and those that API Gateway gives by itself."""
    text = PETS.read_text(encoding="utf-8").split("\n### Errors\n")[1].split("\n### ")[0]
    document = json.loads((ROOT / "apis" / "pet-detector.openapi.json").read_text(encoding="utf-8"))
    documented = set(document["components"]["schemas"]["Error"]["properties"]["code"]["enum"])
    source = (ROOT / "modules_api.py").read_text(encoding="utf-8")
    gateway = re.findall(r'^    GatewayError\("\w+", (?:\d+|None), "(\w+)"', source, re.MULTILINE)
    assert len(gateway) > 10
    assert first_cells(text, columns=4) == documented | set(gateway)


def test_every_refusal_is_explained():
    """P9."""
    assert first_cells(section(PETS, "Refusals"), columns=2) - {"FailureCode"} == set(pets.REFUSALS)
    assert f"`{pets.PROCESSING_FAILED}`" in section(PETS, "Failures, and once more")


def test_every_attribute_of_a_record_is_explained():
    """P5."""
    named = {
        pets.IMAGE_ID, pets.ANIMAL, pets.CONFIDENCE, pets.TIMESTAMP, pets.LOCATION, pets.LOCATION_VERSION, pets.STATUS,
        pets.FILE_SIZE, pets.FORMAT, pets.SOURCE_KEY, pets.SOURCE_VERSION, pets.REPLACED_VERSION, pets.EXECUTION,
        pets.FAILURE_CODE, pets.FAILURE_REASON, pets.EXPIRES_AT,
    }  # fmt: skip
    statuses = {pets.PROCESSING, pets.COMPLETED, pets.UNCERTAIN, pets.FAILED}
    assert first_cells(section(PETS, "Records"), columns=2) == named | statuses | {"ProcessingStatus"}
    metrics = {pets.METRIC_IMAGES, pets.METRIC_CONFIDENCE, pets.METRIC_LATENCY}
    assert metrics <= set(re.findall(r"`(\w+)`", section(PETS, "Operating")))


def test_every_switch_of_the_stages_is_shown():
    """P8a."""
    switches = {name for name, field in settings.PetSettings.model_fields.items() if "bool" in str(field.annotation)}
    assert len(switches) > 4
    assert {each for each in switches if each.startswith("pet_")} <= first_cells(section(PETS, "Stages and switches"), columns=3)
