from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # whitenoise ships no types
    """Hashed names also for what ES modules import, so that a deploy never mixes old modules with new ones."""

    support_js_module_import_aggregation = True
