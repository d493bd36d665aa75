"""The one family of errors that people are shown: what was wrong, with which file or value, and what to do."""


class LesionDashError(Exception):
    """Base of every error that lesiondash raises on purpose; its text is written for the person at the screen."""


class ScanError(LesionDashError):
    """A file, folder or zip that cannot be read as a series."""


class ScanStopped(ScanError):
    """A reading that somebody stopped: no fault, and nothing of it is kept."""


class PacsError(ScanError):
    """A server of scans that cannot be reached, refuses, or answers what cannot be used."""


class FetchStopped(PacsError):
    """A search or a fetch that somebody stopped: no fault, and nothing of it is kept."""


class CollectionError(LesionDashError):
    """A DeepLesion folder, table row or image that cannot be used."""


class BoxError(LesionDashError):
    """A box that is empty or outside its image."""


class FilterError(LesionDashError, ValueError):
    """A filter parameter or input image outside the filter's domain."""


class EncoderError(LesionDashError):
    """A checkpoint or a batch of crops that the encoder cannot take."""


class TrainingError(EncoderError):
    """A training that cannot start, go on or resume; the last good state is kept."""


class TrainingValueError(TrainingError, ValueError):
    """A number or an array that a loss, an optimiser or an augmentation cannot take."""


class TrainingStopped(TrainingError):
    """A training that somebody stopped: no fault, and it can be resumed."""


class SearchError(LesionDashError):
    """A query, scope or table that the index cannot answer."""


class AnnotationError(LesionDashError):
    """Annotations that cannot be read, placed on a scan, measured or exported."""


class LinkError(LesionDashError):
    """A link to a view of the page that cannot be read or opened."""
