"""The torch track: nothing of it is written yet.

It will hold the optimiser, the communication hooks and the training of the paper's deep
experiments, on the compressors of efsgd. Until then this package only keeps its place.
"""
