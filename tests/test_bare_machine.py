"""The numerical core on a machine that has torch and little else (a bare GPU box); safetensors is
what every LODE and policy is kept in."""

import subprocess
import sys

SCRIPT = """
import sys

class Missing:
    names = {names}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import importlib, pkgutil
for room in ("tasks", "training", "schedulers", "lode", "evaluation"):
    package = importlib.import_module(f"components.{{room}}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print("imported")
"""
ABSENT = {
    "prefect",
    "mlflow",
    "dvc",
    "great_expectations",
    "optuna",
    "pydantic",
    "click",
    "rich",
    "filelock",
    "jinja2",
    "mnist1d",
    "sklearn",
    "scipy",
    "matplotlib",
    "schedulefree",
    "tokenizers",
}


def test_the_core_imports_without_the_pipelines_packages() -> None:
    script = SCRIPT.format(names=sorted(ABSENT))
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True)
    assert done.stdout == "imported\n", done.stderr
