"""Job files, under the client's name: the server reads them by the same rules, so that both take the same."""

from kusciajob.wire.jobfile import MAX_JOB_FILE_BYTES, JobFile, JobFileError, parse_job, read_job_file

__all__ = ["MAX_JOB_FILE_BYTES", "JobFile", "JobFileError", "parse_job", "read_job_file"]
