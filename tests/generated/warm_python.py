"""A Python with the heavy packages imported, which runs each command in a fork of itself.

Documents have some dozens of commands, each of which would import TensorFlow, MLflow and others
for seconds. Keras is not imported here: the backend is chosen before, by each command.

Run by the projects' Python: ``python warm_python.py SOCKET MODULE…``. A client sends one line of
JSON and its three standard streams, and gets the id of the process and its exit code.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import traceback


def serve(path: str, modules: list[str]) -> None:
    """Answer clients until the process is ended."""
    for name in modules:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no child is left behind as a zombie
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        while True:
            client, _ = server.accept()
            with client:
                if os.fork() == 0:
                    server.close()
                    _supervise(client)


def _supervise(client: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    content, streams, _, _ = socket.recv_fds(client, 1 << 20, 3)
    request = json.loads(content)
    process = os.fork()
    if process == 0:
        client.close()
        os._exit(_run(request, streams))
    for stream in streams:
        os.close(stream)
    client.sendall(f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    with contextlib.suppress(OSError):  # a client that was killed
        client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _run(request: dict, streams: list[int]) -> int:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:0] = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv = [request["module"], *request["words"]]
    code = 0
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return code


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
