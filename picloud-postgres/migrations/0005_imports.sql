CREATE TABLE {s}.imports (
    app uuid NOT NULL,
    script uuid NOT NULL,
    module text COLLATE "C" NOT NULL,
    PRIMARY KEY (app, script, module)
);
COMMENT ON TABLE {s}.imports IS 'Which modules each script imports, by the names in its source, whether or not there are such modules.';
