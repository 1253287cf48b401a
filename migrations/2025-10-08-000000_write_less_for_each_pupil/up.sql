-- The first marks of a year rewrite the row of every pupil: half of the page is kept free, so that a pupil who stays at the
-- same stage touches no index. Rows that are there are moved apart as they are rewritten.
ALTER TABLE pupil_stages SET (fillfactor = 50);

-- Both are written only while the pupil's row of pupil_stages is locked, which refers to the pupil itself: to look each
-- pupil up again proves nothing, and is half of what it takes to write an episode.
ALTER TABLE episodes DROP CONSTRAINT episodes_trust_id_pupil_id_fkey;
ALTER TABLE threshold_events DROP CONSTRAINT threshold_events_trust_id_pupil_id_fkey;
