DROP VIEW calendar_days;
DROP TABLE school_sessions, school_days;
