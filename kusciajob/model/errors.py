"""What can go wrong with a job, in the terms of the model; every message names the value and what would be right."""

from collections.abc import Sequence

from msgspec import Struct

from kusciajob.model.text import listed, shown


class Problem(Struct, frozen=True):
    """What is wrong with one field of a request, such as `tasks[2].dependencies[0]`."""

    field: str
    text: str


class JobError(Exception):
    """Base of all errors that a caller can act on. `str(error)` is fit for a client's eyes."""


class InvalidJob(JobError):
    """A request or job specification breaks a rule of the contract. `problems` has each one whose field is known."""

    def __init__(self, text: str, *, problems: Sequence[Problem] = ()) -> None:
        super().__init__(text)
        self.problems = tuple(problems)


class InvalidAppImage(JobError):
    """An AppImage document breaks a rule of the contract."""


class UnknownAppImage(JobError):
    """No AppImage of that name is registered."""


class AppImageNotFound(JobError):
    """No AppImage of that name exists, or it cannot be used; the text says which."""


class AppImageExists(JobError):
    """An AppImage of that name exists already."""


class AppImageInFile(JobError):
    """The AppImage comes from a file, and only its file can be changed."""


class TooManyAppImages(JobError):
    """As many AppImages are stored as the limits allow."""


class UnknownRole(JobError):
    """An AppImage has no deploy template for a party's role."""


class TemplateError(JobError):
    """A config template refers to something that does not exist or cannot be read."""


class JobExists(JobError):
    """A job of that id exists with another specification."""


class TaskExists(JobExists):
    """A task of that task id exists already, in another job."""


class TooManyJobs(JobError):
    """As many jobs are stored as the limits allow."""


class JobNotFound(JobError):
    """No job of that id exists; `job_ids` lists every id that was not found."""

    def __init__(self, *job_ids: str) -> None:
        self.job_ids = job_ids
        quoted = listed(list(map(shown, job_ids)))
        super().__init__(f"job {quoted} not found" if len(job_ids) == 1 else f"jobs {quoted} not found")


class TaskNotFound(JobError):
    """No stored job has a task of that id."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {shown(task_id)} not found: QueryJob tells the ids of a job's tasks")


class InvalidTransition(JobError):
    """The operation is not possible in the job's present state."""


class NotAllowed(JobError):
    """The caller may not see or act on this job."""


class StaleJob(JobError):
    """The job changed between read and write. The caller reads it again and repeats the change."""


class LogTruncated(JobError):
    """The log no longer reaches back to the wanted revision. The caller reads all jobs instead.

    `usable` is the oldest revision after which it can be read.
    """

    def __init__(self, text: str, *, usable: int = 0) -> None:
        super().__init__(text)
        self.usable = usable


class StoreFailed(JobError):
    """The store could not commit or read; nothing of the change was kept."""


class StoreDamaged(StoreFailed):
    """The store's file is so damaged that trying again is useless."""
