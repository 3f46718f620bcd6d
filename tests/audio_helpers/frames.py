"""What a test needs to know about the inside of ogg and mp3 files: checksums of pages, and where frames begin."""


def ogg_checksum(page: bytes) -> int:
    """One bit at a time: polynomial 0x04C11DB7, start 0, highest bit first (RFC 3533)."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 1 << 31 else crc << 1) & 0xFFFFFFFF
    return crc


KBITS = {  # of the bit rate codes 1 to 14; the key says whether it is MPEG-1
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def mp3_frames(data: bytes) -> list[bytes]:
    """The frames of an undamaged layer 3 file without tags."""
    frames, position = [], 0
    while position < len(data):
        header = int.from_bytes(data[position : position + 4], "big")
        version, code, rate = header >> 19 & 3, header >> 12 & 15, header >> 10 & 3
        hertz = (44_100, 48_000, 32_000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
        kbits = KBITS[version == 3][code - 1]
        size = (144 if version == 3 else 72) * kbits * 1000 // hertz + (header >> 9 & 1)
        frames.append(data[position : position + size])
        position += size
    return frames
