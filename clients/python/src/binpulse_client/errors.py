"""What can go wrong. No text of an error shows a value of a row."""


class DecodeError(Exception):
    """The message is not what the contract says. `reason` names the kind of fault."""

    def __init__(self, reason: str, text: str):
        super().__init__(f"{reason}: {text}")
        self.reason = reason


class Elsewhere(DecodeError):
    """The content is in an object store: fetch the object of `pointer`, and decode it with
    `pointer.decode(text)`."""

    def __init__(self, pointer):
        super().__init__("elsewhere", f"the content is the object {pointer.key} of bucket {pointer.bucket}: fetch it")
        self.pointer = pointer


class WebhookError(Exception):
    """The request is not to be believed. `reason` is `missing`, `time`, `secret` or `signature`."""

    def __init__(self, reason: str, text: str):
        super().__init__(text)
        self.reason = reason
