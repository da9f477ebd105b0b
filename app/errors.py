"""Every error that a client can see. The class name is the AWS error code.

`http_status` is what the REST and member doors answer; the Rekognition door answers 400, as AWS
does, except for `InternalServerError` (500) and `ServiceUnavailableError` (503).
"""

from typing import ClassVar


class ServiceError(Exception):
    """Base of all errors that are an answer. `message` goes to the client as it is."""

    http_status: ClassVar[int] = 400
    default_message: ClassVar[str] = "Request has invalid parameters"

    def __init__(
        self, message: str | None = None, *, reason: str | None = None, detail: str | None = None
    ) -> None:
        super().__init__(message or self.default_message)
        self.reason = reason
        """A finer, stable word for programs, such as `NoFaceFound`; REST and member doors show it."""
        self.detail = detail or self.message
        """What REST and member doors say, where AWS's own text is too general."""

    @property
    def message(self) -> str:
        return str(self)

    @property
    def code(self) -> str:
        """The AWS error code."""
        return type(self).__name__


class MissingAuthenticationTokenException(ServiceError):
    http_status = 401
    default_message = "Missing Authentication Token"


class IncompleteSignatureException(ServiceError):
    http_status = 401
    default_message = "The request signature is incomplete"


class UnrecognizedClientException(ServiceError):
    http_status = 401
    default_message = "The security token included in the request is invalid."


class InvalidSignatureException(ServiceError):
    http_status = 401
    default_message = (
        "The request signature we calculated does not match the signature you provided. Check your AWS "
        "Secret Access Key and signing method. Consult the service documentation for details."
    )


class AccessDeniedException(ServiceError):
    http_status = 403
    default_message = "You are not authorized to perform this operation"


class InvalidParameterException(ServiceError):
    http_status = 422


class NoFaceFound(InvalidParameterException):
    """An image without a face where one is needed; AWS knows it as InvalidParameterException."""

    default_message = "There are no faces in the image. Should be at least 1."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, reason="NoFaceFound")

    @property
    def code(self) -> str:
        return InvalidParameterException.__name__


class SerializationException(ServiceError):
    default_message = "The request could not be read"


class UnknownOperationException(ServiceError):
    default_message = "The operation is not known"


class InvalidImageFormatException(ServiceError):
    http_status = 415
    default_message = "Request has invalid image format"

    def __init__(self) -> None:
        super().__init__(detail="The image is no JPEG, PNG, WebP or HEIC that can be read")


class ImageTooLargeException(ServiceError):
    http_status = 413
    default_message = "Image size is too large"


class RequestEntityTooLargeException(ServiceError):
    http_status = 413
    default_message = "The request body is too large"


class UnsupportedMediaTypeException(ServiceError):
    http_status = 415
    default_message = "Send the request as application/json or multipart/form-data"


class RequestTimeoutException(ServiceError):
    http_status = 408
    default_message = "The request body did not arrive in time"


class InvalidS3ObjectException(ServiceError):
    http_status = 422
    default_message = (
        "Unable to get object metadata from S3. Check object key, region and/or access permissions."
    )


class InvalidSupabaseObjectException(ServiceError):
    """Not an AWS code."""

    http_status = 422
    default_message = "The photo could not be read from Supabase Storage: check its path"


class InvalidFolderObjectException(ServiceError):
    """Not an AWS code."""

    http_status = 422
    default_message = "The photo could not be read from its folder: check its path, and FOLDERS_ALLOWED"


class PhotoNotFound(ServiceError):
    """A photo that its storage no longer has; for workers, which may know more than clients."""

    http_status = 404
    default_message = "The photo is not where it was"

    def __init__(self) -> None:
        super().__init__(reason="PhotoNotFound")

    @property
    def code(self) -> str:
        return ResourceNotFoundException.__name__


class InvalidImageUrlException(ServiceError):
    """Not an AWS code: Rekognition takes no URLs."""

    http_status = 422
    default_message = "The image could not be fetched from its URL"


class InvalidPaginationTokenException(ServiceError):
    default_message = "The pagination token is not valid"


class ResourceNotFoundException(ServiceError):
    http_status = 404
    default_message = "The resource does not exist"


class ResourceAlreadyExistsException(ServiceError):
    http_status = 409
    default_message = "The resource already exists"


class ConflictException(ServiceError):
    http_status = 409
    default_message = "The resource is in conflict with the request"


class IdempotentParameterMismatchException(ServiceError):
    http_status = 409


class ServiceQuotaExceededException(ServiceError):
    http_status = 409
    default_message = "A limit of the service is reached"


class ModelMismatch(InvalidParameterException):
    """A collection of another face model; AWS knows it as InvalidParameterException."""

    http_status = 409

    def __init__(self, collection_id: str, *, pinned: str, running: str) -> None:
        super().__init__(
            f"The collection id: {collection_id} holds vectors of face model {pinned}, this service "
            f"runs face model {running}. Vectors of different models can't be compared: start the "
            f"service with a pack of model {pinned} (python -m app models list), embed the collection's "
            "faces anew from their photos (POST /index with {}), or create a new collection and "
            "index the images again.",
            reason="FaceModelMismatch",
        )

    @property
    def code(self) -> str:
        return InvalidParameterException.__name__


class ThrottlingException(ServiceError):
    http_status = 429
    default_message = "Slow down; sudden increase in rate of requests."

    def __init__(self, message: str | None = None, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServiceUnavailableError(ServiceError):
    """The database or a storage can't be reached. Clients may retry."""

    http_status = 503
    default_message = "The service is temporarily unavailable"
    retry_after_s: ClassVar[int] = 2


class StorageUnavailableError(ServiceUnavailableError):
    """A photo storage fails; clients know it as ServiceUnavailableError."""

    @property
    def code(self) -> str:
        return ServiceUnavailableError.__name__


class InternalServerError(ServiceError):
    http_status = 500
    default_message = "Internal server error"
