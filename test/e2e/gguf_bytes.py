"""A GGUF file taken apart and put together again, right or wrong: the raw bytes of every key and description."""
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
SIZES = {U8: 1, I8: 1, U16: 2, I16: 2, U32: 4, I32: 4, F32: 4, BOOL: 1, U64: 8, I64: 8, F64: 8}


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def array(kind, values, count=None):
    codes = {U32: "I", I32: "i", F32: "f", U64: "Q", I64: "q", F64: "d", U8: "B", BOOL: "B"}
    body = b"".join(map(text, values)) if kind == STRING else struct.pack(f"<{len(values)}{codes[kind]}", *values) if kind in codes else b""
    return struct.pack("<IQ", kind, len(values) if count is None else count) + body


class Gguf:
    """keys: name -> (type, raw value); tensors: [name, dims, type, offset]; data: what lies behind them."""

    def __init__(self, data):
        self.at, self.bytes = 8, data
        tensors, keys = self.take("QQ")
        self.keys, self.tensors, self.extra = {}, [], b""
        for _ in range(keys):
            name = self.string()
            kind, = self.take("I")
            start = self.at
            self.skip(kind)
            self.keys[name] = (kind, data[start:self.at])
        for _ in range(tensors):
            name = self.string()
            count, = self.take("I")
            self.tensors.append([name, list(self.take(f"{count}Q")), *self.take("I"), *self.take("Q")])
        self.data = data[(self.at + 31) // 32 * 32:]
        self.tensor_count = self.key_count = None  # None: as many as there are

    def take(self, codes):
        values = struct.unpack_from("<" + codes, self.bytes, self.at)
        self.at += struct.calcsize("<" + codes)
        return values

    def string(self):
        length, = self.take("Q")
        self.at += length
        return self.bytes[self.at - length:self.at].decode()

    def skip(self, kind):
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            of, count = self.take("IQ")
            for _ in range(count):
                self.skip(of)
        else:
            self.at += SIZES[kind]

    def set(self, name, kind, value):
        codes = {U8: "B", I8: "b", U16: "H", U32: "I", I32: "i", F32: "f", U64: "Q", I64: "q", F64: "d", BOOL: "B"}
        self.keys[name] = (kind, struct.pack("<" + codes[kind], value) if kind in codes else value)

    def tensor(self, name):
        return next(each for each in self.tensors if each[0] == name)

    def build(self):
        parts = [text(name) + struct.pack("<I", kind) + value for name, (kind, value) in self.keys.items()] + [self.extra]
        for name, dims, kind, offset, *count in self.tensors:
            parts.append(text(name) + struct.pack(f"<I{len(dims)}QIQ", count[0] if count else len(dims), *dims, kind, offset))
        keys = len(self.keys) if self.key_count is None else self.key_count
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        out = b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + b"".join(parts)
        return out + bytes(-len(out) % 32) + self.data
