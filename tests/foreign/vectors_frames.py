"""The conformance vectors of frames, link-frames.json and stream-frames.json: read, and written again."""

import json

import backend
import client
import loopback
from vectors import vectors
from wire import Records, framed, link, stream


def frames_of_links_are_read_and_written_alike():
    judge("link-frames", link.Frame, loopback.UP, client.DOWN)


def frames_of_streams_are_read_and_written_alike():
    """What a gateway takes has no peer here that could say so."""
    judge("stream-frames", stream.Frame, backend.FROM_GATEWAY, None)


def judge(file, frame_type, up, down):
    """`up` and `down` are the kinds that go there, None if nobody here knows."""
    said = vectors(file)
    for case in said["frames"]:
        what = f"{file}, {case['kind']}, {case['name']}"
        frame = bytes.fromhex(case["frame"])
        assert case["direction"] in ("up", "down", "both"), what
        for way, kinds in (("up", up), ("down", down)):
            assert kinds is None or (case["kind"] in kinds) == (case["direction"] in (way, "both")), f"{what}: {way}"
        assert framed(written(frame_type, case)) == frame, f"{what}: as it is written"
        found = take(frame_type, frame)
        same(what, found, case)
        assert framed(found) == frame and found.ByteSize() == case["length"], f"{what}: written again"
    for case in said["decode"]:
        what, found = f"{file}, {case['name']}", take(frame_type, bytes.fromhex(case["frame"]))
        if case["reads"] == "glitch":
            assert found.WhichOneof("kind") is None, what
        else:
            same(what, found, case["reads"])
    kinds, told = set(frame_type.DESCRIPTOR.fields_by_name), {case["kind"] for case in said["frames"]}
    assert kinds == told, f"{file}: kinds only in one of both: {kinds ^ told}"
    print(f"         {file}.json: {len(said['frames'])} frames and {len(said['decode'])} to decode, none left out")


def take(frame_type, frame):
    """The only frame in these bytes."""
    records = Records(None, None, frame_type)
    records.plain += frame
    found = records.take_frame()
    assert found is not None and not records.plain
    return found


def same(what, found, case):
    """As texts, since Python takes 1 for true."""
    kind = found.WhichOneof("kind")
    if kind == "report":
        forget_long_names(found.report)
    have = kind, json.dumps(kind and shown_fields(getattr(found, kind)), sort_keys=True)
    assert have == (case["kind"], json.dumps(case["fields"], sort_keys=True)), f"{what}: {have}"


def forget_long_names(report):
    """A report whose device or user is too long names none (12)."""
    for name in ("device", "user"):
        if len(getattr(report, name)) > 64:
            report.ClearField(name)


def shown_fields(message):
    """The fields that do not have their defaults, as the vectors show them."""
    return {
        field.name: [shown(field, one) for one in value] if field.is_repeated else shown(field, value)
        for field, value in message.ListFields()
    }


def shown(field, value):
    if field.type == field.TYPE_MESSAGE:
        return shown_fields(value)
    if field.type == field.TYPE_BYTES:
        return value.hex()
    if field.type in (field.TYPE_UINT64, field.TYPE_FIXED64):
        return str(value)
    if field.type == field.TYPE_ENUM:
        # A number of a later version counts as the last one of this: UNKNOWN, PUSH_UNKNOWN (9, 12).
        return (field.enum_type.values_by_number.get(value) or field.enum_type.values[-1]).name
    return value


def written(frame_type, case):
    """The frame that has exactly these fields."""
    frame = frame_type()
    fill(getattr(frame, case["kind"]), case["fields"])
    return frame


def fill(message, fields):
    message.SetInParent()
    for name, value in fields.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if field.type == field.TYPE_MESSAGE:
            for one in value if field.is_repeated else [value]:
                fill(getattr(message, name).add() if field.is_repeated else getattr(message, name), one)
        elif field.is_repeated:
            getattr(message, name).extend(meant(field, one) for one in value)
        else:
            setattr(message, name, meant(field, value))


def meant(field, value):
    """What a scalar of the vectors stands for: the other way round than `shown`."""
    if field.type == field.TYPE_BYTES:
        return bytes.fromhex(value)
    if field.type in (field.TYPE_UINT64, field.TYPE_FIXED64):
        return int(value)
    if field.type == field.TYPE_ENUM:
        return field.enum_type.values_by_name[value].number
    return value


ALL = (
    frames_of_links_are_read_and_written_alike,
    frames_of_streams_are_read_and_written_alike,
)
