"""Immutable model versions and data sets in a directory."""

from labelmill.registry.manifest import Artifact, Description, Gate, Manifest
from labelmill.registry.store import Registry, Staging

__all__ = ["Artifact", "Description", "Gate", "Manifest", "Registry", "Staging"]
