/* RFC 6455 frames, as far as a client needs them: writing masked ones, walking the server's. Does no I/O. */
#ifndef FRAMES_H
#define FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OP_CONTINUATION = 0x0, OP_TEXT = 0x1, OP_BINARY = 0x2, OP_CLOSE = 0x8, OP_PING = 0x9, OP_PONG = 0xA };

/* How much of a frame's payload is kept when it comes in pieces. All searched text is within it. */
#define PAYLOAD_HEAD 4096
#define LONGEST_HEADER 10
#define CLIENT_OVERHEAD 14

struct frame {
    uint8_t opcode;
    bool fin;
    uint64_t length;        /* the payload's length */
    const uint8_t *payload; /* its first `available` bytes */
    size_t available;
};

/* One connection's place in its stream of frames. */
struct walker {
    uint8_t *kept;   /* the header and the payload's head of a frame that came in pieces; NULL until one did */
    uint64_t seen;   /* bytes of that frame that have come */
    uint64_t total;  /* bytes of that frame; 0 until its header is whole */
    bool fragmented; /* a message's first fragment came, its last did not */
    const char *error; /* the server's violation; no frame is read after it */
};

typedef void frame_handler(void *context, const struct frame *frame);

/* Walk `size` bytes and call `handle` for each frame that is complete with them. */
void walk(struct walker *walker, const uint8_t *bytes, size_t size, frame_handler *handle, void *context);

/* Write one masked frame to `out`, which has room for `size` + CLIENT_OVERHEAD bytes. Returns its length. */
size_t client_frame(uint8_t *out, uint8_t opcode, const void *payload, size_t size);

/* Write the header of an unmasked (a server's) text frame to `out`. Returns its length. */
size_t server_header(uint8_t out[LONGEST_HEADER], uint64_t size);

#endif
