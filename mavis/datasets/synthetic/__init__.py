"""Synthetic faces: drawn from parameters, with exact truth about every part."""
