"""Static files under names that change with their content; the imports between our script modules follow."""

from django.contrib.staticfiles.storage import HashedFilesMixin
from whitenoise.storage import CompressedManifestStaticFilesStorage  # type: ignore[import-untyped]


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Compressed files with hashed names, in `import "./part.js";` too: only of our own modules.

    Django's patterns take anything for an import that looks like one, in the middle of other people's scripts too.
    """

    support_js_module_import_aggregation = True
    _js_module_import_aggregation_patterns = (
        "labeling/*.js",
        HashedFilesMixin._js_module_import_aggregation_patterns[1],  # type: ignore[attr-defined]
    )
