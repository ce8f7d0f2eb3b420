"""What the evaluation found is with the version that it evaluated, and with no other."""

from __future__ import annotations

from pathlib import Path

from components.lode.model import LODE
from components.registry.connection import connect
from components.registry.models import register
from components.registry.report import log_report, report_address
from components.registry.versions import list_versions

TASK = "mnist1d-cnn"


def test_figures_and_files_are_with_the_version(
    lode_dir: Path, tracking_uri: str, tmp_path: Path
) -> None:
    version = register(
        lode_dir, task=TASK, tags={}, tracking_uri=tracking_uri, artifact_root=tmp_path / "art"
    )
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "test.svg").write_text("<svg/>")
    (tmp_path / "index.html").write_text("<p>report</p>")

    def log(folder: Path, value: float) -> bool:
        return log_report(
            folder,
            task=TASK,
            version=version.version,
            tracking_uri=tracking_uri,
            figures={"test_metric": value},
            files=[tmp_path / "figures", tmp_path / "index.html", tmp_path / "not-there"],
        )

    assert log(lode_dir, 0.6) and log(lode_dir, 0.71)
    other = LODE.load(lode_dir)
    other.readout.bias.data += 1.0
    other.save(tmp_path / "other")
    assert not log(tmp_path / "other", 0.1), "another LODE was evaluated"
    with connect(tracking_uri) as client:
        run = client.get_run(version.run_id)
        assert run.data.metrics["test_metric"] == 0.71
        listed = {one.path for one in client.list_artifacts(version.run_id, "evaluation")}
        assert listed == {"evaluation/figures", "evaluation/index.html"}
        assert run.info.run_name == f"lode-{TASK} version {version.version}"
    address = report_address(tracking_uri, TASK, version.version)
    assert address is not None
    assert f"/runs/{version.run_id}/artifacts/evaluation/index.html?" in address
    (found,) = list_versions(TASK, tracking_uri=tracking_uri)
    assert found.tags["test_metric"] == "0.7100"
    unreported = register(
        tmp_path / "other",
        task=TASK,
        tags={},
        tracking_uri=tracking_uri,
        artifact_root=tmp_path / "art",
    )
    assert report_address(tracking_uri, TASK, unreported.version) is None
