"""Several devices and machines, on TensorFlow and JAX."""
