"""The application under test: it trains models with jobs and keeps a table of them. Nothing in it knows of tests."""

import threading

from kusciajob.client import Client, ClientError, JobFailed, JobSpec, Task


class TrainingFailed(Exception):
    """A model could not be trained; the text says why."""


class Manager:
    def __init__(self, address: str) -> None:
        self._client = Client(address)
        self.rows: dict[str, str] = {}
        """The state of each job, as its watch tells."""
        self._page = threading.Thread(target=self._follow, daemon=True)
        self._page.start()

    def close(self) -> None:
        self._client.close()
        self._page.join()

    def start(self, job_id: str) -> None:
        self._client.create(JobSpec(job_id, "alice", [Task("train", "model-image", ["alice", "bob"])]))

    def train(self, job_id: str) -> None:
        """Return once the model is trained. Raises TrainingFailed."""
        self.start(job_id)
        try:
            self._client.job(job_id).result(timeout=60)
        except JobFailed as error:
            raise TrainingFailed(str(error)) from error

    def _follow(self) -> None:
        try:
            for change in self._client.watch():
                if change.type == "DELETED":
                    self.rows.pop(change.job_id, None)
                else:
                    self.rows[change.job_id] = change.status.state
        except ClientError:
            return  # it was closed
