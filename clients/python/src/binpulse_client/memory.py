"""What a frame takes in memory once it is decoded, estimated from its bytes before that.

An empty element of a list takes two bytes of a frame, and 50 to 200 once it is decoded: a few kilobytes,
compressed, could become gigabytes although their content is within its limit.
"""

# Messages with lists in them: the field's number to the message inside, None where nothing inside counts;
# and whether it is a list.
_FRAME = {6: ("batch", False), 7: ("heartbeat", False), 8: ("canary", False), 11: ("part", False),
          12: ("mark", False), 14: ("transaction", False)}
_LEVELS = {
    "frame": _FRAME,
    "batch": {2: ("table", False), 8: (None, True), 9: (None, True), 11: ("row", True)},
    "table": {3: ("column", True)},
    "column": {7: (None, True)},
    "row": {4: ("image", False), 5: ("image", False)},
    "image": {1: (None, True)},
    "canary": {4: ("batch", False), 5: ("watermark", False), 7: (None, True)},
    "heartbeat": {7: ("watermark", False)},
    "watermark": {5: (None, True)},
    "part": {4: ("batch", False), 8: ("image", False), 9: ("image", False), 10: ("image", True)},
    "mark": {8: (None, True)},
    "transaction": {5: (None, True)},
}


def fits(encoded, room):
    """Whether the lists in a frame have at most so many elements together. Bytes that are no frame fit: decoding
    them tells what is wrong."""
    # Each element takes two bytes at least: most contents need no closer look.
    if len(encoded) // 2 <= room:
        return True
    try:
        return _walk("frame", encoded, 0, len(encoded), room) >= 0
    except IndexError:
        return True


def _walk(level, data, at, end, room):
    """What is left of the room for elements; negative: too little."""
    fields = _LEVELS[level]
    while at < end and room >= 0:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            _, at = _varint(data, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            length, at = _varint(data, at)
            if length > end - at:
                raise IndexError
            inside, is_list = fields.get(tag >> 3, (None, False))
            room -= is_list
            if inside and length:
                room = _walk(inside, data, at, at + length, room)
            at += length
        elif wire not in (3, 4):
            raise IndexError
    return room


def _varint(data, at):
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError
