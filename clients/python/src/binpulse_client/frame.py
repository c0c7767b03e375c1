"""The Protobuf format: base64, frame, decompression, checksum. Trusts nothing that it reads."""

import base64

import zstandard
from google.protobuf.message import DecodeError as ProtobufError
from google_crc32c import value as crc32c

from . import contract
from .errors import DecodeError
from .memory import fits

FORMAT_VERSION = 1
# Contents have at most so many bytes, but for single rows that came by way of an object.
CONTENT_BYTES_MAX = 64 << 20


def elements_max(bytes_max):
    """How many elements the lists of a content may have, for a limit of its size: decoded, one takes 50 to 200 bytes."""
    return min(bytes_max * 8, 512 << 20) // 100


def open_frame(body, bytes_max=CONTENT_BYTES_MAX):
    """The frame in a body, with its typed content decompressed and checked."""
    if not body:
        raise DecodeError("empty", "the body is empty")
    try:
        encoded = base64.b64decode(body, validate=True)
    except ValueError as error:
        raise DecodeError("base64", "the body is not base64") from error
    _check_elements(encoded, bytes_max)
    frame = _parsed(encoded)
    if frame.format_version != FORMAT_VERSION:
        raise DecodeError("version", f"found format version {frame.format_version}, expected {FORMAT_VERSION}")
    if frame.WhichOneof("content") != "payload":
        return frame
    content = _content(frame, bytes_max)
    _check_elements(content, bytes_max)  # before the checksum, which takes longer
    if crc32c(content) != frame.crc32c:
        raise DecodeError("checksum", "CRC-32C is not the stated one")
    return _parsed(content)


def _check_elements(encoded, bytes_max):
    if not fits(encoded, elements_max(bytes_max)):
        raise DecodeError("memory", "the content has more elements than its limit leaves memory for")


def _parsed(encoded):
    try:
        return contract.Frame.FromString(encoded)
    except ProtobufError as error:
        raise DecodeError("protobuf", "the bytes are no frame") from error


def _content(frame, bytes_max):
    """What a frame states is looked at before memory is taken for it."""
    size, content = frame.uncompressed_size, frame.payload
    if size > bytes_max:
        raise DecodeError("size", f"the content has {size} bytes, at most {bytes_max} are allowed")
    if frame.codec == contract.Codec.Value("CODEC_ZSTD"):
        content = _unzstd(content, size)
    elif frame.codec not in (contract.Codec.Value("CODEC_UNSPECIFIED"), contract.Codec.Value("CODEC_NONE")):
        raise DecodeError("codec", f"codec {frame.codec} is not known")
    if len(content) != size:
        raise DecodeError("length", f"found {len(content)} bytes of content, the frame states {size}")
    return content


def _unzstd(compressed, size):
    """No more than stated, whatever the compressed bytes expand to: the frame itself states a size, and is alone."""
    try:
        found = zstandard.frame_content_size(compressed)
        if found < 0:
            raise DecodeError("zstd", "the payload does not state its size")
        if found != size:
            raise DecodeError("length", f"the payload has {found} bytes of content, the frame states {size}")
        return zstandard.ZstdDecompressor().decompress(compressed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DecodeError("zstd", "the payload is no Zstandard frame") from error
