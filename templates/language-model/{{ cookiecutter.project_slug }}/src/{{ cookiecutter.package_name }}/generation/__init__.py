"""How a trained model writes: decoding, sampling, streaming."""
