"""Sizes of data, in bytes."""

MEBIBYTE = 2**20
