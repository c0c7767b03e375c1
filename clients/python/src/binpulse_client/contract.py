"""The contract's messages and enumerations, made of its descriptors: no generated code, which would
demand one version of protobuf. Written again by tests/test_conformance.py."""

from importlib.resources import files

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

_PACKAGE = "binpulse.v1."
_FILES = descriptor_pb2.FileDescriptorSet.FromString(files(__package__).joinpath("contract.binpb").read_bytes()).file
_POOL = descriptor_pool.DescriptorPool()

for _file in _FILES:
    _POOL.Add(_file)
    for _message in _file.message_type:
        _descriptor = _POOL.FindMessageTypeByName(_PACKAGE + _message.name)
        globals()[_message.name] = message_factory.GetMessageClass(_descriptor)
    for _enum in _file.enum_type:
        globals()[_enum.name] = EnumTypeWrapper(_POOL.FindEnumTypeByName(_PACKAGE + _enum.name))
