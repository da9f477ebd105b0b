"""Albums: their photos, guests' matches, and the queue that workers claim from."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Counts of photos by state are kept, not counted: an album may hold 100,000. Each connection adds to a row
# of its own, so that workers don't wait for each other.
_COUNT = """
    CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO album_counts AS kept (account_id, album_id, shard, pending, done, failed, skipped, faces)
        SELECT account_id, album_id, pg_backend_pid() % 64,
            coalesce(sum(n) FILTER (WHERE state = 'pending'), 0),
            coalesce(sum(n) FILTER (WHERE state = 'done'), 0),
            coalesce(sum(n) FILTER (WHERE state = 'failed'), 0),
            coalesce(sum(n) FILTER (WHERE state = 'skipped'), 0),
            sum(n * faces)
        FROM ({changes}) AS changes
        JOIN albums USING (account_id, album_id)  -- an album that is being deleted is not counted
        GROUP BY account_id, album_id
        ORDER BY account_id, album_id
        ON CONFLICT (account_id, album_id, shard) DO UPDATE SET
            pending = kept.pending + excluded.pending, done = kept.done + excluded.done,
            failed = kept.failed + excluded.failed, skipped = kept.skipped + excluded.skipped,
            faces = kept.faces + excluded.faces;
        RETURN NULL;
    END $$
"""
_NEW = "SELECT account_id, album_id, state, faces, 1 AS n FROM new_photos"
_OLD = "SELECT account_id, album_id, state, faces, -1 AS n FROM old_photos"


def upgrade() -> None:
    op.execute("ALTER TABLE collections ADD COLUMN owner varchar(255)")
    op.execute("ALTER TABLE users ADD COLUMN guest boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE faces ADD COLUMN photo_id uuid")
    op.execute("""
        CREATE INDEX faces_by_photo ON faces (account_id, collection_id, photo_id)
        WHERE photo_id IS NOT NULL
    """)
    op.execute("""
        CREATE TABLE albums (
            account_id varchar(12) COLLATE "C" NOT NULL,
            album_id varchar(255) COLLATE "C" NOT NULL,
            album_key uuid NOT NULL UNIQUE,
            title varchar(255),
            source text,
            threshold real NOT NULL,
            retention_days integer,
            event_code varchar(64) UNIQUE,
            recompress boolean NOT NULL,
            listing_error varchar(64),
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (account_id, album_id),
            FOREIGN KEY (account_id, album_id) REFERENCES collections ON DELETE CASCADE
        )
    """)
    op.execute("""
        CREATE TABLE photos (
            photo_id uuid PRIMARY KEY,
            account_id varchar(12) COLLATE "C" NOT NULL,
            album_id varchar(255) COLLATE "C" NOT NULL,
            place text NOT NULL,
            name text NOT NULL,
            version text,
            indexed_version text,
            fingerprint varchar(64),
            state varchar(8) NOT NULL CHECK (state IN ('pending', 'done', 'failed', 'skipped')),
            reason varchar(64),
            attempts integer NOT NULL DEFAULT 0,
            faces integer NOT NULL DEFAULT 0,
            width integer,
            height integer,
            thumbnail boolean NOT NULL DEFAULT false,
            listed_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            finished_at timestamptz,
            UNIQUE (account_id, album_id, place),
            FOREIGN KEY (account_id, album_id) REFERENCES albums ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX photos_by_state ON photos (account_id, album_id, state, photo_id)")
    op.execute("CREATE INDEX photos_finished ON photos (account_id, album_id, finished_at)")
    op.execute("""
        CREATE TABLE album_counts (
            account_id varchar(12) COLLATE "C" NOT NULL,
            album_id varchar(255) COLLATE "C" NOT NULL,
            shard smallint NOT NULL,
            pending bigint NOT NULL,
            done bigint NOT NULL,
            failed bigint NOT NULL,
            skipped bigint NOT NULL,
            faces bigint NOT NULL,
            PRIMARY KEY (account_id, album_id, shard),
            FOREIGN KEY (account_id, album_id) REFERENCES albums ON DELETE CASCADE
        ) WITH (fillfactor = 50)
    """)
    for name, changes, tables in (
        ("insert", _NEW, "NEW TABLE AS new_photos"),
        ("update", f"{_NEW} UNION ALL {_OLD}", "NEW TABLE AS new_photos OLD TABLE AS old_photos"),
        ("delete", _OLD, "OLD TABLE AS old_photos"),
    ):
        function = f"count_photos_{name}"
        op.execute(_COUNT.format(function=function, changes=changes))
        op.execute(f"""
            CREATE TRIGGER {function} AFTER {name} ON photos REFERENCING {tables}
            FOR EACH STATEMENT EXECUTE FUNCTION {function}()
        """)
    op.execute("""
        CREATE TABLE photo_matches (
            account_id varchar(12) COLLATE "C" NOT NULL,
            album_id varchar(255) COLLATE "C" NOT NULL,
            user_id varchar(128) COLLATE "C" NOT NULL,
            photo_id uuid NOT NULL REFERENCES photos ON DELETE CASCADE,
            face_id uuid NOT NULL,
            cosine real NOT NULL,
            PRIMARY KEY (account_id, album_id, user_id, photo_id),
            FOREIGN KEY (account_id, album_id, user_id) REFERENCES users ON DELETE CASCADE,
            FOREIGN KEY (account_id, album_id, face_id) REFERENCES faces ON DELETE CASCADE
        )
    """)
    op.execute("""
        CREATE INDEX photo_matches_best
        ON photo_matches (account_id, album_id, user_id, cosine DESC, photo_id)
    """)
    op.execute("CREATE INDEX photo_matches_by_photo ON photo_matches (photo_id)")
    op.execute("CREATE INDEX photo_matches_by_face ON photo_matches (account_id, album_id, face_id)")
    op.execute("""
        CREATE TABLE jobs (
            job_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            lane varchar(64) NOT NULL,
            kind varchar(32) NOT NULL,
            subject varchar(64) NOT NULL,
            account_id varchar(12) COLLATE "C",
            collection_id varchar(255) COLLATE "C",
            run_at timestamptz NOT NULL DEFAULT now(),
            attempts integer NOT NULL DEFAULT 0,
            lease uuid,
            leased_until timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (kind, subject),
            FOREIGN KEY (account_id, collection_id) REFERENCES collections ON DELETE CASCADE
        ) WITH (autovacuum_vacuum_scale_factor = 0.01)
    """)
    op.execute("CREATE INDEX jobs_due ON jobs (lane, run_at, job_id)")
    op.execute("CREATE INDEX jobs_of_collection ON jobs (account_id, collection_id)")
    op.execute("CREATE INDEX jobs_in_hand ON jobs (account_id, collection_id) WHERE lease IS NOT NULL")
    # Rebuilds are jobs of the same queue from now on.
    op.execute("""
        INSERT INTO jobs (lane, kind, subject, account_id, collection_id)
        SELECT 'tasks ' || face_model_version, 'rebuild', job_id::text, account_id, collection_id
        FROM index_jobs WHERE state IN ('queued', 'running') ORDER BY created_at
    """)
    op.execute("ALTER TABLE index_jobs DROP COLUMN leased_until")
    op.execute("""
        CREATE TABLE operation_counts (
            account_id varchar(12) COLLATE "C" NOT NULL,
            day date NOT NULL,
            operation varchar(64) COLLATE "C" NOT NULL,
            calls bigint NOT NULL,
            PRIMARY KEY (account_id, day, operation)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE operation_counts")
    op.execute("ALTER TABLE index_jobs ADD COLUMN leased_until timestamptz")
    op.execute("DROP TABLE jobs, photo_matches, album_counts, photos, albums")
    for name in ("insert", "update", "delete"):
        op.execute(f"DROP FUNCTION count_photos_{name}()")
    op.execute("ALTER TABLE faces DROP COLUMN photo_id")
    op.execute("ALTER TABLE users DROP COLUMN guest")
    op.execute("ALTER TABLE collections DROP COLUMN owner")
