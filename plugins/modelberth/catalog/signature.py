"""Whose signature a model is to have: the key ``signature``, and ``publisher_signature`` for the publisher's own."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from modelberth.catalog.pieces import Part, Policy, RelativePath

Text = Annotated[str, Field(min_length=1)]


class Signature(Part):
    """A model-signing bundle over the revision, made by ``modelberth sign``, and who must have made it.

    It is verified with one of *key*, *certificates* and *identity*. *warn* shows at the gate what was found, *require*
    ends the release before the gate unless it is valid.
    """

    policy: Policy = "warn"
    key: Text | None = None
    """An EC public key: PEM, or the path of a PEM file, which starts at the project's root unless it is absolute."""
    certificates: Text | None = None
    """The authorities whose certificates may sign: PEM, or the path of a PEM file."""
    identity: Text | None = None
    """Who signed by Sigstore, such as an e-mail address or the address of a workflow."""
    issuer: Text | None = None
    """Who vouches for *identity*, such as https://accounts.google.com."""
    trusted_root: Text | None = None
    """The path of a trusted_root.json, for a Sigstore of one's own or without a network."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [name for name in ("key", "certificates", "identity") if getattr(self, name)]
        if len(ways) != 1 and (ways or self.policy != "off"):
            raise ValueError(f"expected one of key, certificates, identity; got {', '.join(ways) or 'none'}")
        if bool(self.identity) != bool(self.issuer):
            raise ValueError("identity and issuer belong together: anybody may vouch for a name")
        if self.trusted_root and not self.identity:
            raise ValueError("trusted_root is for identity")
        return self

    @model_validator(mode="after")
    def _nothing_private(self) -> Self:
        """Refuse it without repeating it."""
        if "PRIVATE KEY" in f"{self.key}{self.certificates}":
            raise ValueError("a private key has no place here: put the public one, and call the private one stolen")
        return self


class PublisherSignature(Signature):
    """The publisher's own model-signing bundle, which is among the model's files, and who must have made it."""

    file: RelativePath = "model.sig"
    """Where it lies in the source."""
