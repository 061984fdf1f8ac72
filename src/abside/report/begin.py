"""`abside report` begins: the agent compiles the documents in its process while the libraries load in this one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from abside.report.documents import read_documents

if TYPE_CHECKING:
    from abside.report.settings import ReportSettings


def main(settings: ReportSettings) -> int:
    """Print the report; give the exit code."""
    with ThreadPoolExecutor(1) as beside:
        documents = beside.submit(read_documents, settings.config)
        from abside.report import command  # noqa: PLC0415 a second of libraries, during which the agent is done

        return command.main(settings, documents.result)
