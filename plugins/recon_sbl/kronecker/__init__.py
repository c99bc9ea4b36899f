"""Kronecker-structured sparse vectors: support that is a product of supports, one per axis."""
