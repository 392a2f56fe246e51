"""Signatures of models: OpenSSF model-signing bundles, made and verified with the library of that name.

What a bundle says is compared with digests that are known already (``core.signature``): no byte of a model is read.
The library is imported where a signature is looked at and nowhere else: it takes a second, and no Dag file needs it.
"""
