-- How many jobs each initiator has is counted from here.
CREATE INDEX job_initiator ON job (initiator);
