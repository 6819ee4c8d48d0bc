-- Servers that know schema 1 or a later one can use this one.

-- The one row that every change goes through: who has locked it commits next, so that revisions have neither gaps nor
-- another order than commits. `log_bytes` is what all that was ever logged takes; `audits` is the id of the newest entry;
-- `images` counts the changes of AppImages. `progress_key` is the servers' common secret (see security/progress.py).
--
-- The rest is the lease: `leader` may schedule until `leased_until`, and longer while nobody takes over. Each lease has a
-- `fence` of its own, and commits that name another are refused. `home`: only a server with that one can lead, because
-- what runs is on its machine; empty where any can.
CREATE TABLE store (
    id           text PRIMARY KEY DEFAULT replace(gen_random_uuid()::text, '-', ''),
    revision     bigint NOT NULL DEFAULT 0,
    log_bytes    bigint NOT NULL DEFAULT 0,
    audits       bigint NOT NULL DEFAULT 0,
    images       bigint NOT NULL DEFAULT 0,
    progress_key bytea NOT NULL DEFAULT decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'),
    fence        bigint NOT NULL DEFAULT 0,
    leader       text NOT NULL DEFAULT '',
    home         text NOT NULL DEFAULT '',
    leased_until timestamptz
);

INSERT INTO store DEFAULT VALUES;

-- The servers that commit, each with its newest group of changes and what became of them: a group whose answer was lost is
-- sent again, and is not committed twice.
CREATE TABLE writer (
    id               text PRIMARY KEY,
    committed_at     timestamptz NOT NULL DEFAULT now(),
    group_number     bigint NOT NULL DEFAULT 0,
    revisions        bigint[],
    refusals         text[],
    stored_revisions bigint[],
    task_ids         text[],
    holders          text[],
    history_lengths  integer[]
) WITH (fillfactor = 50);

-- A job as it stands. `number` is the revision of its ADDED, `revision` that of its newest entry in the log; `entries`
-- is how long its history is.
CREATE TABLE job (
    number     bigint PRIMARY KEY,
    job_id     text COLLATE "C" NOT NULL UNIQUE,
    revision   bigint NOT NULL,
    unfinished boolean NOT NULL,
    initiator  text COLLATE "C" NOT NULL,
    entries    integer NOT NULL,
    status     bytea NOT NULL
);

CREATE INDEX job_unfinished ON job (number) WHERE unfinished;
CREATE INDEX job_initiator ON job (initiator, number);

-- How many jobs each initiator has.
CREATE TABLE tally (
    initiator text COLLATE "C" PRIMARY KEY,
    jobs      bigint NOT NULL
);

-- Apart from the job, because a specification never changes: a change of the job does not write it again.
CREATE TABLE spec (
    number bigint PRIMARY KEY,
    spec   bytea NOT NULL
);

-- Large inputs of tasks, apart from the specification and as they are.
CREATE TABLE input (
    number bigint NOT NULL,
    task   integer NOT NULL,
    config bytea NOT NULL,
    PRIMARY KEY (number, task)
);

CREATE TABLE task (
    task_id text COLLATE "C" PRIMARY KEY,
    number  bigint NOT NULL
);

CREATE INDEX task_number ON task (number);

-- What a list looks for in a job. `phase` and `traits` are JSON; `facets` are the job's rows in the table of that name.
CREATE TABLE listing (
    number   bigint PRIMARY KEY,
    state    text COLLATE "C" NOT NULL,
    created  double precision NOT NULL,
    ended    double precision,
    deadline double precision,
    expires  double precision,
    phase    text COLLATE "C" NOT NULL,
    traits   text COLLATE "C" NOT NULL,
    facets   bigint[] NOT NULL
);

CREATE INDEX listing_state ON listing (state, number);
CREATE INDEX listing_deadline ON listing (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX listing_expires ON listing (expires) WHERE expires IS NOT NULL;

-- Which jobs have a party of a domain, an AppImage, a custom field or a label (see store/listing.py).
CREATE TABLE facet (
    facet  bigint NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (facet, number)
);

-- Every change in order; revisions have no gaps. `total` is the bytes of this entry and of all before it; `before` is
-- the phase before the change, as JSON, where it is another.
CREATE TABLE log (
    revision  bigint PRIMARY KEY,
    type      text COLLATE "C" NOT NULL,
    job_id    text COLLATE "C" NOT NULL,
    number    bigint NOT NULL,
    initiator text COLLATE "C" NOT NULL,
    status    bytea NOT NULL,
    total     bigint NOT NULL,
    before    text COLLATE "C"
);

-- The traits of deleted jobs, as long as the log tells of them. `revision` is that of their DELETED.
CREATE TABLE departed (
    number   bigint PRIMARY KEY,
    revision bigint NOT NULL,
    traits   text COLLATE "C" NOT NULL
);

CREATE INDEX departed_revision ON departed (revision);

-- What happened to jobs, and the attempts of their tasks that are over, each in JSON. An entry has the revision of its
-- commit beside it, because who writes it does not know that yet.
CREATE TABLE history (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number   bigint NOT NULL,
    revision bigint NOT NULL,
    entry    text COLLATE "C" NOT NULL
);

CREATE INDEX history_number ON history (number, id);

CREATE TABLE attempt (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number  bigint NOT NULL,
    task    integer NOT NULL,
    attempt bytea NOT NULL
);

CREATE INDEX attempt_number ON attempt (number, id);

-- Calls that changed something or wanted to, in JSON; `caller` and `subject` are for looking them up.
CREATE TABLE audit (
    id      bigint PRIMARY KEY,
    at      double precision NOT NULL,
    caller  text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    entry   text COLLATE "C" NOT NULL
);

CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_caller ON audit (caller, id);
CREATE INDEX audit_subject ON audit (subject, id);

CREATE TABLE app_image (
    name       text COLLATE "C" PRIMARY KEY,
    definition bytea NOT NULL
);

-- The changes that have gathered in one server, committed by one statement: a round trip each would cost more than all
-- else. No two of them are about the same job, task or AppImage. Each is accepted or refused as if it were alone.
--
-- The first arrays have one element per change. `kinds`: C creates, R replaces, D deletes, I stores an AppImage (its name
-- is in job_ids, its definition in statuses; NULL removes it), N only notes. `faults` are the statuses of ERROR events.
-- `forced`: whatever the revision. All other arrays have rows that belong to the change whose place, from 1, they name:
-- `passed_statuses` and `passed_phases` are what a job went through on the way to its new status, each an event.
--
-- `fences`: the lease under which the change is made; 0 for none. A group that is sent again has the number it had.
--
-- Returns what became of each, in order: the job's new revision (0 where it is about none), or why it is refused, with
-- the stored revision or the task and job that are in the way; and how long the job's history is.
CREATE FUNCTION commit_group_1(
    writer_id text, this_group bigint, channel text, most_attempts integer, most_attempt_bytes bigint, event_bytes integer,
    kinds text[], fences bigint[], job_ids text[], numbers bigint[], revisions bigint[], forced boolean[], initiators text[],
    unfinished_flags boolean[], statuses bytea[], faults bytea[], specs bytea[],
    states text[], created_times double precision[], ended_times double precision[], deadlines double precision[],
    expiries double precision[], phases text[], traits_texts text[],
    task_places integer[], task_ids text[],
    passed_places integer[], passed_statuses bytea[], passed_phases text[],
    input_places integer[], input_tasks integer[], inputs bytea[],
    facet_places integer[], facet_values bigint[],
    history_places integer[], history_entries text[],
    attempt_places integer[], attempt_tasks integer[], attempts bytea[],
    audit_places integer[], audit_ats double precision[], audit_callers text[], audit_subjects text[], audit_entries text[]
) RETURNS TABLE (revision bigint, refusal text, stored bigint, task_id text, holder text, history_length integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    base bigint;
    bytes bigint;
    newest bigint;
    noted bigint;
    images_now bigint;
    all_refusals text[];
    all_stored bigint[];
    taken_tasks text[];
    all_holders text[];
    stored_phases text[];
    lasts bigint[];
    lengths integer[];
    gone bigint[];
    lease bigint;
    written writer%ROWTYPE;
BEGIN
    -- From here on nobody else changes anything, and each statement sees all that is committed.
    SELECT s.revision, s.log_bytes, s.audits, s.fence INTO base, bytes, noted, lease FROM store s FOR UPDATE;

    SELECT w.* INTO written FROM writer w WHERE w.id = writer_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the database does not know this server any more' USING ERRCODE = 'KJ001';
    ELSIF written.group_number = this_group THEN
        RETURN QUERY SELECT * FROM unnest(
            written.revisions, written.refusals, written.stored_revisions, written.task_ids, written.holders,
            written.history_lengths
        );
        RETURN;
    ELSIF written.group_number > this_group THEN
        RAISE EXCEPTION 'these changes were given up' USING ERRCODE = 'KJ002';
    END IF;

    SELECT array_agg(judged.refusal ORDER BY place), array_agg(judged.stored ORDER BY place),
           array_agg(judged.task_id ORDER BY place), array_agg(judged.holder ORDER BY place),
           array_agg(judged.stored_phase ORDER BY place), array_agg(judged.last ORDER BY place)
    INTO all_refusals, all_stored, taken_tasks, all_holders, stored_phases, lasts
    FROM (
        SELECT *, CASE
                WHEN refused.refusal IS NOT NULL THEN NULL
                WHEN width = 0 THEN 0
                ELSE base + sum(CASE WHEN refused.refusal IS NULL THEN width ELSE 0 END) OVER (ORDER BY place)
            END::bigint AS last
        FROM (
            SELECT place, width, j.revision AS stored, taken.task_id, taken.holder,
                l.phase AS stored_phase,
                CASE
                    WHEN fence NOT IN (0, lease) THEN 'lease lost'
                    WHEN kind IN ('N', 'I') THEN NULL
                    WHEN kind = 'C' AND EXISTS (SELECT 1 FROM job WHERE job.job_id = c.job_id) THEN 'job exists'
                    WHEN kind = 'C' AND taken.task_id IS NOT NULL THEN 'task exists'
                    WHEN kind <> 'C' AND j.number IS NULL THEN 'not found'
                    WHEN kind <> 'C' AND j.revision <> c.revision AND NOT c.is_forced THEN 'stale'
                END AS refusal
            FROM (
                SELECT place, kind, fence, job_id, number, revision, is_forced,
                    CASE WHEN kind IN ('N', 'I') THEN 0
                        ELSE 1 + coalesce(steps, 0) + (fault IS NOT NULL)::integer END AS width
                FROM unnest(kinds, fences, job_ids, numbers, revisions, forced, faults) WITH ORDINALITY
                    AS u (kind, fence, job_id, number, revision, is_forced, fault, place)
                LEFT JOIN (
                    SELECT of, count(*) AS steps FROM unnest(passed_places) AS of GROUP BY of
                ) AS p ON p.of = place
            ) AS c
            LEFT JOIN job j ON j.number = c.number AND kind IN ('R', 'D')
            LEFT JOIN listing l ON l.number = c.number AND kind = 'R'
            LEFT JOIN (
                SELECT DISTINCT ON (t.place) t.place AS of, t.task_id, job.job_id AS holder
                FROM unnest(task_places, task_ids) AS t (place, task_id)
                JOIN task ON task.task_id = t.task_id JOIN job ON job.number = task.number
                ORDER BY t.place
            ) AS taken ON taken.of = place
        ) AS refused
    ) AS judged;

    INSERT INTO job (number, job_id, revision, unfinished, initiator, entries, status)
    SELECT last, job_id, last, is_unfinished, initiator, 0, status
    FROM unnest(kinds, lasts, job_ids, unfinished_flags, initiators, statuses)
        AS c (kind, last, job_id, is_unfinished, initiator, status)
    WHERE kind = 'C' AND last IS NOT NULL;

    IF FOUND THEN
        INSERT INTO spec (number, spec)
        SELECT last, spec FROM unnest(kinds, lasts, specs) AS c (kind, last, spec)
        WHERE kind = 'C' AND last IS NOT NULL;

        INSERT INTO task (task_id, number)
        SELECT t.task_id, lasts[place] FROM unnest(task_places, task_ids) AS t (place, task_id)
        WHERE lasts[place] IS NOT NULL;

        INSERT INTO input (number, task, config)
        SELECT lasts[place], task, config FROM unnest(input_places, input_tasks, inputs) AS i (place, task, config)
        WHERE lasts[place] IS NOT NULL;

        INSERT INTO listing (number, state, created, ended, deadline, expires, phase, traits, facets)
        SELECT last, state, made, end_at, deadline, expires, phase, trait, coalesce(own, '{}')
        FROM unnest(kinds, lasts, states, created_times, ended_times, deadlines, expiries, phases, traits_texts) WITH ORDINALITY
            AS c (kind, last, state, made, end_at, deadline, expires, phase, trait, place)
        LEFT JOIN (
            SELECT of, array_agg(f.facet) AS own FROM unnest(facet_places, facet_values) AS f (of, facet) GROUP BY of
        ) AS f ON of = place
        WHERE kind = 'C' AND last IS NOT NULL;

        INSERT INTO facet (facet, number)
        SELECT f.facet, lasts[place] FROM unnest(facet_places, facet_values) AS f (place, facet)
        WHERE lasts[place] IS NOT NULL
        ON CONFLICT DO NOTHING;
    END IF;

    UPDATE job SET revision = last, unfinished = is_unfinished, status = c.status
    FROM unnest(kinds, lasts, numbers, unfinished_flags, statuses) AS c (kind, last, of, is_unfinished, status)
    WHERE kind = 'R' AND last IS NOT NULL AND job.number = of;

    UPDATE listing SET state = c.state, ended = end_at, deadline = c.deadline, expires = c.expires, phase = c.phase
    FROM unnest(kinds, lasts, numbers, states, ended_times, deadlines, expiries, phases)
        AS c (kind, last, of, state, end_at, deadline, expires, phase)
    WHERE kind = 'R' AND last IS NOT NULL AND listing.number = of
        AND (listing.phase, listing.deadline, listing.expires) IS DISTINCT FROM (c.phase, c.deadline, c.expires);

    SELECT array_agg(number) INTO gone FROM unnest(kinds, lasts, numbers) AS c (kind, last, number)
    WHERE kind = 'D' AND last IS NOT NULL;

    IF gone IS NOT NULL THEN
        INSERT INTO departed (number, revision, traits)
        SELECT of, last, coalesce(listing.traits, trait)
        FROM unnest(kinds, lasts, numbers, traits_texts) AS c (kind, last, of, trait) LEFT JOIN listing ON listing.number = of
        WHERE kind = 'D' AND last IS NOT NULL;
        DELETE FROM facet USING (SELECT unnest(l.facets) AS of, l.number FROM listing l WHERE l.number = ANY (gone)) AS f
        WHERE facet.facet = f.of AND facet.number = f.number;
        DELETE FROM listing WHERE number = ANY (gone);
        DELETE FROM task WHERE number = ANY (gone);
        DELETE FROM input WHERE number = ANY (gone);
        DELETE FROM spec WHERE number = ANY (gone);
        DELETE FROM history WHERE number = ANY (gone);
        DELETE FROM attempt WHERE number = ANY (gone);
        WITH deleted AS (DELETE FROM job WHERE number = ANY (gone) RETURNING initiator)
        UPDATE tally SET jobs = jobs - fewer
        FROM (SELECT initiator, count(*) AS fewer FROM deleted GROUP BY initiator) AS d
        WHERE tally.initiator = d.initiator;
    END IF;

    INSERT INTO tally AS t (initiator, jobs)
    SELECT initiator, count(*) FROM unnest(kinds, lasts, initiators) AS c (kind, last, initiator)
    WHERE kind = 'C' AND last IS NOT NULL GROUP BY initiator
    ON CONFLICT (initiator) DO UPDATE SET jobs = t.jobs + excluded.jobs;

    -- All events of a change follow each other: what the job passed, what it is, and a fault.
    INSERT INTO log (revision, type, job_id, number, initiator, status, total, before)
    SELECT at, type, job_ids[place], CASE WHEN kinds[place] = 'C' THEN at ELSE numbers[place] END, initiators[place], told,
        bytes + sum(length(told) + event_bytes) OVER (ORDER BY at),
        CASE WHEN type = 'MODIFIED' AND phase_before <> phase THEN phase_before END
    FROM (
        SELECT base + row_number() OVER (ORDER BY place, part, position) AS at, place, type, told, phase,
            lag(phase, 1, stored_phases[place]) OVER (PARTITION BY place ORDER BY part, position) AS phase_before
        FROM (
            SELECT place, 1 AS part, position, 'MODIFIED' AS type, status AS told, phase
            FROM unnest(passed_places, passed_statuses, passed_phases) WITH ORDINALITY AS p (place, status, phase, position)
            UNION ALL
            SELECT place, 2, 0, CASE kind WHEN 'C' THEN 'ADDED' WHEN 'R' THEN 'MODIFIED' ELSE 'DELETED' END, status, phase
            FROM unnest(kinds, statuses, phases) WITH ORDINALITY AS c (kind, status, phase, place)
            WHERE kind IN ('C', 'R', 'D')
            UNION ALL
            SELECT place, 3, 0, 'ERROR', fault, NULL FROM unnest(faults) WITH ORDINALITY AS f (fault, place)
            WHERE fault IS NOT NULL
        ) AS step
        WHERE lasts[place] IS NOT NULL
    ) AS event;

    SELECT max(log.revision), max(log.total) INTO newest, bytes FROM log WHERE log.revision > base;

    IF cardinality(history_places) > 0 THEN
        INSERT INTO history (number, revision, entry)
        SELECT CASE WHEN kinds[place] = 'C' THEN lasts[place] ELSE numbers[place] END, lasts[place], entry
        FROM unnest(history_places, history_entries) WITH ORDINALITY AS h (place, entry, position)
        WHERE lasts[place] IS NOT NULL ORDER BY position;
        UPDATE job SET entries = entries + more
        FROM (SELECT CASE WHEN kinds[place] = 'C' THEN lasts[place] ELSE numbers[place] END AS of, count(*) AS more
              FROM unnest(history_places) AS place WHERE lasts[place] IS NOT NULL GROUP BY 1) AS h
        WHERE job.number = of;
        SELECT array_agg(job.entries ORDER BY place) INTO lengths
        FROM unnest(kinds, lasts, numbers) WITH ORDINALITY AS c (kind, last, number, place)
        LEFT JOIN job ON job.number = c.number AND kind = 'R' AND last IS NOT NULL;
    END IF;

    IF cardinality(attempt_places) > 0 THEN
        INSERT INTO attempt (number, task, attempt)
        SELECT CASE WHEN kinds[place] = 'C' THEN lasts[place] ELSE numbers[place] END, task, data
        FROM unnest(attempt_places, attempt_tasks, attempts) WITH ORDINALITY AS a (place, task, data, position)
        WHERE lasts[place] IS NOT NULL ORDER BY position;
        DELETE FROM attempt WHERE id IN (
            SELECT id FROM (
                SELECT id, row_number() OVER (PARTITION BY a.number, a.task ORDER BY id DESC) AS rank
                FROM attempt a WHERE a.number IN (SELECT numbers[place] FROM unnest(attempt_places) AS place)
            ) AS ranked WHERE rank > most_attempts
        );
        DELETE FROM attempt WHERE id IN (
            SELECT id FROM (
                SELECT id, row_number() OVER newest_first AS rank, sum(length(a.attempt)) OVER newest_first AS taken
                FROM attempt a WHERE a.number IN (SELECT numbers[place] FROM unnest(attempt_places) AS place)
                WINDOW newest_first AS (PARTITION BY a.number ORDER BY id DESC)
            ) AS ranked WHERE rank > 1 AND taken > most_attempt_bytes
        );
    END IF;

    INSERT INTO app_image (name, definition)
    SELECT name, definition FROM unnest(kinds, job_ids, statuses) AS c (kind, name, definition)
    WHERE kind = 'I' AND definition IS NOT NULL
    ON CONFLICT (name) DO UPDATE SET definition = excluded.definition;
    DELETE FROM app_image USING unnest(kinds, job_ids, statuses) AS c (kind, of, new)
    WHERE kind = 'I' AND new IS NULL AND name = of;

    INSERT INTO audit (id, at, caller, subject, entry)
    SELECT noted + row_number() OVER (ORDER BY position), at, caller, subject, entry
    FROM unnest(audit_places, audit_ats, audit_callers, audit_subjects, audit_entries) WITH ORDINALITY
        AS a (place, at, caller, subject, entry, position)
    WHERE lasts[place] IS NOT NULL;

    UPDATE store SET revision = coalesce(newest, store.revision), log_bytes = coalesce(bytes, store.log_bytes),
        audits = noted + (SELECT count(*) FROM unnest(audit_places) AS place WHERE lasts[place] IS NOT NULL),
        images = images + (SELECT count(*) FROM unnest(kinds) AS kind WHERE kind = 'I')
    RETURNING store.images INTO images_now;

    -- A hint: who misses it finds out by asking.
    IF newest IS NOT NULL OR 'I' = ANY (kinds) THEN
        PERFORM pg_notify(channel, format('news %s %s', coalesce(newest, base), images_now));
    END IF;

    lengths := coalesce(lengths, array_fill(NULL::integer, ARRAY[cardinality(kinds)]));
    UPDATE writer SET group_number = this_group, committed_at = now(), revisions = lasts, refusals = all_refusals,
        stored_revisions = all_stored, task_ids = taken_tasks, holders = all_holders, history_lengths = lengths
    WHERE id = writer_id;
    RETURN QUERY SELECT * FROM unnest(lasts, all_refusals, all_stored, taken_tasks, all_holders, lengths);
END
$$;
