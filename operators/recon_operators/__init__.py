"""Forward operators of recon: tomography."""
