"""The cosine of the sentence embeddings in two files: python cosine.py FOUND.npz EXPECTED.npz."""

import sys

import numpy as np

found, expected = (np.load(path)["embedding"].astype(np.float64) for path in sys.argv[1:3])
norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(expected, axis=-1)
print((found * expected).sum(-1) / norms)
