"""The names of what a frame can hold."""

# A class is a set of components; class n holds component k where bit k of n's entry is set below.
COMPONENTS = ("pulse", "nbrfi", "bbrfi")
CLASSES = (
    "none",
    "pulse",
    "nbrfi",
    "bbrfi",
    "pulse+nbrfi",
    "pulse+bbrfi",
    "nbrfi+bbrfi",
    "pulse+nbrfi+bbrfi",
)
# What is none of these: perytons, dropped packets, jumps of the gain.
OTHER = "other"
LABELS = (*CLASSES, OTHER)


def components(label: str) -> tuple[bool, ...]:
    """Return whether a class holds a pulse, narrow-band and broad-band interference.

    Raises:
        ValueError: It is none of the eight classes.

    >>> components("pulse+bbrfi")
    (True, False, True)
    """
    if label not in CLASSES:
        raise ValueError(f"label = {label!r} must be one of {', '.join(CLASSES)}")
    return tuple(name in label.split("+") for name in COMPONENTS)
