"""Prompts before anything is painted: their weighting checked, their files read. Free of torch."""
