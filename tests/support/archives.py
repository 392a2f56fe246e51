"""Archives in memory, of files by their paths."""

import io
import tarfile
import zipfile


def tarred(files, mode="w", form=tarfile.PAX_FORMAT):
    """A tar; *mode* says how it is compressed, as in ``w:gz``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(files, compression=zipfile.ZIP_STORED):
    """A zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as packed:
        for path, data in files.items():
            packed.writestr(path, data)
    return out.getvalue()
