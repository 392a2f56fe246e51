"""The figures, in the order in which they are measured."""

from figures import (
    delta,
    killed,
    memory,
    refresh,
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
} | {figure.name: figure for figure in (refresh.LOOK, refresh.PARSE)}
