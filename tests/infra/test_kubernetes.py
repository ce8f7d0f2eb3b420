"""The Kubernetes manifests: valid by Kubernetes' own schemas, and compose.yaml's equal.

There is no cluster here. `kubernetes-validate` brings the schemas that the API server publishes, in
which a field that does not exist is an error; `kubectl kustomize` puts the files together.
`prefect-worker.values.schema.json` is the chart's, of PrefectHQ/prefect-helm at 75b0c27
(Apache 2.0).
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from flows.deploy import POOLS

INFRA = Path(__file__).parents[2] / "infra"
FOLDERS = (INFRA, INFRA / "kubernetes/gpu")  # what `kubectl apply -k` is given
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
CHART = json.loads((Path(__file__).parent / "prefect-worker.values.schema.json").read_text())
VERSIONS = ("1.30", "1.34", "1.37")
Object = dict[str, Any]


def read(folder: Path) -> Iterator[Object]:
    """The objects of a kustomization, and the ConfigMaps that it makes of files."""
    wanted = yaml.safe_load((folder / "kustomization.yaml").read_text())
    for name in wanted["resources"]:
        yield from yaml.safe_load_all((folder / name).read_text())
    for made in wanted.get("configMapGenerator", []):
        data = {Path(file).name: (folder / file).read_text() for file in made["files"]}
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": made["name"]},
            "data": data,
        }


def by_name(objects: Iterator[Object] | list[Object]) -> dict[tuple[str, str], Object]:
    return {(o["kind"], o["metadata"]["name"]): o for o in objects}


OBJECTS = by_name([o for folder in FOLDERS for o in read(folder)])
PODS: dict[str, Object] = {
    name: o["spec"]["template"]["spec"]
    for (_, name), o in OBJECTS.items()
    if "template" in o.get("spec", {})
}
LABELS = {
    name: o["spec"]["template"]["metadata"]["labels"]
    for (_, name), o in OBJECTS.items()
    if name in PODS and "template" in o.get("spec", {})
}
WORKERS = ("cpu-worker", "gpu-worker")


def container(name: str) -> Object:
    (only,) = PODS[name]["containers"]
    return dict(only)


def environment(variables: list[Object]) -> dict[str, str]:
    """Name: its value, `secret KEY` or `config KEY`."""
    found = {}
    for variable in variables:
        source = variable.get("valueFrom", {})
        if reference := source.get("secretKeyRef"):
            assert reference["name"] == "lode"
            found[variable["name"]] = f"secret {reference['key']}"
        elif reference := source.get("configMapKeyRef"):
            assert reference["key"] in OBJECTS["ConfigMap", reference["name"]]["data"]
            found[variable["name"]] = f"config {reference['key']}"
        else:
            found[variable["name"]] = variable["value"]
    return found


def compose_environment(name: str) -> dict[str, str]:
    """The same of compose.yaml: `${X:?…}` is a secret, `${X:-…}` a setting."""
    kinds = {"?": "secret", "-": "config"}
    return {
        key: f"{kinds[found[2]]} {found[1]}"
        if (found := re.fullmatch(r"\$\{(\w+):([?-]).*\}", value))
        else value
        for key, value in COMPOSE[name]["environment"].items()
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(version: str) -> None:
    for thing in OBJECTS.values():
        assert kubernetes_validate.validate(thing, version, strict=True) == version


def test_every_file_is_part_of_a_kustomization() -> None:
    named = {
        (folder / name).resolve()
        for folder in FOLDERS
        for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    }
    files = set((INFRA / "kubernetes").rglob("*.yaml"))
    values = set((INFRA / "kubernetes/helm").iterdir())
    assert files - values - {INFRA / "kubernetes/gpu/kustomization.yaml"} == named


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("Deployment", "cpu-worker", ("spec", "template", "spec", "nodeSelectors"), {}),
        ("Deployment", "prefect", ("spec", "replica"), 1),
        ("PersistentVolumeClaim", "workspace", ("spec", "accessMode"), ["ReadWriteMany"]),
        ("Deployment", "mlflow", ("spec", "replicas"), "one"),
        ("NetworkPolicy", "lode-workers", ("spec", "egres"), []),
    ],
)
def test_a_typo_is_refused(kind: str, name: str, path: tuple[str, ...], value: Any) -> None:
    broken = deepcopy(OBJECTS[kind, name])
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", FOLDERS, ids=["infra", "gpu"])
def test_kubectl_makes_the_same_of_it(needs_system: Any, folder: Path) -> None:
    tool = needs_system("kubectl", "kubernetes-client")
    done = subprocess.run([tool, "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert by_name(yaml.safe_load_all(done.stdout)) == by_name(read(folder))


def test_every_service_of_compose_is_there_with_its_image_and_command() -> None:
    assert set(PODS) == set(COMPOSE)
    for name, service in COMPOSE.items():
        assert container(name)["image"] == service["image"], name
        command = service.get("command", [])
        if isinstance(command, str):
            command = command.split()
        here = [re.sub(r"\$\((\w+)\)", r"\1", a) for a in container(name).get("args", [])]
        assert here == [re.sub(r"\$\{(\w+):-[^}]*\}", r"\1", a) for a in command], name


@pytest.mark.parametrize("name", sorted(COMPOSE))
def test_environments_are_those_of_compose(name: str) -> None:
    here = environment(container(name).get("env", []))
    for own in ("PGDATA", "MLFLOW_PUBLIC_HOST", "MLFLOW_PUBLIC_ORIGIN"):  # for Kubernetes' sake
        here.pop(own, None)
    assert here == compose_environment(name)


def test_addresses_name_services_that_lead_to_a_pod() -> None:
    for name in PODS:
        for value in environment(container(name).get("env", [])).values():
            for host, port in re.findall(r"http://(?!localhost)([a-z]\w+):(\d+)", value):
                ports = OBJECTS["Service", host]["spec"]["ports"]
                assert int(port) in [p["port"] for p in ports], f"{name}: {value}"
    for (kind, name), service in OBJECTS.items():
        if kind == "Service":
            assert service["spec"]["selector"].items() <= LABELS[name].items()
            assert service["spec"].get("type", "ClusterIP") == "ClusterIP", (
                "port-forward or ingress"
            )
            offered = {p["name"]: p["containerPort"] for p in container(name)["ports"]}
            assert all(offered[p["targetPort"]] == p["port"] for p in service["spec"]["ports"])


def test_the_secret_is_the_env_file_and_in_no_manifest() -> None:
    lines = (INFRA / ".env.example").read_text().splitlines()
    keys = {line.rstrip("=") for line in lines if line and not line.startswith("#")}
    used = {
        value.split()[1]
        for name in PODS
        for value in environment(container(name).get("env", [])).values()
        if value.startswith("secret ")
    }
    assert used == keys, "`kubectl create secret --from-env-file=.env` makes all that is asked for"
    assert not any(kind == "Secret" for kind, _ in OBJECTS)
    for name in PODS:
        for variable in container(name).get("env", []):
            if re.search("PASSWORD|SECRET|TOKEN|KEY|AUTH", variable["name"]):
                secret = "secretKeyRef" in variable.get("valueFrom", {})
                assert secret or "scram" in variable["value"], f"{name}: {variable['name']}"


@pytest.mark.parametrize("name", sorted(PODS))
def test_pods_keep_the_restricted_standard(name: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, and more."""
    pod, box = PODS[name], container(name)
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert box["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert pod["automountServiceAccountToken"] is False
    # else a Service `mlflow` sets MLFLOW_PORT=tcp://…, which `mlflow server` refuses
    assert pod["enableServiceLinks"] is False
    assert re.search(r":\d+\.\d+[\w.-]*$", box["image"]), f"{box['image']} is not pinned"
    assert {"cpu", "memory"} <= set(box["resources"]["limits"])
    assert {"cpu", "memory"} <= set(box["resources"]["requests"])


@pytest.mark.parametrize("name", sorted(PODS))
def test_volumes_exist_and_what_is_written_is_one(name: str) -> None:
    kind, workload = next(
        (k, o) for (k, n), o in OBJECTS.items() if n == name and "template" in o.get("spec", {})
    )
    volumes = {v["name"]: v for v in PODS[name].get("volumes", [])}
    for claim in workload["spec"].get("volumeClaimTemplates", []):
        volumes[claim["metadata"]["name"]] = {}
    mounts = {m["mountPath"]: m["name"] for m in container(name)["volumeMounts"]}
    assert set(mounts.values()) == set(volumes), f"{kind} {name}"
    assert "/tmp" in mounts, "the root file system is read-only"
    for volume in volumes.values():
        if claim := volume.get("persistentVolumeClaim"):
            assert ("PersistentVolumeClaim", claim["claimName"]) in OBJECTS
        if made := volume.get("configMap"):
            assert OBJECTS["ConfigMap", made["name"]]["data"]


def test_the_workspace_can_be_shared() -> None:
    assert OBJECTS["PersistentVolumeClaim", "workspace"]["spec"]["accessModes"] == ["ReadWriteMany"]
    for name in (*WORKERS, "setup"):
        mounts = {m["mountPath"]: m["name"] for m in container(name)["volumeMounts"]}
        assert mounts["/workspace"] == "workspace"


def test_what_stays_up_is_probed() -> None:
    for name in set(PODS) - {"setup"}:
        box = container(name)
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(box), name
        ports = {p["name"] for p in box["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = box[probe].get("httpGet", {}).get("port")
            assert asked in ports or (name == "postgres" and "exec" in box[probe])


def test_mlflow_answers_the_kubelet_whose_host_it_does_not_know() -> None:
    """The kubelet asks a pod by its address, which is none of --allowed-hosts."""
    from mlflow.server.security_utils import is_health_endpoint

    box = container("mlflow")
    assert any(a.startswith("--allowed-hosts=mlflow:5000,") for a in box["args"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert is_health_endpoint(box[probe]["httpGet"]["path"])


def test_a_gpu_worker_has_one_gpu_and_does_one_training() -> None:
    pod, box = PODS["gpu-worker"], container("gpu-worker")
    assert box["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert [t["key"] for t in pod["tolerations"]] == ["nvidia.com/gpu"]
    assert "nvidia.com/gpu" not in str(PODS["cpu-worker"])


def test_workers_start_as_their_image_says_in_the_pools_that_deploy_makes() -> None:
    stages = re.split(r"^FROM ", (INFRA / "images/Dockerfile").read_text(), flags=re.M)
    commands = {
        stage.split()[2]: json.loads(
            re.search(r"^CMD (\[.*?\])", stage, re.M | re.S)[1].replace("\\\n", "")
        )
        for stage in stages
        if re.search(r"^CMD \[\"prefect\", \"worker\"", stage, re.M)
    }
    pools = {}
    for name in WORKERS:
        box = container(name)
        assert not {"command", "args"} & set(box)
        command = commands[box["image"].removeprefix("lode-").split(":")[0]]
        assert command[command.index("--type") + 1] == "process"
        assert "--with-healthcheck" in command
        pools[name] = command[command.index("--pool") + 1]
        assert ("--limit" in command) == (name == "gpu-worker")
    assert pools == {f"{pool}-worker": pool for pool in POOLS}


def test_policies_let_through_what_is_needed_and_no_more() -> None:
    policies = [o["spec"] for (kind, _), o in OBJECTS.items() if kind == "NetworkPolicy"]

    def selected(selector: Object) -> set[str]:
        match = selector.get("matchLabels", {}).items()
        rules = selector.get("matchExpressions", [])
        return {
            name
            for name, labels in LABELS.items()
            if match <= labels.items() and all(labels.get(r["key"]) in r["values"] for r in rules)
        }

    def allowed(way: str, peer: str) -> set[tuple[str, str, int]]:
        return {
            (name, other, port["port"])
            for policy in policies
            for name in selected(policy["podSelector"])
            for rule in policy.get(way, [])
            for end in rule[peer]
            if "podSelector" in end
            for other in selected(end["podSelector"])
            for port in rule["ports"]
        }

    out = allowed("egress", "to")
    assert out == {(b, a, port) for a, b, port in allowed("ingress", "from")}, "both ends agree"
    clients = ("setup", *WORKERS)
    assert out == {
        *((name, "prefect", 4200) for name in clients),
        *((name, "mlflow", 5000) for name in clients),
        ("prefect", "postgres", 5432),
        ("mlflow", "postgres", 5432),
        ("mlflow", "objects", 8333),
    }
    closed = [
        p for p in policies if set(p["policyTypes"]) == {"Ingress", "Egress"} and "ingress" not in p
    ]
    assert any(selected(p["podSelector"]) == set(PODS) for p in closed), "all else is refused"


# Helm: the values for Prefect's own chart


def values(pool: str) -> Object:
    return dict(yaml.safe_load((INFRA / f"kubernetes/helm/{pool}-worker.yaml").read_text()))


def refused(given: Object) -> set[str]:
    """What the chart's schema has against values; a name it does not know at the top, too."""
    found = {
        str(e.message) for e in jsonschema.validators.validator_for(CHART)(CHART).iter_errors(given)
    }
    return found | set(given) - set(CHART["properties"])


@pytest.mark.parametrize("pool", POOLS)
def test_the_chart_knows_every_value(pool: str) -> None:
    gpu = "Additional properties are not allowed ('nvidia.com/gpu' was unexpected)"
    assert refused(values(pool)) == ({gpu} if pool == "gpu" else set())
    assert (
        "--skip-schema-validation"
        in (INFRA / "kubernetes/helm" / f"{pool}-worker.yaml").read_text()
    ) == (pool == "gpu")


def test_the_chart_refuses_a_typo() -> None:
    broken = values("cpu")
    broken["worker"]["config"]["workpool"] = broken["worker"]["config"].pop("workPool")
    assert refused(broken)
    assert refused({**values("cpu"), "roles": {}}) == {"roles"}


@pytest.mark.parametrize("pool", POOLS)
def test_the_chart_makes_the_worker_that_the_manifest_is(pool: str) -> None:
    given, name = values(pool)["worker"], f"{pool}-worker"
    pod, box = PODS[name], container(name)
    assert f"{given['image']['repository']}:{given['image']['prefectTag']}" == box["image"]
    variables = environment(given["extraEnvVars"])
    variables["PREFECT_API_URL"] = given["selfHostedServerApiConfig"]["apiUrl"]
    assert variables == environment(box["env"])
    assert given["config"] == {
        "workPool": pool,
        "type": "process",
        "installPolicy": "never",
        **({"limit": 1} if pool == "gpu" else {}),
    }
    assert given["resources"] == box["resources"]
    for key in ("nodeSelector", "tolerations"):
        assert given.get(key) == pod.get(key)
    assert given["podSecurityContext"] == pod["securityContext"]
    assert box["securityContext"].items() <= given["containerSecurityContext"].items()
    assert given["livenessProbe"]["enabled"]
    mounts = {m["mountPath"]: m["name"] for m in box["volumeMounts"]}
    assert {m["mountPath"]: m["name"] for m in given["extraVolumeMounts"]} == {
        path: name
        for path, name in mounts.items()
        if path != "/tmp"  # the chart's own
    }
    chart = {**given["podLabels"], "app.kubernetes.io/component": "worker"}
    assert chart.items() <= LABELS[name].items(), "the network policies know it"
    assert not values(pool)["role"]["create"] and not values(pool)["rolebinding"]["create"]
