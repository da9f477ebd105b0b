from app.measure.s3_server import BUCKET, KEY_ID, SECRET, S3Server, free_ports, s3_server

__all__ = ["BUCKET", "KEY_ID", "SECRET", "S3Server", "free_ports", "s3_server"]
