CREATE TABLE {s}.docs_indexes (
    app uuid NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    collection text COLLATE "C" NOT NULL,
    field text COLLATE "C" NOT NULL,
    only_path jsonpath NOT NULL,
    any_path jsonpath NOT NULL,
    state smallint NOT NULL DEFAULT 0,
    done uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    documents bigint NOT NULL DEFAULT 0,
    dropped_at timestamptz,
    PRIMARY KEY (app, number)
);
CREATE UNIQUE INDEX docs_indexes_declared ON {s}.docs_indexes (app, collection, field) WHERE state < 3;
CREATE INDEX docs_indexes_kept ON {s}.docs_indexes (app, collection) WHERE state < 4;
COMMENT ON TABLE {s}.docs_indexes IS 'Declared indexes of collections of documents.';
COMMENT ON COLUMN {s}.docs_indexes.state IS '0: declared. 1: being filled. 2: complete. 3: dropped, but some node may still look into it. 4: nobody does.';
COMMENT ON COLUMN {s}.docs_indexes.done IS 'How far the filling is.';

CREATE TABLE {s}.docs_keys (
    app uuid NOT NULL,
    index bigint NOT NULL,
    id uuid NOT NULL,
    regular boolean NOT NULL,
    rank smallint NOT NULL,
    number numeric NOT NULL,
    text text COLLATE "C" NOT NULL,
    PRIMARY KEY (app, index, id)
);
CREATE INDEX docs_keys_order ON {s}.docs_keys (app, index, rank, number, text, id) WHERE regular;
-- For the other direction: documents that are alike are ordered by id both ways.
CREATE INDEX docs_keys_order_down ON {s}.docs_keys (app, index, rank DESC, number DESC, text DESC, id) WHERE regular;
CREATE INDEX docs_keys_irregular ON {s}.docs_keys (app, index) WHERE NOT regular;
COMMENT ON TABLE {s}.docs_keys IS 'For each document of a collection with a declared index the place that it has in its order.';
COMMENT ON COLUMN {s}.docs_keys.regular IS 'The place says all that queries ask of the value. Not so for arrays, and texts too long for an index: these documents are looked at.';
