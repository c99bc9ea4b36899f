"""The version of recon, read by the build and by `recon --version`."""

__version__ = "0.1.0"
