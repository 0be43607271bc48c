"""The errors of `edge`: a small tree that answers one question, "is it worth trying again?"."""


class EdgeError(Exception):
    """Something that a person can act on went wrong: one sentence that names the thing and the remedy."""


class TemporaryError(EdgeError):
    """The same call may succeed later without anyone changing anything: the owner waits and tries again."""


class PermanentError(EdgeError):
    """Nothing changes until somebody mends the configuration, the bundle or the file: trying again is pointless."""


class SourceError(TemporaryError):
    """A source has no frames at present: it is not there, does not open or delivers nothing. It is looked for."""


class SourceNotUsableError(PermanentError):
    """A source that can never work as configured: a missing file, a video that cannot be decoded, no images."""


class BadFrameError(TemporaryError):
    """One frame could not be read. The source goes on with the next one when it is asked again."""


class EngineError(TemporaryError):
    """An engine failed while it was running. Its device may come back."""


class BundleError(PermanentError):
    """A model bundle is incomplete, damaged, or does not give the scores that its author measured."""


class BackendError(PermanentError):
    """An engine is missing, or refuses the model."""
