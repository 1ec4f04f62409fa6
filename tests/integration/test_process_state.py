"""What the whole process shares is left alone: threads would change it under each other's feet.

Read from the source: whatever calls a function that changes such a state, or assigns into one, is
listed here with the reason why it may.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHANGES = re.compile(
    r"""warnings\.(catch_warnings|simplefilter|filterwarnings|resetwarnings|showwarning)
    | jax\.config\.(update|parse_flags_with_absl)
    | os\.(environ|putenv|unsetenv|chdir|umask)
    | (set(attr|recursionlimit|switchinterval|trace|profile)|delattr)
    | .*\.(addHandler|addFilter|setLevel|removeHandler|set_start_method)
    | atexit\.(register|unregister) | signal\.signal
    | (sys|threading)\.(set\w+|\w+hook|argv|modules|path|meta_path|std\w+)
    | linecache\.cache | gc\.(enable|disable|freeze|set_\w+) | random\.seed | np\.random\.seed
    | jax\.monitoring\.register_\w+ | jax\.clear_caches | locale\.setlocale | np\.set\w+""",
    re.VERBOSE,
)
MAY = {
    ("equinoctial/as_equinox.py", "setattr"): "makes `equinox` this project: what it is for",
    ("equinoctial/as_equinox.py", "sys.modules"): "as above",
    ("equinoctial/as_equinox.py", "sys.meta_path.insert"): "as above: the finder of its modules",
    ("equinoctial/as_equinox.py", "warnings.filterwarnings"): "as above, at import",
    ("equinoctial/as_equinox.py", "sys.argv"): "runs a script as Python would",
    ("equinoctial/as_equinox.py", "sys.path.insert"): "as above",
    (
        "tree_surgery/_lazy.py",
        "sys.modules.setdefault",
    ): "adds its own, at import",
    ("filtered_transforms/_toolkit/omega.py", "setattr"): "its own class, where that is defined",
    ("filtered_transforms/_clear_caches.py", "jax.clear_caches"): "what it is for",
    ("pytree_module/_annotations.py", "setattr"): "its own class, while that is defined",
    (
        "pytree_module/_flatten_codegen.py",
        "linecache.cache",
    ): "adds a file of its own name, for debuggers",
    (
        "runtime_checks/_failure/pending_failures.py",
        "atexit.register",
    ): "adds; once, after a program has failed",
    ("runtime_checks/debug/_retrace.py", "jax.monitoring.register_event_duration_secs_listener"): (
        "adds; once, and it looks at the thread that asked alone"
    ),
    ("runtime_checks/debug/_plan.py", "jax.config.update"): (
        "asks for virtual devices on an abstract mesh; JAX takes that only before it has started"
    ),
    ("runtime_checks/debug/_retrace.py", "logger.addHandler"): "takes nothing from the others",
    ("runtime_checks/debug/_retrace.py", "logger.removeHandler"): "takes out its own",
}


def changes() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for file in sorted(ROOT.glob("packages/*/src/**/*.py")):
        name = str(file.relative_to(next(p for p in file.parents if p.name == "src")))
        for node in ast.walk(ast.parse(file.read_text())):
            targets: list[ast.expr] = []
            if isinstance(node, ast.Call):
                targets = [node.func]
            elif isinstance(node, (ast.Assign, ast.Delete)):
                targets = node.targets
            elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
                targets = [node.target]
            for target in targets:
                if isinstance(target, ast.Subscript):
                    target = target.value
                text = ast.unparse(target)
                reads = re.fullmatch(r"(os\.environ|sys\.modules)\.(get|copy|items|keys)", text)
                if CHANGES.match(text) and not reads:
                    found.add((name, text))
    return found


def test_the_page_names_each_change_and_says_what_it_is():
    section = (ROOT / "docs/state.md").read_text().split("## What others own")[1]
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| .+ \| .+ \|$", section, re.MULTILINE)
    assert sorted(rows) == sorted(MAY)


def test_only_what_is_listed_changes_what_the_process_shares():
    assert changes() == set(MAY)
