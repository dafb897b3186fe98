"""Run a TFJob's workers here: its arguments, its restart policy, the operator's TF_CONFIG.

    python rehearse.py MANIFEST [-- further words of train]

What a cluster adds is not rehearsed: images, volumes, GPUs, names of services, other machines.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import yaml


def free_addresses(count: int) -> list[str]:
    """Return addresses of this machine at which nobody listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{opened.getsockname()[1]}" for opened in sockets]
    for opened in sockets:
        opened.close()
    return addresses


def main() -> None:
    """Start the workers, and start one again that fails, as often as the manifest allows."""
    manifest = Path(sys.argv[1])
    words = sys.argv[3:] if sys.argv[2:3] == ["--"] else []
    job = yaml.safe_load(manifest.read_text(encoding="utf-8"))["spec"]
    worker = job["tfReplicaSpecs"]["Worker"]
    (container,) = worker["template"]["spec"]["containers"]
    addresses = free_addresses(worker["replicas"])
    package = next(Path("src").glob("*/task.py")).parent.name
    command = [sys.executable, "-m", package, "train", *container["args"], *words]
    environments = []
    for index in range(worker["replicas"]):
        # As Kubeflow's training operator writes it, where addresses are names of services.
        config = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
            "environment": "cloud",
        }
        environments.append({"TF_CONFIG": json.dumps(config)})
        print(f"worker {index}: TF_CONFIG={environments[-1]['TF_CONFIG']}")
    print("$", *command, flush=True)

    def start(index: int) -> subprocess.Popen:
        return subprocess.Popen(command, env=os.environ | environments[index])

    restarts = 0
    running = {index: start(index) for index in range(worker["replicas"])}
    while running:
        for index, process in list(running.items()):
            try:
                code = process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            del running[index]
            if code and worker["restartPolicy"] == "OnFailure":
                restarts += 1
                if restarts > job["runPolicy"]["backoffLimit"]:
                    sys.exit(f"worker {index} ended with {code}, and the limit is reached.")
                print(f"worker {index} ended with {code} and is started again.", flush=True)
                running[index] = start(index)
    print(f"All workers ended with 0; {restarts} were started again.")


if __name__ == "__main__":
    main()
