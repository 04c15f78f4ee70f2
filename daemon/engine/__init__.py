"""The resident SDXL parts and what can be done with them. `base.py` is the face, free of torch."""
