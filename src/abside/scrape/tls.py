"""The metrics of a certificate: when it ends, and whether its renewal failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.scrape.families import gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from abside.serve.certificate import Certificate


def certificate_figures(certificate: Certificate) -> Iterator[Metric]:
    """Yield the families of the certificate that new connections are shown."""
    end = "When the certificate that is shown ends, in Unix seconds."
    yield gauge("tls_certificate_not_after_seconds", end, certificate.not_after)
    failed = "1 while its files on disk cannot be used, so that the last good one is shown."
    yield gauge("tls_certificate_unusable", failed, float(certificate.problem is not None))
