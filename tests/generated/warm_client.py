"""Run a module in the process of ``warm_python.py``: ``warm_client.py SOCKET PYTHON MODULE WORD…``.

Commands on JAX need another process, so PYTHON runs them. Started for each command, so it imports
next to nothing.
"""

import json
import os
import signal
import socket
import sys

path, python, module, *words = sys.argv[1:]
backends = [os.environ.get(name, "") for name in ("KERAS_BACKEND", "APP__RUNTIME__BACKEND")]
if any(name in word for name in ("jax", "tpu") for word in (*backends, *words)):
    os.execv(python, [python, "-m", module, *words])

with socket.socket(socket.AF_UNIX) as server:
    server.connect(path)
    request = {
        "module": module,
        "words": words,
        "folder": os.getcwd(),  # noqa: PTH109 (pathlib takes longer to import than the rest)
        "environment": dict(os.environ),
    }
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
    with server.makefile() as answers:
        process = int(answers.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: os.kill(process, number))
        code = int(answers.readline() or 1)
# As a shell shows a process that a signal has ended.
sys.exit(code if code >= 0 else 128 - code)
