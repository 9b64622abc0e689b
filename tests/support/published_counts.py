"""Numbers of parameters that the authors of a network publish."""

MIT_COUNTS = {
    "b0": 3_319_392,
    "b1": 13_151_424,
    "b2": 24_196_288,
    "b3": 44_072_128,
    "b4": 60_842_688,
    "b5": 81_443_008,
}
"""Mix Transformers, the encoders of SegFormer."""
