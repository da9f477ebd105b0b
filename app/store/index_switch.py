"""The switch of an index job: what its photos brought takes the place of what was there, at once.

Every function is one part of a transaction that has locked the collection.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.index_jobs import Job

_SWITCH_PHOTOS = tuple(
    text(statement)
    for statement in (
        """
        UPDATE index_items SET state = 'failed', reason = 'MemberErased'
        WHERE job_id = :job AND state = 'done'
          AND user_id IN (SELECT user_id FROM index_erased WHERE job_id = :job)
        """,
        """
        INSERT INTO users (account_id, collection_id, user_id, member_id)
        SELECT DISTINCT ON (user_id) :account, :collection, user_id, member_id
        FROM index_items WHERE job_id = :job AND state = 'done'
        ON CONFLICT DO NOTHING
        """,
        # A second face of the same picture would be the same vector again.
        """
        UPDATE index_items SET state = 'failed', reason = 'SamePhotoTwice'
        WHERE job_id = :job AND state = 'done' AND EXISTS (
            SELECT 1 FROM index_items earlier
            WHERE earlier.job_id = :job AND earlier.state = 'done' AND earlier.item < index_items.item
              AND earlier.user_id = index_items.user_id AND earlier.image_id = index_items.image_id
        )
        """,
        # Refreshed faces take the place of those that they replace; only others count.
        """
        UPDATE index_items SET state = 'failed', reason = 'TooManyFaces'
        FROM (
            SELECT item, row_number() OVER (PARTITION BY user_id ORDER BY item) + (
                SELECT count(*) FROM faces
                WHERE faces.account_id = :account AND faces.collection_id = :collection
                  AND faces.user_id = new.user_id
            ) AS place
            FROM index_items new
            WHERE job_id = :job AND state = 'done' AND NOT EXISTS (
                SELECT 1 FROM faces
                WHERE faces.account_id = :account AND faces.collection_id = :collection
                  AND faces.user_id = new.user_id
                  AND (faces.photo = new.photo OR faces.image_id = new.image_id)
            )
        ) AS ranked
        WHERE job_id = :job AND index_items.item = ranked.item AND ranked.place > :most
        """,
        """
        DELETE FROM faces USING index_items new
        WHERE faces.account_id = :account AND faces.collection_id = :collection
          AND new.job_id = :job AND new.state = 'done' AND faces.user_id = new.user_id
          AND (faces.photo = new.photo OR faces.image_id = new.image_id)
        """,
        """
        INSERT INTO faces (account_id, collection_id, face_id, image_id, external_image_id,
            external_image_label, user_id, box_left, box_top, box_width, box_height, confidence, photo,
            embedding)
        SELECT :account, :collection, face_id, image_id, user_id, member_id, user_id, box_left, box_top,
            box_width, box_height, confidence,
            CASE WHEN photo NOT ILIKE 'http%?%' THEN photo END,  -- a query may hold a signature
            embedding
        FROM index_items WHERE job_id = :job AND state = 'done'
        """,
        """
        UPDATE users SET embedding = made.mean
        FROM (
            SELECT user_id, l2_normalize(avg(embedding)) AS mean FROM faces
            WHERE account_id = :account AND collection_id = :collection
              AND user_id IN (SELECT user_id FROM index_items WHERE job_id = :job AND state = 'done')
            GROUP BY user_id
        ) AS made
        WHERE users.account_id = :account AND users.collection_id = :collection
          AND users.user_id = made.user_id
        """,
    )
)
_DROP_OTHERS = text("""
    DELETE FROM faces
    WHERE account_id = :account AND collection_id = :collection AND NOT EXISTS (
        SELECT 1 FROM index_items new
        WHERE new.job_id = :job AND new.state = 'done' AND new.face_id = faces.face_id
    )
""")
_SWITCH_REEMBEDDED = tuple(
    text(statement)
    for statement in (
        """
        UPDATE faces SET embedding = new.embedding, image_id = new.image_id, confidence = new.confidence,
            box_left = new.box_left, box_top = new.box_top, box_width = new.box_width,
            box_height = new.box_height
        FROM index_items new
        WHERE faces.account_id = :account AND faces.collection_id = :collection
          AND new.job_id = :job AND new.state = 'done' AND faces.face_id = new.face_id
        """,
        """
        UPDATE users SET embedding = (
            SELECT l2_normalize(avg(faces.embedding)) FROM faces
            WHERE faces.account_id = :account AND faces.collection_id = :collection
              AND faces.user_id = users.user_id
        )
        WHERE account_id = :account AND collection_id = :collection
        """,
        """
        UPDATE collections SET face_model_version = :model
        WHERE account_id = :account AND collection_id = :collection
        """,
    )
)


async def switch_photos(session: AsyncConnection, job: Job, max_faces: int) -> None:
    """Give every member the faces of their photos: those of the same photo are replaced, no others.

    Of a member who would have more than `max_faces`, the last ones are left out.
    """
    values = {
        "job": job.job_id,
        "account": job.account_id,
        "collection": job.collection_id,
        "most": max_faces,
    }
    for statement in _SWITCH_PHOTOS:
        await session.execute(statement, values)


async def switch_reembedded(session: AsyncConnection, job: Job, *, drop_others: bool) -> None:
    """Give every face the vector of the job's model, and the collection that model.

    Faces without a new vector are deleted if `drop_others` says so: their vectors are of another model.
    """
    values = {
        "job": job.job_id,
        "account": job.account_id,
        "collection": job.collection_id,
        "model": job.face_model_version,
    }
    if drop_others:
        await session.execute(_DROP_OTHERS, values)
    for statement in _SWITCH_REEMBEDDED:
        await session.execute(statement, values)
