"""The figures, in the order in which they are measured."""

from figures import (
    delta,
    killed,
    memory,
    rollout,
    small_files,
    sync_speed,
    to_disk,
    unchanged,
    upload_speed,
    verify_speed,
)

ALL = {
    module.FIGURE.name: module.FIGURE
    for module in (
        sync_speed,
        to_disk,
        unchanged,
        delta,
        killed,
        memory,
        small_files,
        upload_speed,
        verify_speed,
        rollout,
    )
}
