-- The JSON in the rows also tells which parties were only stopped, and since when a task waited for its last attempt and
-- when it was placed. The tables are the same.
SELECT 1;
