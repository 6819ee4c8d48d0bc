"""How many jobs and parties the database has in each state."""

import sqlite3

from kusciajob.contracts import Census
from kusciajob.store import common

# A large status is compressed; asking whether it is costs all others nothing. One that is damaged hides no other.
JOBS_BY_STATE = """
    SELECT CASE WHEN json_valid(status) THEN json_extract(status, '$.phase.state') END, count(*)
    FROM (
        SELECT CAST(CASE
            WHEN typeof(status) = 'blob' AND substr(status, 1, 1) <> x'7B' THEN plain_status(status) ELSE status
        END AS TEXT) AS status
        FROM job
    ) GROUP BY 1
"""
# By the index of unfinished jobs; a state that is Pending is left out when a status is stored.
PARTIES_BY_STATE = """
    SELECT coalesce(json_extract(party.value, '$.state'), 'Pending'), count(*)
    FROM (
        SELECT CAST(CASE
            WHEN typeof(status) = 'blob' AND substr(status, 1, 1) <> x'7B' THEN plain_status(status) ELSE status
        END AS TEXT) AS status
        FROM job WHERE unfinished = 1
    ) AS job, json_each(CASE WHEN json_valid(job.status) THEN job.status ELSE '{}' END, '$.tasks') AS task,
        json_each(task.value, '$.parties') AS party
    GROUP BY 1
"""


def count(connection: sqlite3.Connection) -> Census:
    """Look at every job, on a connection of database.read_only."""
    return common.census(dict(connection.execute(JOBS_BY_STATE)), dict(connection.execute(PARTIES_BY_STATE)))
