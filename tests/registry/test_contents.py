"""What a version holds is what was registered: changed, lost or moved files are told, not used."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.lode import names
from components.lode.names import CONFIG, WEIGHTS
from components.registry.connection import RegistryError, _fluent, connect
from components.registry.contents import FILES_DIGEST, _told
from components.registry.lazy import mlflow
from components.registry.models import champion, fetch
from components.registry.promotion import find
from components.registry.registration import Registration
from tests.registry.made import register_champion

from .conftest import POINTS, make_history
from .test_models import LOGGED, MU, TASK, registered

CHAMPION = f"models:/lode-{TASK}@champion"


@pytest.fixture
def version(lode_dir: Path, tracking_uri: str) -> Registration:
    return registered(lode_dir, tracking_uri)


def changed_json(path: Path) -> None:
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"plan": [], "schedule": ["constant", 0.2]}))


def pickled(path: Path) -> None:
    """`MLmodel` names a pickle, which is there."""
    with (path.parent / "model.pkl").open("wb") as file:
        pickle.dump({}, file)
    path.write_text(
        path.read_text().replace("model_code_path: ", "python_model: model.pkl\n    x: ")
    )


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


CHANGES: list[tuple[str, Callable[[Path], Any]]] = [
    (f"artifacts/lode/{names.JUDGE_CONFIG}", changed_json),
    (f"artifacts/lode/{CONFIG}", flipped),
    (f"artifacts/lode/{WEIGHTS}", flipped),
    (f"artifacts/lode/{names.JUDGE_WEIGHTS}", Path.unlink),
    ("MLmodel", pickled),
    ("pyfunc_lode.py", flipped),
    ("requirements.txt", flipped),
    ("code/extra.py", Path.touch),
]


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_changed_file_is_refused_and_registered_anew(
    name: str,
    change: Callable[[Path], Any],
    version: Registration,
    lode_dir: Path,
    tracking_uri: str,
) -> None:
    change(Path(version.location) / name)
    with pytest.raises(RegistryError, match=r"not those that were registered.*lode rollback"):
        fetch(CHAMPION, tracking_uri=tracking_uri)
    with pytest.raises(SystemExit, match="not those that were registered"):
        from_the_docs()("lode-mnist1d-cnn", "champion", tracking_uri)
    with pytest.warns(UserWarning, match=r"/1: its files are not .*; it is registered anew"):
        again = registered(lode_dir, tracking_uri)
    assert again.version == 2
    fetch(CHAMPION, tracking_uri=tracking_uri)


def test_what_loading_leaves_behind_is_no_change(
    version: Registration, tracking_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (Path(version.location) / "code/__pycache__").mkdir()
    (Path(version.location) / "code/__pycache__/x.pyc").touch()
    with connect(tracking_uri):
        mlflow.pyfunc.load_model(version.uri)
    fetch(CHAMPION, tracking_uri=tracking_uri)
    model = from_the_docs()("lode-mnist1d-cnn", "champion", tracking_uri)
    assert list(model.predict(window(0))["point"]) == [1, 2, 3, 4]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(
    tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    with _fluent(tracking_uri):  # puts back what `load_verified` sets
        yield


def from_the_docs() -> Callable[[str, str, str], Any]:
    """`load_verified` as docs/security.md has it."""
    text = (Path(__file__).parents[2] / "docs/security.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)\nmodel = load_verified\(", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    found: Callable[[str, str, str], Any] = names["load_verified"]
    return found


def test_a_version_from_before_is_warned_of_once_and_gets_its_digest(
    version: Registration, lode_dir: Path, tracking_uri: str
) -> None:
    _told.clear()
    with connect(tracking_uri) as client:
        client.delete_model_version_tag(version.name, "1", FILES_DIGEST)
    with pytest.warns(UserWarning, match="registered without a digest of its files"):
        fetch(CHAMPION, tracking_uri=tracking_uri)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fetch(CHAMPION, tracking_uri=tracking_uri)
        again = registered(lode_dir, tracking_uri)
    assert again == version


def test_a_version_from_before_whose_code_was_changed_does_not_get_one(
    version: Registration, lode_dir: Path, tracking_uri: str
) -> None:
    with connect(tracking_uri) as client:
        client.delete_model_version_tag(version.name, "1", FILES_DIGEST)
    flipped(Path(version.location) / "pyfunc_lode.py")
    with pytest.warns(UserWarning, match="not those of this LODE; it is registered anew"):
        assert registered(lode_dir, tracking_uri).version == 2


# ------------------------------------------------------------- moved, copied, lost


def workspace(folder: Path) -> dict[str, Any]:
    return {
        "tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "artifact_root": folder / "mlartifacts",
    }


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_a_workspace_that_was_moved_or_copied_is_its_own(
    how: Callable[[Path, Path], Any], lode_dir: Path, empty_database: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    shutil.copyfile(empty_database, first / "mlflow.db")
    given: dict[str, Any] = {"task": TASK, "tags": {"settings_digest": "s"}}
    register_champion(lode_dir, **given, **workspace(first))
    how(first, second)
    before = sorted(first.rglob("*"))
    uri = workspace(second)["tracking_uri"]
    if how is shutil.move:
        with pytest.raises(RegistryError, match=r"/1: its files .*no such folder.*`lode register`"):
            fetch(CHAMPION, tracking_uri=uri)
    with pytest.warns(UserWarning, match=r"/1 has its files in .*first.*moved or copied"):
        here = register_champion(lode_dir, **given, **workspace(second))
    assert here.version == 2
    assert Path(here.location).is_relative_to(second / "mlartifacts")
    assert sorted(first.rglob("*")) == before, "nothing is written to the old place"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert register_champion(lode_dir, **given, **workspace(second)) == here
    shutil.rmtree(first, ignore_errors=True)
    assert (fetch(CHAMPION, tracking_uri=uri) / WEIGHTS).exists()


def test_lost_files_are_named_with_the_remedy(
    version: Registration, lode_dir: Path, tracking_uri: str
) -> None:
    shutil.rmtree(version.location)
    with pytest.raises(RegistryError, match=r"cannot be read from .*run `lode register`"):
        fetch(CHAMPION, tracking_uri=tracking_uri)
    assert find(TASK, "champion", tracking_uri=tracking_uri) == version
    with pytest.warns(UserWarning, match="it is registered anew"):
        assert registered(lode_dir, tracking_uri).version == 2
    assert champion(TASK, tracking_uri=tracking_uri).version == 2


# ------------------------------------------------------------- numbers of any kind


def window(length: int) -> pd.DataFrame:
    return make_history().points[LOGGED].iloc[:length].round(2)


GIVEN: list[Callable[[pd.DataFrame], Any]] = [
    lambda rows: rows.astype({"point": np.float64}),
    lambda rows: rows.astype({"point": np.int32, "lr": np.float64}),
    lambda rows: rows.astype(object),
    lambda rows: rows.astype({"train_loss": object}),
    lambda rows: rows[["lr", "val_metric", "point", "train_loss"]].assign(more="x"),
    lambda rows: rows.to_dict("list"),
    lambda rows: rows.to_dict("records"),
]


@pytest.fixture(scope="module")
def model(lode_dir: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("loaded")
    shutil.copyfile(empty_database, folder / "mlflow.db")
    uri = registered(lode_dir, f"sqlite:///{folder}/mlflow.db").uri
    with connect(f"sqlite:///{folder}/mlflow.db"):
        return mlflow.pyfunc.load_model(uri)


@pytest.mark.parametrize("kind", GIVEN)
def test_numbers_of_any_kind_give_the_same(kind: Callable[[pd.DataFrame], Any], model: Any) -> None:
    expected = model.predict(window(8))
    pd.testing.assert_frame_equal(model.predict(kind(window(8))), expected)


def test_whole_losses_no_rows_and_whole_floats_are_what_they_mean(model: Any) -> None:
    whole = window(MU).assign(train_loss=[3, 2, 2, 1])
    expected = model.predict(whole.astype({"train_loss": float}))
    pd.testing.assert_frame_equal(model.predict(whole), expected)
    assert list(model.predict(pd.DataFrame({name: [] for name in LOGGED}))["point"]) == [1, 2, 3, 4]
    given = {"points": float(POINTS), "mu": 0.2, "n": np.float32(6), "seed": 0.0, "sigma": 1}
    plain = {"points": POINTS, "mu": 0.2, "n": 6, "seed": 0, "sigma": 1.0}
    pd.testing.assert_frame_equal(
        model.predict(window(8), params=given), model.predict(window(8), params=plain)
    )
    unseen = window(MU).astype(object)
    unseen.loc[unseen.index[0], "train_loss"] = None  # not observed
    assert not model.predict(unseen)["decided"].any()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ({"point": [1, 2, 3.5, 4]}, "log points are whole numbers"),
        ({"point": [1, 2, None, 4]}, "log points are whole numbers"),
        ({"train_loss": ["a", 1, 1, 1]}, "column 'train_loss' has 'a', which is no number"),
        ({"lr": [[1], 1, 1, 1]}, "column 'lr' has .*, which is no number"),
        ({"lr": [True, 1, 1, 1]}, "column 'lr' has 'True', which is no number"),
    ],
)
def test_what_is_no_number_is_named(spoil: dict[str, Any], said: str, model: Any) -> None:
    with pytest.raises(mlflow.MlflowException, match=said):
        model.predict(window(MU).assign(**spoil))


def test_parameters_and_columns_that_make_no_sense_are_named(model: Any) -> None:
    with pytest.raises(
        mlflow.MlflowException, match=r"parameter points = 20\.5 is not a whole number"
    ):
        model.predict(window(MU), params={"points": 20.5})
    with pytest.raises(mlflow.exceptions.MlflowException, match="points"):
        model.predict(window(MU), params={"points": "20"})
    with pytest.raises(mlflow.exceptions.MlflowException, match="lr"):
        model.predict(window(MU).drop(columns="lr"))
