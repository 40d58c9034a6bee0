"""How fast harm is found, and how often nobody's harm is: our rule beside those of the field.

Run ``python -m benchmarks.detection``; it writes ``docs/calibration.md``.
"""
