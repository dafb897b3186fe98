"""The service for predictions: HTTP in front of batches that one thread per model predicts.

| module | what it is for |
| --- | --- |
| `command.py`, `sections.py` | ``serve`` and its fields; ``serve keys`` |
| `server.py` | uvicorn with bounds on slow clients, and the order of a shutdown |
| `app.py`, `predictions.py`, `bodies.py`, `openapi.py` | routes, bodies as rows, documents |
| `guard.py`, `keys.py`, `problems.py` | middleware, API keys, refusals |
| `row_checks.py`, `names.py` | the shape of rows; names that stand in paths, headers and logs |
| `service.py`, `batcher.py`, `models.py`, `fast_path.py` | models, batches, answers |
| `sources.py`, `loader.py` | finding, loading and following models |
| `metrics.py`, `request_log.py`, `notes.py` | what is measured, logged, done with answers later |
| `protocol.py`, `tensors.py` | the Open Inference Protocol |
| `page/`, `examples.py`, `feedback.py`, `feedback_files.py` | the page, feedback on predictions |

Modules that are needed before a model is loaded import neither TensorFlow nor Keras: the service
answers ``/healthz`` at once.
"""
