-- The tables of catalog version 2, as it was released.
CREATE TABLE library (root BLOB NOT NULL);

CREATE TABLE titles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    year INTEGER,
    key BLOB NOT NULL,             -- what its spellings have in common, see names.title_key
    UNIQUE (kind, key)
);

-- A path may stand in two rows for a moment, while two files that swapped names are recognized.
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title_id INTEGER NOT NULL REFERENCES titles (id),
    path BLOB NOT NULL,
    season INTEGER,
    episode INTEGER,
    extra TEXT,
    size_bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,
    missing INTEGER NOT NULL,
    duration_seconds REAL NOT NULL,
    warnings TEXT NOT NULL,        -- JSON list
    codec TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    rotation_degrees INTEGER NOT NULL,
    pixel_format TEXT NOT NULL,
    frame_rate REAL,
    start_seconds REAL NOT NULL
);
CREATE INDEX items_title_id ON items (title_id);

CREATE TABLE audio_tracks (
    item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    track INTEGER NOT NULL,
    codec TEXT NOT NULL,
    channels INTEGER NOT NULL,
    sample_rate_hz INTEGER NOT NULL,
    language TEXT,
    title TEXT,
    dispositions TEXT NOT NULL,    -- names, sorted, with blanks between
    start_seconds REAL NOT NULL,
    PRIMARY KEY (item_id, track)
) WITHOUT ROWID;

-- Without size, time and fingerprint the file or folder could not even be looked at.
CREATE TABLE set_aside (
    path BLOB PRIMARY KEY,
    reason TEXT NOT NULL,
    size_bytes INTEGER,
    modified_ns INTEGER,
    fingerprint TEXT,
    same_as BLOB                   -- the path with the same content that is used in its place
);

CREATE TABLE segments (
    item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    start_seconds REAL NOT NULL,
    stop_seconds REAL NOT NULL,
    kind TEXT NOT NULL
);
CREATE INDEX segments_item_id ON segments (item_id);

CREATE TABLE proxies (
    item_id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL,
    recipe TEXT NOT NULL,
    video_path BLOB NOT NULL,
    num_frames INTEGER NOT NULL,
    frame_rate REAL NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    num_samples INTEGER NOT NULL,
    sample_rate_hz INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL
);
CREATE TABLE proxy_sounds (
    item_id INTEGER NOT NULL REFERENCES proxies (item_id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    audio_track INTEGER NOT NULL,
    language TEXT,
    path BLOB NOT NULL,
    PRIMARY KEY (item_id, position)
);
