-- What runs were given, for queries: until now it stood only in the bodies of their specs.
ALTER TABLE runs ADD COLUMN inputs TEXT;
UPDATE runs SET inputs = (
    SELECT nullif(json_extract(CAST(data AS TEXT), '$.inputs'), '{}') FROM bodies
    WHERE digest = spec AND json_valid(CAST(data AS TEXT))
);
