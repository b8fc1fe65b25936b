"""Makes the pictures beside this file and pixels.json, what PIL sees in them.

Needs Pillow 9.4 and, of libjpeg-turbo 2.1 and libwebp 1.2, cjpeg, cwebp,
gif2webp and webpmux. Run it in this directory.
"""

import hashlib, json, math, os, random, struct, subprocess, zlib

from PIL import Image

W, H = 37, 29
rnd = random.Random(4)


def pixel(x, y):
    noise = rnd.randrange(-12, 13)
    inside = (x - 20) ** 2 + (y - 14) ** 2 < 80
    r = 255 * x // W if inside else 200 + noise
    g = 255 * y // H
    b = 40 + noise if inside else int(127 + 120 * math.sin(x / 3))
    return tuple(max(0, min(255, c)) for c in (r, g, b))


rgb = Image.new("RGB", (W, H))
rgb.putdata([pixel(x, y) for y in range(H) for x in range(W)])
alpha = Image.new("L", (W, H))
alpha.putdata([0 if x < 9 else min(255, 7 * x) for y in range(H) for x in range(W)])
rgba = rgb.copy()
rgba.putalpha(alpha)
grey = rgb.convert("L")


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(name, colour, depth, samples, at, extra=b"", interlace=0):
    """Writes a PNG of any kind; at(x, y) is a pixel's samples."""
    data = b""
    for x0, y0, dx, dy in PASSES if interlace else [(0, 0, 1, 1)]:
        for y in range(y0, H, dy):
            bits = ""
            for x in range(x0, W, dx):
                bits += "".join(format(v, "0%db" % depth) for v in at(x, y))
            if bits:
                bits += "0" * (-len(bits) % 8)
                data += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = struct.pack(">IIBBBBB", W, H, depth, colour, 0, 0, interlace)
    with open(name, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


def of_grey(depth):
    return lambda x, y: (grey.getpixel((x, y)) * (2**depth - 1) // 255,)


for depth in (1, 2, 4, 8):
    png("grey%d.png" % depth, 0, depth, 1, of_grey(depth))
png("grey16.png", 0, 16, 1, lambda x, y: (x * y,))
png("grey16_transparent.png", 0, 16, 1, lambda x, y: (x * y,), chunk(b"tRNS", struct.pack(">H", 20)))
png("grey8_transparent.png", 0, 8, 1, of_grey(8), chunk(b"tRNS", struct.pack(">H", grey.getpixel((3, 3)))))
png("grey_alpha8.png", 4, 8, 2, lambda x, y: (grey.getpixel((x, y)), alpha.getpixel((x, y))))
png("grey_alpha16.png", 4, 16, 2, lambda x, y: (257 * grey.getpixel((x, y)) ^ 77, 257 * alpha.getpixel((x, y))))
png("rgb8.png", 2, 8, 3, lambda x, y: rgb.getpixel((x, y)))
png("rgb8_transparent.png", 2, 8, 3, lambda x, y: rgb.getpixel((x, y)), chunk(b"tRNS", struct.pack(">HHH", *rgb.getpixel((5, 5)))))
png("rgb16.png", 2, 16, 3, lambda x, y: tuple(257 * c ^ 99 for c in rgb.getpixel((x, y))))
png("rgba8.png", 6, 8, 4, lambda x, y: rgba.getpixel((x, y)))
png("rgba16.png", 6, 16, 4, lambda x, y: tuple(257 * c ^ 55 for c in rgba.getpixel((x, y))))
png("rgba8_interlaced.png", 6, 8, 4, lambda x, y: rgba.getpixel((x, y)), interlace=1)
for depth in (1, 2, 4, 8):
    colours = bytes(rnd.randrange(256) for _ in range(3 * 2**depth))
    png("palette%d.png" % depth, 3, depth, 1, of_grey(depth), chunk(b"PLTE", colours) + chunk(b"tRNS", b"\0\x80"))
png("palette4_interlaced.png", 3, 4, 1, of_grey(4), chunk(b"PLTE", bytes(range(48))), interlace=1)

rgb.save("rgb.ppm")
grey.save("grey.pgm")


def run(*command):
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


for name, options in {
    "420.jpg": ["-quality", "85"],
    "422.jpg": ["-quality", "85", "-sample", "2x1"],
    "440.jpg": ["-quality", "85", "-sample", "1x2"],
    "444.jpg": ["-quality", "85", "-sample", "1x1"],
    "411.jpg": ["-quality", "85", "-sample", "4x1"],
    "progressive.jpg": ["-quality", "85", "-progressive"],
    "restart.jpg": ["-quality", "40", "-restart", "1B"],
    "rgb.jpg": ["-rgb"],
    "arithmetic.jpg": ["-arithmetic"],
}.items():
    run("cjpeg", *options, "-outfile", name, "rgb.ppm")
run("cjpeg", "-outfile", "grey.jpg", "grey.pgm")
rgb.convert("CMYK").save("cmyk.jpg", quality=90)
with open("cmyk.jpg", "rb") as f:
    data = f.read()
at = data.index(b"\xff\xee")  # the same without Adobe's segment
with open("cmyk_bare.jpg", "wb") as f:
    f.write(data[:at] + data[at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0] :])
# Said to be YCCK: other colours, from the same data.
with open("ycck.jpg", "wb") as f:
    f.write(data[: at + 15] + b"\x02" + data[at + 16 :])
exif = Image.Exif()
exif[0x0112] = 6
rgb.save("turned.jpg", exif=exif)

rgba.save("rgba.png")
run("cwebp", "-quiet", "-q", "60", "rgb.ppm", "-o", "lossy.webp")
run("cwebp", "-quiet", "-q", "30", "-f", "60", "-strong", "rgb.ppm", "-o", "strong.webp")
run("cwebp", "-quiet", "-q", "30", "-f", "60", "-nostrong", "rgb.ppm", "-o", "simple.webp")
run("cwebp", "-quiet", "-q", "60", "-exact", "rgba.png", "-o", "lossy_alpha.webp")
run("cwebp", "-quiet", "-lossless", "-exact", "rgba.png", "-o", "lossless.webp")
run("cwebp", "-quiet", "-q", "60", "-crop", "0", "0", "36", "28", "rgb.ppm", "-o", "even.webp")
run("cwebp", "-quiet", "-q", "60", "-crop", "0", "0", "1", "1", "rgb.ppm", "-o", "one.webp")

large = rgb.resize((500, 375), Image.Resampling.BICUBIC)
noise = Image.frombytes("L", large.size, rnd.randbytes(500 * 375))
large = Image.blend(large, noise.convert("RGB"), 0.1)
large.save("large.jpg", quality=85)
large.save("rgb.ppm")
run("cwebp", "-quiet", "-q", "60", "rgb.ppm", "-o", "large.webp")

few = rgb.quantize(30)
few.save("global.gif")
few.save("interlaced.gif", interlace=1)
few.save("transparent.gif", transparency=few.getpixel((3, 3)))
rgb.quantize(2).save("two.gif")
grey.save("grey.gif")
frames = [few.crop((0, 0, 20, 20)), rgb.rotate(90).quantize(30).crop((0, 0, 20, 20))]
frames[0].save("animated.gif", save_all=True, append_images=frames[1:], duration=50)


def moved(name, to, left, top, screen=None, transparency=None, drop_palette=False):
    """Moves the frame of global.gif on a canvas of another size."""
    with open("global.gif", "rb") as f:
        data = bytearray(f.read())
    if screen:
        data[6:10] = struct.pack("<HH", *screen)
    at = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    while data[at] == 0x21:
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    data[at + 1 : at + 5] = struct.pack("<HH", left, top)
    if transparency is not None:
        data[at:at] = b"\x21\xf9\x04\x01\0\0" + bytes([transparency]) + b"\0"
    if drop_palette:
        data[10:] = bytes([data[10] & 0x7F]) + data[11:13] + data[13 + 3 * 2 ** ((data[10] & 7) + 1) :]
    with open(to, "wb") as f:
        f.write(data)


moved("global.gif", "offset.gif", 5, 7, (50, 40))
moved("global.gif", "offset_transparent.gif", 5, 7, (50, 40), transparency=11)
moved("global.gif", "over.gif", 5, 7)
moved("global.gif", "no_screen.gif", 0, 0, (0, 0))
moved("global.gif", "no_palette.gif", 0, 0, drop_palette=True)

run("gif2webp", "-quiet", "-lossy", "offset.gif", "-o", "from_gif.webp")
run("webpmux", "-frame", "even.webp", "+100+4+6+0+b", "-frame", "one.webp", "+100+0+0+0+b", "-o", "animated.webp")
run("webpmux", "-frame", "lossless.webp", "+100+4+6+0+b", "-frame", "lossy.webp", "+100+10+10+0+b", "-o", "animated_lossless.webp")

for name in "rgb.ppm", "grey.pgm", "rgba.png", "one.webp":
    os.remove(name)
pixels = {}
for name in sorted(os.listdir(".")):
    if name.endswith((".jpg", ".png", ".gif", ".webp")):
        image = Image.open(name).convert("RGB")
        pixels[name] = {"width": image.width, "height": image.height, "sha256": hashlib.sha256(image.tobytes()).hexdigest()}
with open("pixels.json", "w") as f:
    json.dump(pixels, f, indent=1)
    f.write("\n")
