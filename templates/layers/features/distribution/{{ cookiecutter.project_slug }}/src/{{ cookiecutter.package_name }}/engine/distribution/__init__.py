"""Several devices and machines, on TensorFlow and JAX.

| module | what it is for |
| --- | --- |
| `tensorflow.py` | TensorFlow on several GPUs or machines |
| `jax.py`, `jax_step.py` | the JAX backend, and its gradient step |
| `devices.py`, `cluster.py` | devices of this process; the other processes |
| `launch.py`, `workers.py`, `processes.py` | ``launch``; several processes, and the loss of one |
"""
