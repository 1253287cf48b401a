-- A day of review that nothing asks for any more costs one judgement, and changes no stage.
SELECT;
