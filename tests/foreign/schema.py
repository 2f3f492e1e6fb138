"""Message classes out of a .proto file, without protoc.

Reads the little of the language that our files use (messages, one oneof, enums, repeated, comments) into the
descriptors that protobuf itself works with. Anything else in the file is an error, never skipped.
"""

import re
from types import SimpleNamespace

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

TOKEN = re.compile(r'//[^\n]*|"[^"]*"|[A-Za-z_][A-Za-z0-9_.]*|\d+|[{}=;]|\s+|.')
SCALARS = {
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "uint32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    "fixed64": descriptor_pb2.FieldDescriptorProto.TYPE_FIXED64,
}
OPTIONAL = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
REPEATED = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED


def load(path):
    """The message classes of the file at `path`, as attributes: `load(...).Frame`."""
    parser = Parser(path.read_text(encoding="utf-8"))
    file = parser.file(path.name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{message.name}"))
        for message in file.message_type
    }
    enums = {value.name: value.number for enum in file.enum_type for value in enum.value}
    return SimpleNamespace(**classes, **enums)


class Parser:
    def __init__(self, text):
        self.tokens = [t for t in TOKEN.findall(text) if not t.isspace() and not t.startswith("//")]
        self.at = 0

    def next(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, *wanted):
        for token in wanted:
            found = self.next()
            if found != token:
                raise ValueError(f"expected {token!r}, found {found!r} at token {self.at}")

    def file(self, name):
        file = descriptor_pb2.FileDescriptorProto(name=name, syntax="proto3")
        self.expect("syntax", "=", '"proto3"', ";", "package")
        file.package = self.next()
        self.expect(";")
        while self.at < len(self.tokens):
            kind = self.next()
            if kind == "message":
                self.message(file.message_type.add())
            elif kind == "enum":
                self.enum(file.enum_type.add())
            else:
                raise ValueError(f"unknown declaration {kind!r}")
        self.resolve(file)
        return file

    def message(self, message):
        message.name = self.next()
        self.expect("{")
        while (token := self.next()) != "}":
            if token == "oneof":
                message.oneof_decl.add(name=self.next())
                self.expect("{")
                while (inner := self.next()) != "}":
                    self.field(message, inner).oneof_index = 0
            else:
                self.field(message, token)

    def field(self, message, token):
        field = message.field.add(label=OPTIONAL)
        if token == "repeated":
            field.label = REPEATED
            token = self.next()
        if token in SCALARS:
            field.type = SCALARS[token]
        else:
            field.type_name = token
        field.name = self.next()
        self.expect("=")
        field.number = int(self.next())
        self.expect(";")
        return field

    def enum(self, enum):
        enum.name = self.next()
        self.expect("{")
        while (token := self.next()) != "}":
            self.expect("=")
            enum.value.add(name=token, number=int(self.next()))
            self.expect(";")

    @staticmethod
    def resolve(file):
        """Says of every field with a named type whether the name is a message or an enum."""
        enums = {enum.name for enum in file.enum_type}
        for message in file.message_type:
            for field in message.field:
                if field.type_name:
                    is_enum = field.type_name in enums
                    field.type = field.TYPE_ENUM if is_enum else field.TYPE_MESSAGE
                    field.type_name = f".{file.package}.{field.type_name}"
