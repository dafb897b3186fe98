"""Chats and completions over HTTP, as OpenAI's API has them, for models that write.

| module | what it is for |
| --- | --- |
| `sections.py` | fields ``chat.…`` of ``serve`` |
| `bodies.py` | bodies of requests, checked field by field |
| `answers.py` | answers, events of streams and errors in OpenAI's form |
| `scheduler.py` | the thread that writes for all requests of a model at once |
| `writers.py` | what writes, see ``Task.make_writer`` |
| `routes.py`, `metrics.py` | routes below ``/v1``; metrics for Prometheus |
| `hooks.py` | makes what writes ready before a model answers |
| `page/` | the page for chats at ``/`` |

No module imports TensorFlow or Keras.
"""
