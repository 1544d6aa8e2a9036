"""A scoring job's results: rows in input order, from a stream that can be taken up again."""

from __future__ import annotations

from dataclasses import dataclass

from labelmill.client._wire.call import Cursor, Method
from labelmill.client._wire.classification import ItemError, LabelScore, parse_error
from labelmill.errors import InternalError
from labelmill.v1 import scoring_pb2 as pb

STREAM = Method(
    "/labelmill.v1.ScoringJobService/StreamScoringResults",
    pb.StreamScoringResultsRequest,
    pb.StreamScoringResultsResponse,
)


@dataclass(frozen=True, slots=True)
class ScoredText:
    """One row of a job's output; `label` is empty when `error` is set."""

    #: Position in the input, from 0.
    index: int
    #: As given with the text.
    id: str
    label: str
    #: Calibrated probability of the best label in [0, 1].
    score: float
    scores: list[LabelScore]
    token_count: int
    truncated: bool
    windows: int
    error: ItemError | None


@dataclass(frozen=True, slots=True)
class ResultBatch:
    """Consecutive rows and the token that continues after them."""

    rows: list[ScoredText]
    resume_token: str


class ResultStream(Cursor[ResultBatch]):
    """Results from `resume_token` on. The server ends the stream after the last one.

    A job that was stopped has texts without a result: with `gaps` they are passed over.
    """

    method = STREAM

    def __init__(
        self,
        job_id: str,
        resume_token: str = "",
        next_index: int | None = None,
        *,
        gaps: bool = False,
    ) -> None:
        self._job_id = job_id
        self._gaps = gaps
        self._resume_token = resume_token
        self._next_index = 0 if next_index is None and not resume_token else next_index

    @property
    def next_index(self) -> int:
        """Index of the row that comes next."""
        return self._next_index or 0

    def request(self) -> pb.StreamScoringResultsRequest:
        """Asks for what follows the last batch received."""
        return pb.StreamScoringResultsRequest(job_id=self._job_id, resume_token=self._resume_token)

    def receive(self, response: pb.StreamScoringResultsResponse) -> ResultBatch:
        """The batch; raises InternalError when a row is missing or repeated."""
        rows = [_row(result) for result in response.results]
        for row in rows:
            due = self._next_index
            if due is not None and (row.index < due or (row.index > due and not self._gaps)):
                raise InternalError(
                    f"job {self._job_id} sent result {row.index} where {due} was due"
                )
            self._next_index = row.index + 1
        self._resume_token = response.resume_token
        return ResultBatch(rows, response.resume_token)

    def complete(self, *, ended: bool) -> bool:
        """True once the server closed the stream in order."""
        return ended


def _row(message: pb.ScoringResult) -> ScoredText:
    result = message.result
    return ScoredText(
        index=message.index,
        id=message.id,
        label=result.label,
        score=result.score,
        scores=[LabelScore(entry.label, entry.score) for entry in result.scores],
        token_count=result.token_count,
        truncated=result.truncated,
        windows=result.windows,
        error=parse_error(result.error) if result.HasField("error") else None,
    )
