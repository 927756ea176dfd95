/* Proves the walker: random streams of frames, cut at random places, must come out as they went in. Run by setup. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"

#define ROUNDS 200
#define FRAMES 200

struct expected {
    uint8_t opcode;
    bool fin;
    size_t length;
    uint8_t first;
};

struct stream {
    struct expected frames[FRAMES];
    int next;
};

static void fail(const char *what, int number)
{
    fprintf(stderr, "check_frames: %s, frame %d\n", what, number);
    exit(1);
}

static void compare(void *context, const struct frame *frame)
{
    struct stream *stream = context;
    const struct expected *expected = &stream->frames[stream->next];
    if (stream->next >= FRAMES || frame->opcode != expected->opcode || frame->fin != expected->fin)
        fail("another frame than was written", stream->next);
    if (frame->length != expected->length)
        fail("a wrong length", stream->next);
    if (frame->available < (expected->length < PAYLOAD_HEAD ? expected->length : PAYLOAD_HEAD))
        fail("too little of the payload", stream->next);
    for (size_t i = 0; i < frame->available; i++)
        if (frame->payload[i] != (uint8_t)(expected->first + i))
            fail("another payload", stream->next);
    stream->next++;
}

static size_t chance(size_t limit)
{
    return rand() % limit;
}

/* The sizes at which the header changes, and all between. */
static size_t any_size(void)
{
    static const size_t edges[] = {0, 1, 125, 126, 127, 65535, 65536};
    return chance(3) ? chance(300) : chance(4) ? edges[chance(sizeof edges / sizeof *edges)] : chance(70000);
}

static size_t write_frame(uint8_t *out, const struct expected *frame)
{
    size_t header = server_header(out, frame->length);
    out[0] = frame->opcode | (frame->fin ? 0x80 : 0);
    for (size_t i = 0; i < frame->length; i++)
        out[header + i] = frame->first + i;
    return header + frame->length;
}

static size_t make(struct stream *stream, uint8_t *out)
{
    size_t size = 0;
    bool fragmented = false;
    for (int i = 0; i < FRAMES; i++) {
        struct expected *frame = &stream->frames[i];
        bool control = !chance(5);
        bool fin = control || chance(4);
        *frame = (struct expected){control ? OP_PING : fragmented ? OP_CONTINUATION : OP_TEXT, fin,
                                   control ? chance(126) : any_size(), chance(256)};
        if (!control)
            fragmented = !fin;
        size += write_frame(out + size, frame);
    }
    return size;
}

static void refuses(const char *what, const char *bytes, size_t size)
{
    struct walker walker = {0};
    struct stream stream = {0};
    walk(&walker, (const uint8_t *)bytes, size, compare, &stream);
    if (!walker.error)
        fail(what, 0);
}

int main(void)
{
    static uint8_t bytes[FRAMES * 70020];
    for (int round = 0; round < ROUNDS; round++) {
        struct stream stream = {0};
        struct walker walker = {0};
        size_t size = make(&stream, bytes), longest = round % 3 ? 50000 : 7;
        for (size_t at = 0, taken; at < size && !walker.error; at += taken) {
            taken = 1 + chance(longest);
            walk(&walker, bytes + at, taken < size - at ? taken : size - at, compare, &stream);
        }
        if (walker.error || stream.next != FRAMES)
            fail(walker.error ? walker.error : "frames are missing", stream.next);
        free(walker.kept);
    }
    refuses("a masked frame passed", "\x81\x82\1\2\3\4hi", 8);
    refuses("a reserved bit passed", "\xc1\x00", 2);
    refuses("a long form passed", "\x81\x7e\x00\x02hi", 6);
    refuses("a lone continuation passed", "\x80\x00", 2);
    refuses("a fragmented ping passed", "\x09\x00", 2);
    refuses("an unknown opcode passed", "\x83\x00", 2);
    return 0;
}
