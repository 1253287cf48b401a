-- Pupils are judged anew on the day on which an enrolment begins, and on the day after its last: those days that are still to
-- come are noted with the pupils that are there already.
UPDATE pupil_stages AS s
SET next_review_on = least(s.next_review_on, n.day)
FROM (
    SELECT e.trust_id, e.pupil_id, min(days.day) AS day
    FROM enrolments AS e
    CROSS JOIN LATERAL (VALUES (e.start_date), (e.end_date + 1)) AS days (day)
    WHERE days.day > (now() AT TIME ZONE 'Europe/London')::date
    GROUP BY e.trust_id, e.pupil_id
) AS n
WHERE s.trust_id = n.trust_id AND s.pupil_id = n.pupil_id;
